"""The working directory and the environment variables of a kernel. Pure, except that it looks at folders."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

SECRETS = frozenset(
    {
        "CONFIGPROXY_AUTH_TOKEN",
        "FPS_KERNELS_TOKEN",
        "JPY_API_TOKEN",
        "JUPYTER_TOKEN",
        "KG_AUTH_TOKEN",
    }
)
"""Variables that would let a kernel's code act as the server. JupyterHub's JUPYTERHUB_API_TOKEN is not one of them: it
is the user's own, and notebooks rely on it."""


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the server's environment without the server's secrets."""
    return {name: value for name, value in environ.items() if name not in SECRETS}


def request_environment(requested: Mapping[str, str], allowed: Collection[str]) -> dict[str, str]:
    """Return the variables that a request may set: KERNEL_* and the allowed names."""
    return {name: value for name, value in requested.items() if name.startswith("KERNEL_") or name in allowed}


def session_environment(root: Path, session_path: str) -> dict[str, str]:
    """Return JPY_SESSION_NAME, the full path of the notebook, as jupyter_server sets it."""
    return {"JPY_SESSION_NAME": str(root / session_path.strip("/"))}


def working_directory(root: Path, path: str) -> Path:
    """Return the working directory of a kernel: the notebook's folder, or its nearest parent that exists.

    It is never outside the root, whatever the path says and wherever its links point.

    root: the contents root.
    path: the notebook or folder, relative to the root, as clients write it: with or without a leading slash.
    """
    root = root.resolve()
    relative = path.strip("/")
    if "\0" in relative:
        return root
    try:
        folder = (root / relative).resolve()
        while folder.is_relative_to(root):
            if folder.is_dir():
                return folder
            folder = folder.parent
    except (OSError, RuntimeError, ValueError):  # a name too long, a circle of links, a lone surrogate
        return root
    return root


def existing_folder(path: str, root: Path | None) -> Path | None:
    """Return the folder at a path if it is absolute and a kernel can start there, else None.

    path: the path, as a client or an operator wrote it.
    root: the folder that it must be or be in, wherever links point; None means anywhere.
    """
    if not os.path.isabs(path) or "\0" in path:
        return None
    try:
        folder = Path(path).resolve()
        usable = folder.is_dir() and os.access(folder, os.X_OK)
    except (OSError, RuntimeError, ValueError):  # a name too long, a circle of links, a lone surrogate
        return None
    return folder if usable and (root is None or folder.is_relative_to(root.resolve())) else None
