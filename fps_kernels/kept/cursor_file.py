"""How far each client of a server has come, in a file that survives the server's `kill -9`.

The file is mapped into memory: what is written is the system's at once, costs no call, and does not depend on how the
process ends. Each client has a slot of a fixed size, with two numbers that change and a key that does not:

    u64 cursor | u64 taken | u16 length of the key | the key

A server holds a lock on its file as long as it lives. Whoever can take that lock later has the file of a dead server.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
import secrets
import struct
from pathlib import Path
from typing import NamedTuple

from ..private_files import read_regular

logger = logging.getLogger(__name__)

MAGIC = b"fps-kernels cursors 1\n"
HEADER_BYTES = 64
SLOT_BYTES = 256
SLOTS = 4096
"""Clients that have a place; of more, nothing is known after a crash. A MiB, of which only what is used is memory."""
SUFFIX = ".cursors"

_NUMBERS = struct.Struct("<QQ")
_LENGTH = struct.Struct("<H")
KEY_BYTES = SLOT_BYTES - _NUMBERS.size - _LENGTH.size
"""The longest key."""


class Cursor(NamedTuple):
    """How far a client has come: the number in the record that it is to hear next, and what it took of its inbox."""

    seq: int
    taken: int


class CursorFile:
    """The file of one server.

    folder: where it is made. Raises OSError.
    """

    def __init__(self, folder: Path, slots: int = SLOTS) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.path = folder / f"{secrets.token_hex(8)}{SUFFIX}"
        draft = self.path.with_suffix(".part")
        size = HEADER_BYTES + slots * SLOT_BYTES
        self._fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, size)
            os.pwrite(self._fd, MAGIC, 0)
            self._map = mmap.mmap(self._fd, size)
            draft.rename(self.path)
        except OSError:
            os.close(self._fd)
            draft.unlink(missing_ok=True)
            raise
        self._free = list(range(slots - 1, -1, -1))

    def add(self, key: str, cursor: Cursor) -> int | None:
        """A slot for a client; None if all are taken, the key is too long, or the file is closed."""
        data = key.encode("utf-8", "surrogatepass")
        if not data or len(data) > KEY_BYTES or not self._free or self._map.closed:
            return None
        slot = self._free.pop()
        at = HEADER_BYTES + slot * SLOT_BYTES
        _NUMBERS.pack_into(self._map, at, *cursor)
        at += _NUMBERS.size
        self._map[at + _LENGTH.size : at + _LENGTH.size + len(data)] = data
        _LENGTH.pack_into(self._map, at, len(data))  # last: it makes the slot count
        return slot

    def move(self, slot: int, cursor: Cursor) -> None:
        """The client has come so far. Nothing is done once the file is closed."""
        if self._map.closed:
            return
        _NUMBERS.pack_into(self._map, HEADER_BYTES + slot * SLOT_BYTES, *cursor)

    def remove(self, slot: int) -> None:
        """Nothing need be known of the client any more. Nothing is done once the file is closed."""
        if self._map.closed:
            return
        _LENGTH.pack_into(self._map, HEADER_BYTES + slot * SLOT_BYTES + _NUMBERS.size, 0)
        self._free.append(slot)

    def close(self, *, keep: bool = False) -> None:
        """Close the file. keep: whether it stays, for the next server."""
        if not self._map.closed:
            self._map.close()
            if not keep:
                self.path.unlink(missing_ok=True)
            os.close(self._fd)


def dead_files(folder: Path) -> list[Path]:
    """The files of servers that have died, oldest first: to be read, and removed once that is done. May block."""
    found: list[tuple[float, Path]] = []
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):  # another server has removed it
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.append((os.fstat(fd).st_mtime, path))
            finally:
                os.close(fd)
    return [path for _, path in sorted(found)]


def read_cursors(path: Path) -> dict[str, Cursor]:
    """What a file says, by key; what is not as it should be is left out. May block. Raises OSError."""
    _, data = read_regular(path, HEADER_BYTES + SLOTS * SLOT_BYTES)
    found: dict[str, Cursor] = {}
    if not data.startswith(MAGIC):
        return found
    for at in range(HEADER_BYTES, len(data) - SLOT_BYTES + 1, SLOT_BYTES):
        cursor = Cursor(*_NUMBERS.unpack_from(data, at))
        (length,) = _LENGTH.unpack_from(data, at + _NUMBERS.size)
        if 0 < length <= KEY_BYTES:
            start = at + _NUMBERS.size + _LENGTH.size
            with contextlib.suppress(UnicodeDecodeError):
                found[data[start : start + length].decode("utf-8", "surrogatepass")] = cursor
    return found
