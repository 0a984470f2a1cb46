"""The file that takes a kernel's stderr and stdout: a pipe would break with the process that reads it."""

from __future__ import annotations

import os
from pathlib import Path

MAX_BYTES = 1024 * 1024
"""From this size on, the file is cut. It may be larger for a moment: that is looked at now and then."""
KEPT_BYTES = 65_536
"""What is left of it then."""
LINES = 20
"""The last lines that are told when the process has ended; as many as stderr.py keeps."""
LINE_CHARS = 500
"""The characters of a line that are told."""


class StderrFile:
    """A file that a process appends to, and that is cut while it does. All methods block, for a moment.

    path: where it is. What is there already is replaced, unless it was `told` up to some byte.
    Raises OSError.
    """

    def __init__(self, path: Path, told: int | None = None) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self.fd = os.open(path, flags, 0o600)
        if told is None:
            os.ftruncate(self.fd, 0)
        self.told = told or 0

    def new_lines(self, *, to_the_end: bool = False) -> list[str]:
        """The lines that have come since this was asked last, of a flood the last ones.

        to_the_end: whether what has no line end counts, too.
        """
        if self.fd < 0:
            return []
        start = max(self.told, os.fstat(self.fd).st_size - KEPT_BYTES)
        data = os.pread(self.fd, KEPT_BYTES, start)
        if not to_the_end and len(data) < KEPT_BYTES:
            data = data[: data.rfind(b"\n") + 1]
        self.told = start + len(data)
        return _lines(data)

    def cut(self) -> None:
        """Cut the file if it is too large. What is written meanwhile may come before what is left, or be lost."""
        if self.fd >= 0 and os.fstat(self.fd).st_size > MAX_BYTES:
            tail = self._tail()
            os.ftruncate(self.fd, 0)
            os.write(self.fd, tail.partition(b"\n")[2])
            self.told = os.fstat(self.fd).st_size

    def _tail(self) -> bytes:
        size = os.fstat(self.fd).st_size
        return os.pread(self.fd, KEPT_BYTES, max(0, size - KEPT_BYTES))

    def last_lines(self) -> list[str]:
        """The last lines, oldest first."""
        if self.fd < 0:
            return []
        return [line[:LINE_CHARS] for line in _lines(self._tail())[-LINES:]]

    def rename(self, path: Path) -> None:
        """Move the file, while it is written to. Raises OSError."""
        self.path.rename(path)
        self.path = path

    def close(self) -> None:
        """Close and remove the file. May be called twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
            self.path.unlink(missing_ok=True)


def _lines(data: bytes) -> list[str]:
    text = data.decode("utf-8", "replace").removesuffix("\n")
    return [line.rstrip("\r") for line in text.split("\n")] if text else []
