"""The working directory and the environment variables of a kernel. Pure, except that it looks at folders."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from ..errors import BadOption, ClientError, InvalidField
from ..kernel_driver.env_values import ONE_LINE, SAFE_VALUE, SESSION_NAME, SHELL_OR_YAML

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


MAX_VARIABLES = 256
"""Variables that one request may set. JupyterLab sends five, and those of its own environment named KERNEL_*."""
MAX_ENVIRONMENT_BYTES = 256 * 1024
"""Bytes of all of them: an eighth of what Linux takes for the arguments and the environment of a process."""

_NAME = re.compile(r"KERNEL_\w{1,200}")
PATHS = frozenset({"KERNEL_WORKING_DIR"})
"""Variables that clients set to the folder of a notebook, whatever it is called."""


class UnsafeVariable(InvalidField):
    """A request wants to set an environment variable that it may not set like this; the message names it."""


class UnsafeEnvironment(ClientError):
    """A request wants to set too many environment variables."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern of values, as the option `kernel_env_pattern` says. Raises BadOption."""
    try:
        return re.compile(pattern) if pattern else SAFE_VALUE
    except (re.error, OverflowError, RecursionError) as exc:
        raise BadOption(f"kernel_env_pattern={pattern}: not a regular expression: {exc}") from exc


def check_environment(environ: Mapping[str, str], pattern: re.Pattern[str], *, local: bool) -> None:
    """Check what a request wants to set, and may set, before a provisioner sees it.

    Provisioners write variables into lines of a shell and into the YAML of pods, so a value must be data in both. One
    of this machine passes it on as it is; yet a value is refused there, too, as kernelspecs change and a client should
    not have to know. Only the folder of a notebook is exempt then: its name is not chosen for a kernel.

    pattern: what a value must match as a whole.
    local: whether the provisioner starts processes of this machine.
    Raises UnsafeVariable, UnsafeEnvironment.
    """
    size = sum(len(name.encode()) + len(value.encode()) + 2 for name, value in environ.items())
    if len(environ) > MAX_VARIABLES or size > MAX_ENVIRONMENT_BYTES:
        raise UnsafeEnvironment(
            f"Invalid field in JSON data: env has {len(environ)} variables of {size} bytes for the kernel; at most "
            f"{MAX_VARIABLES} of {MAX_ENVIRONMENT_BYTES} bytes are allowed"
        )
    for name, value in environ.items():
        if name.startswith("KERNEL_") and not _NAME.fullmatch(name):
            raise UnsafeVariable(f"env.{name[:100]}", "named KERNEL_ and up to 200 letters, digits and underscores")
        if not (ONE_LINE if local and name in PATHS else pattern).fullmatch(value):
            if pattern is SAFE_VALUE:
                expected = f"a text without control characters and without any of {' '.join(SHELL_OR_YAML)}"
            else:
                expected = f"a text that matches {pattern.pattern}"
            raise UnsafeVariable(f"env.{name}", f"{expected} (option kernel_env_pattern)")


WORKING_DIRECTORY = "KERNEL_WORKING_DIR"
"""The variable in which a Jupyter server in front sends the notebook's folder."""
LAUNCH_TIMEOUT = "KERNEL_LAUNCH_TIMEOUT"
"""The variable in which a client says how many seconds it lets a kernel take until it answers."""


def launch_timeout_s(environ: Mapping[str, str]) -> float:
    """How many seconds a request wants a kernel to be waited for; 0 if it does not say. Raises InvalidField."""
    text = environ.get(LAUNCH_TIMEOUT, "").strip()
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InvalidField(f"env.{LAUNCH_TIMEOUT}", "a number of seconds")
    return seconds


def session_environment(root: Path, session_path: str) -> dict[str, str]:
    """Return JPY_SESSION_NAME, the full path of the notebook, as jupyter_server sets it."""
    return {SESSION_NAME: str(root / session_path.strip("/"))}


def contents_root(root_dir: str) -> Path:
    """Return the contents root, which the option `root_dir` names. Raises BadOption if it is no folder."""
    try:
        root = Path(root_dir or os.getcwd()).expanduser().resolve()
        if not root.is_dir():
            raise BadOption(f"root_dir={root_dir}: there is no such folder")
    except (OSError, RuntimeError, ValueError) as exc:  # a circle of links, a home that is not there, a NUL
        raise BadOption(f"root_dir={root_dir}: {getattr(exc, 'strerror', None) or exc}") from exc
    return root


def working_directory(root: Path, path: str) -> Path:
    """Return the working directory of a kernel: the notebook's folder, or its nearest parent that can be entered.

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
            if folder.is_dir() and (folder == root or os.access(folder, os.X_OK)):
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
