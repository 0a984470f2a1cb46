"""Files with the text of requests, for kernels to read.

They are in a folder of this process, in Jupyter's runtime folder, with mode 0700; they have mode 0600. A file is
removed when the kernel has read it, the folder at the end of the server. What a server that was killed has left is
removed at the next start of any: a folder is in use as long as a lock on a file in it is held.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

try:
    import fcntl
except ImportError:  # a Python where what a killed server has left stays
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

PREFIX = "notebook-http-"
"""How the names of our folders begin."""
LOCK = "lock"
"""The name of the file that is locked."""
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
NEW_S = 60.0
"""The age at which a folder without a lock is not one that is just being made."""


class RequestFiles:
    """A folder for the files of this process. All methods block.

    runtime: Jupyter's runtime folder.
    """

    def __init__(self, runtime: Path) -> None:
        self._runtime = runtime
        self._folder: Path | None = None
        self._lock: int | None = None
        self._numbers = itertools.count(1)
        self._making = threading.Lock()

    def open(self) -> None:
        """Remove what others have left, and make the folder. Raises OSError."""
        self._runtime.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in self._runtime.glob(f"{PREFIX}*") if fcntl else ():
            with contextlib.suppress(OSError):  # its owner, or another server, removes it
                _remove_if_abandoned(folder)
        self._make()

    def _make(self) -> None:
        while self._lock is None:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._runtime))  # of mode 0700
            self._lock = _lock(folder, os.O_CREAT | os.O_EXCL)  # or another server has taken it for abandoned
            self._folder = folder

    def write(self, pieces: Iterable[str]) -> Path:
        """A new file with the pieces, in ASCII. If that fails there is none. Raises OSError, and what `pieces` does."""
        assert self._folder is not None, "open comes first"
        name, flags = f"{next(self._numbers)}.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW
        path = self._folder / name
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:
            path = self._make_again() / name
            descriptor = os.open(path, flags, 0o600)
        try:
            with open(descriptor, "w", encoding="ascii", newline="") as file:
                file.writelines(pieces)
        except BaseException:
            remove(path)
            raise
        return path

    def _make_again(self) -> Path:
        """Make another folder in the place of one that somebody has removed, once for all requests that miss it."""
        with self._making:
            assert self._folder is not None
            if self._lock is not None and not self._folder.is_dir():
                logger.warning("the folder of requests, %s, has been removed: making another one", self._folder)
                os.close(self._lock)
                self._lock = None
                self._runtime.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._make()
            return self._folder

    def close(self) -> None:
        """Remove the folder."""
        if self._lock is not None and self._folder is not None:
            os.close(self._lock)
            self._lock = None
            shutil.rmtree(self._folder, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        logger.warning("the file of a request cannot be removed: %s", exc.strerror)


def _remove_if_abandoned(folder: Path) -> None:
    if not (folder / LOCK).exists():
        if time.time() - folder.stat().st_mtime > NEW_S:
            shutil.rmtree(folder)
        return
    lock = _lock(folder)
    if lock is not None:
        shutil.rmtree(folder)
        os.close(lock)
        logger.info("removed the requests that a server has left in %s", folder.name)


def _lock(folder: Path, flags: int = 0) -> int | None:
    """The descriptor of a lock on a folder, which is held until it is closed; None if another process has it."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | NO_FOLLOW | flags, 0o600)
    except FileNotFoundError:
        return None
    taken = False
    if fcntl:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            taken = True
        except OSError:  # a filesystem without locks: nobody removes what others have left there
            taken = not flags
    if taken or not os.fstat(descriptor).st_nlink:
        os.close(descriptor)
        return None
    return descriptor
