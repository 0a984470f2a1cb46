"""Where the path that a client writes leads."""

from __future__ import annotations

from pathlib import Path


def contents_path(root: Path, path: str) -> str | None:
    """A path as clients of the contents API write it, if it exists and lies below the root."""
    try:
        real = (root / Path(path.lstrip("/") if not path.startswith("~") else path).expanduser()).resolve()
        if not real.is_relative_to(root) or not real.exists():
            return None
    except (OSError, RuntimeError):  # a name too long, a circle of links, no such user
        return None
    return real.relative_to(root).as_posix()
