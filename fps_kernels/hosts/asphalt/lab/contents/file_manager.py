"""Jupyter Server's contents manager, fit for several threads. Imported late, as it takes a while.

The manager that blocks, not the asynchronous one, which looks for files, lists folders, copies and validates on the
event loop.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.services.contents.fileio import path_to_intermediate
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from nbformat.sign import NotebookNotary, SQLiteSignatureStore
from tornado.web import HTTPError

logger = logging.getLogger(__name__)


class FileManager(LargeFileManager):
    """The files below a folder. Its methods may be called in any thread, but those that change a file one by one."""

    def __init__(self, **traits: Any) -> None:
        super().__init__(log=logger, **traits)
        self._reading = threading.local()
        self._writing = threading.local()
        self.notary = _notary()
        _ = self.checkpoints  # made when it is first asked for, which several threads would do at once

    def emit(self, data: dict[str, Any]) -> None:
        """Tell nobody: the events of a lab are those that clients send."""

    def get(self, *args: Any, **more: Any) -> dict[str, Any]:
        """The manager's; but a file that goes while its folder is listed is left out, and does not make that a 404."""
        if getattr(self._reading, "folder", False):
            try:
                entry: dict[str, Any] = super().get(*args, **more)  # type: ignore[no-untyped-call]
            except (FileNotFoundError, HTTPError) as exc:
                raise PermissionError(errno.EACCES, "gone") from exc  # such entries are left out in silence
            return entry
        self._reading.folder = True
        try:
            model: dict[str, Any] = super().get(*args, **more)  # type: ignore[no-untyped-call]
        finally:
            self._reading.folder = False
        return model

    @contextlib.contextmanager
    def atomic_writing(self, os_path: str, *args: Any, **more: Any) -> Iterator[Any]:
        """The manager's; but a disk that is full only at the last bytes, or at the first, leaves what there was."""
        path = os.path.join(os.path.dirname(os_path), os.readlink(os_path)) if os.path.islink(os_path) else os_path
        backup = path_to_intermediate(path)  # type: ignore[no-untyped-call]
        was_there = {one: os.path.lexists(one) for one in (path, backup)}
        begun, failure = False, None
        try:
            with super().atomic_writing(os_path, *args, **more) as file:
                begun = True
                written = _HashedFile(file, self.hash_algorithm)
                try:
                    yield written
                    self._writing.hash = written.hash
                    file.flush()
                    os.fsync(file.fileno())
                except BaseException as exc:
                    failure = exc
                    raise
        except BaseException as exc:
            with contextlib.suppress(OSError):
                if not begun and not was_there[backup]:
                    os.unlink(backup)
                elif begun and not was_there[path]:
                    os.unlink(path)
                elif begun and os.path.lexists(backup):  # closing the file failed, too
                    os.replace(backup, path)
            if failure is None or isinstance(exc, HTTPError):
                raise
            raise failure from None

    def written_hash(self) -> str:
        """The hash of the file that this thread has written last, as it wrote it."""
        return str(self._writing.hash.hexdigest())


class _HashedFile:
    """A file that is written to, from its beginning to its end, and the hash of that."""

    def __init__(self, file: Any, algorithm: str) -> None:
        self._file = file
        self.hash = hashlib.new(algorithm)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: str | bytes) -> int:
        if isinstance(data, str):
            self.hash.update(data.replace("\n", os.linesep).encode(self._file.encoding))
        else:
            self.hash.update(data)
        return int(self._file.write(data))


def _notary() -> NotebookNotary:
    """What knows which notebooks were made or trusted here; as for other servers, in Jupyter's folder of data."""
    folder = jupyter_data_dir()
    with contextlib.suppress(OSError):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    database = str(Path(folder) / "nbsignatures.db")
    notary = NotebookNotary(  # type: ignore[no-untyped-call]
        data_dir=folder, store_factory=lambda: SignatureStore(database), log=logger
    )
    try:
        _ = notary.secret  # made when it is first asked for
    except OSError:  # nothing can be kept there
        notary.secret = os.urandom(64)
    return notary


class SignatureStore(SQLiteSignatureStore):
    """Jupyter's signatures of notebooks, for any thread: a connection of SQLite is for the thread that made it."""

    def __init__(self, db_file: str) -> None:
        self._lock = threading.RLock()
        super().__init__(db_file)  # type: ignore[no-untyped-call]
        self.db.close()
        self.db = sqlite3.connect(self.db_file, check_same_thread=False)
        self.init_db(self.db)  # type: ignore[no-untyped-call]

    def store_signature(self, digest: str, algorithm: str) -> None:
        with self._lock:
            super().store_signature(digest, algorithm)  # type: ignore[no-untyped-call]

    def check_signature(self, digest: str, algorithm: str) -> bool:
        with self._lock:
            return bool(super().check_signature(digest, algorithm))  # type: ignore[no-untyped-call]
