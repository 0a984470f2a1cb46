"""Paths as clients of the contents API write them.

Nothing is told of what lies outside the root, not even whether it exists. So a path must be below the root as it is
written, without a look at any file, and again with all links followed.
"""

from __future__ import annotations

import os
from pathlib import Path


def normal_path(path: str) -> str:
    """The path without `..` that could be left out, so that what it leads through does not matter; `~` is a home.

    Raises RuntimeError for a home that does not exist.
    """
    return os.path.normpath(Path(path).expanduser() if path.startswith("~") else path)


def contents_path(root: Path, path: str) -> str | None:
    """The path relative to the root, if it exists below the root; else None."""
    try:
        return path_below(root, os.path.join(root, normal_path(path if path.startswith("~") else path.lstrip("/"))))
    except RuntimeError:
        return None


def path_below(root: Path, path: str) -> str | None:
    """An absolute path relative to the root, if it exists below the root; else None."""
    try:
        if not Path(os.path.normpath(path)).is_relative_to(root):
            return None
        real = Path(os.path.normpath(path)).resolve()
        return real.relative_to(root).as_posix() if real.is_relative_to(root) and real.exists() else None
    except (OSError, RuntimeError):  # a name that is too long, a loop of links
        return None
