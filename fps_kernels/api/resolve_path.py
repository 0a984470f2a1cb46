"""Paths as clients of the contents API write them."""

from __future__ import annotations

from pathlib import Path


def contents_path(root: Path, path: str) -> str | None:
    """The path relative to the root, if it exists below the root; else None."""
    try:
        real = (root / Path(path.lstrip("/") if not path.startswith("~") else path).expanduser()).resolve()
        if not real.is_relative_to(root) or not real.exists():
            return None
    except (OSError, RuntimeError):  # a name that is too long, a loop of links, an unknown user
        return None
    return real.relative_to(root).as_posix()
