"""Files of a server that its end removes, and how they are removed when it was killed.

A server writes the names of such files down before it makes them, in a ledger beside them, and holds a lock on the
ledger as long as it lives. Whoever can take that lock later has the ledger of a dead server, and removes what it names.
Nothing else is touched:

- a ledger counts only if it is ours, nobody else can write to it or to its folder, and it was made on this machine: a
  lock says nothing where a filesystem is shared and locks are not;
- a file is removed only if it is a regular one, ours, and still has what was written down: the key of a connection
  file, or else all of it. Names are used again, and so are the numbers of inodes. Links are not followed;
- of the sockets that belong to a connection file, those go to which nobody listens.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import socket
import stat
from pathlib import Path

from .private_files import folder_problem, problem_of, read_regular

try:
    import fcntl
except ImportError:  # Windows, where what a killed server has left stays
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

PREFIX = ".fps-kernels-"
SUFFIX = ".ledger"
MAX_LEDGER_BYTES = 4 * 1024 * 1024
MAX_FILE_BYTES = 65_536
"""The largest file that is read to see whether it is the one that was written down."""
SPARE_LINES = 256
"""Lines about files that are gone, above which a ledger is written anew if they are most of it."""
_NAME = re.compile(r"(?:[\w-][\w.-]{0,100}/)?[\w.-]{1,250}", re.ASCII)
"""A file in the folder, or in a folder in it."""


class Ledger:
    """The names of the files of one server that are in a folder or below it. All methods block, for a moment.

    It is made with its first name. Where it cannot be made, nothing is written down.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._prints: dict[str, str] = {}
        self._lines = 0

    def add(self, path: Path, fingerprint: str) -> None:
        """Write down a file of ours that is to be made now; see key_print and print_of."""
        name = path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else ""
        if fcntl is None or not _NAME.fullmatch(name):
            return
        self._prints[name] = fingerprint
        self._write(f"+ {fingerprint} {name}\n")

    def remove(self, path: Path) -> None:
        """Strike out a file that has been removed, or was never made. Does nothing for any other."""
        name = path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else ""
        if self._prints.pop(name, None) is not None:
            self._write(f"- - {name}\n")

    def close(self) -> None:
        """Remove the ledger: the files in it have been. May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and self._path is not None:
            with contextlib.suppress(OSError):  # its folder may have been removed
                self._path.unlink()
            os.close(descriptor)
        self._prints.clear()

    def _write(self, line: str) -> None:
        try:
            if self._descriptor is None or not os.fstat(self._descriptor).st_nlink:
                self._make()
            elif self._lines > len(self._prints) * 2 + SPARE_LINES:
                os.ftruncate(self._descriptor, 0)  # appended to: there is no position to be set
                os.write(self._descriptor, self._content())
            else:
                os.write(self._descriptor, line.encode())
                self._lines += 1
        except OSError as exc:
            logger.debug("what a killed server leaves in %s would stay: %s", self._folder, exc)

    def _content(self) -> bytes:
        """All that is in the ledger."""
        self._lines = len(self._prints)
        lines = [json.dumps(_here()), *(f"+ {found} {name}" for name, found in self._prints.items()), ""]
        return "\n".join(lines).encode()

    def _make(self) -> None:
        """Make the ledger; its name says that it is one only when it has been locked."""
        if self._descriptor is not None:  # the folder was removed
            os.close(self._descriptor)
            self._descriptor = None
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
        draft = path.with_suffix(".part")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(draft, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, self._content())
            draft.rename(path)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        self._descriptor, self._path = descriptor, path


def sweep(folder: Path) -> list[str]:
    """Remove what dead servers of ours have left in a folder; returns the names. Blocks."""
    removed: list[str] = []
    if fcntl is None or not folder.is_dir() or folder_problem(folder) is not None:
        return removed
    for path in sorted(folder.glob(f"{PREFIX}*{SUFFIX}")):
        try:
            removed += _sweep_one(path)
        except (OSError, ValueError) as exc:
            logger.debug("%s cannot be read: %s", path, exc)
    if removed:
        logger.info("removed what a server that was killed has left in %s: %s", folder, ", ".join(removed))
    return removed


def _sweep_one(path: Path) -> list[str]:
    """Remove what a ledger names, and the ledger, if its server is dead. Raises OSError, ValueError."""
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or problem_of(status):
            return []
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # its server lives, or there are no locks
            return []
        if not os.fstat(descriptor).st_nlink:  # another server was first
            return []
        with open(descriptor, "rb", closefd=False) as file:
            head, *lines = file.read(MAX_LEDGER_BYTES).decode(errors="replace").splitlines()
        if not _is_of_this_machine(json.loads(head)):
            return []
        prints: dict[str, str] = {}
        for line in lines:
            sign, fingerprint, name = (*line.split(" ", 2), "", "")[:3]
            if sign == "+" and _NAME.fullmatch(name):
                prints[name] = fingerprint
            else:
                prints.pop(name, None)
        removed = [name for name, found in prints.items() if _remove(path.parent / name, found)]
        path.unlink()
        return removed
    finally:
        os.close(descriptor)


def _remove(path: Path, fingerprint: str) -> bool:
    """Remove a file if it is still the one that was written down, and the sockets that belong to it."""
    if path.parent.is_symlink() or ".." in path.parts:
        return False
    removed = False
    with contextlib.suppress(OSError):  # there is none, or none of ours: a link, a folder
        status, data = read_regular(path, MAX_FILE_BYTES)
        if status.st_uid == os.geteuid() and len(data) <= MAX_FILE_BYTES and print_of(data) == fingerprint:
            path.unlink()
            removed = True
    if not os.path.lexists(path):
        for beside in path.parent.glob(f"{path.stem}-ipc-*"):
            removed = _remove_socket(beside) or removed
    return removed


def _remove_socket(path: Path) -> bool:
    """Remove a socket of ours to which nobody listens."""
    with contextlib.suppress(OSError):
        status = path.lstat()
        if stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid():
            with socket.socket(socket.AF_UNIX) as probe:
                probe.setblocking(False)
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
                    return True
    return False


def key_print(key: bytes) -> str:
    """The fingerprint of a connection file, by its key."""
    return hashlib.sha256(b"key:" + key).hexdigest()


def print_of(data: bytes) -> str:
    """The fingerprint of a file: of its key if it is a connection file with one, else of all of it."""
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
        if key := json.loads(data)["key"]:
            return key_print(key.encode(errors="surrogatepass"))
    return hashlib.sha256(data).hexdigest()


def _here() -> dict[str, str]:
    """What tells this machine from others: its name, and what Linux draws at each boot."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"host": socket.gethostname(), "boot": boot}


def _is_of_this_machine(there: object) -> bool:
    """Whether a ledger was made here: its lock can be believed then. A reboot keeps the name of the machine."""
    here = _here()
    return isinstance(there, dict) and any(here[name] and there.get(name) == here[name] for name in here)
