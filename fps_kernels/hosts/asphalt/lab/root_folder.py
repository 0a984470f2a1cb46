"""The folder that `fps-kernels lab` serves, and what it opens in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ....errors import BadOption


@dataclass(frozen=True, slots=True)
class RootFolder:
    """A folder, and the page to open first.

    page: its path below the base URL, percent-encoded.
    """

    folder: Path
    page: str

    @classmethod
    def of(cls, root_dir: str | None, path: str | None) -> RootFolder:
        """From the options --root-dir and PATH. Raises BadOption."""
        root = None if root_dir is None else _existing(f"--root-dir={root_dir}", root_dir)
        if root is not None and not root.is_dir():
            raise BadOption(f"--root-dir={root_dir}: it is not a folder")
        if path is None:
            return cls(root or Path.cwd(), "lab")
        target = _existing(path, path)
        if root is None:
            root = target if target.is_dir() else target.parent
        if not target.is_relative_to(root):
            raise BadOption(f"{path}: it is not in the folder that is served, {root}")
        inner = target.relative_to(root).as_posix()
        return cls(root, "lab" if inner == "." else f"lab/tree/{quote(inner)}")

    def enter(self) -> None:
        """Make it the current folder of this process: plugins serve that, and kernels run there. Raises BadOption."""
        try:
            os.chdir(self.folder)
        except OSError as exc:
            raise BadOption(f"{self.folder}: {exc.strerror}") from exc


def _existing(option: str, path: str) -> Path:
    """An absolute path, without links to be followed in it. Raises BadOption."""
    try:
        return Path(path).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as exc:
        raise BadOption(f"{option}: {getattr(exc, 'strerror', None) or exc}") from exc
