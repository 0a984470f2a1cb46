"""Finds a file again that another program has renamed or moved."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MAX_ENTRIES = 20_000
"""Files and folders that are looked at for one that has gone: 20 ms on a fast disk."""


class Seen(NamedTuple):
    """What a file was when it was looked at. A rename changes nothing of it.

    Nearly every file that is made in its place differs: an inode is given anew at once, but with another date. links:
    a name less of a file that has several is no rename.
    """

    changed_ns: int
    size: int
    inode: int
    links: int


def look_at(path: Path) -> Seen | None:
    """None where there is no file."""
    with contextlib.suppress(OSError, ValueError):  # it has gone, or is a link that leads nowhere
        status = os.stat(path)
        return Seen(status.st_mtime_ns, status.st_size, status.st_ino, status.st_nlink)
    return None


def find_again(root: Path, path: str, seen: Seen) -> str | None:
    """Where a file is now that was at a path; None if it is not found. Hidden folders and links are left alone.

    root: the folder that paths begin at. It is looked for in its own folder, then below the one above, and so on.
    """
    left = MAX_ENTRIES
    done: set[str] = set()
    start = (root / path).parent
    while start.is_relative_to(root):
        for entry in _below(start, done):
            left -= 1
            if left < 0:
                return None
            if entry.inode() == seen.inode and not entry.is_symlink() and look_at(Path(entry.path)) == seen:
                return Path(entry.path).relative_to(root).as_posix()
        start = start.parent
    return None


def _below(start: Path, done: set[str]) -> Iterator[os.DirEntry[str]]:
    """All files and folders below one, the nearest first; not those in folders that are done."""
    folders = deque([str(start)])
    while folders:
        folder = folders.popleft()
        if folder in done:
            continue
        done.add(folder)
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                yield entry
