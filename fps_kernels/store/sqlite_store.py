"""The store in a file of SQLite, which one thread of its own reads and writes.

Each call is a transaction, and they are made in the order of the calls. A call that a full queue or a slow disk keeps
for too long fails; what it wanted to write may be written all the same, later, and before whatever is called next.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import queue
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..errors import BadOption, StoreUnreachable
from ..private_files import NotRegular
from .model import KERNEL_COLUMNS, REPLICA_COLUMNS, SESSION_COLUMNS, KernelRow, ReplicaRow, SessionRow, SQLValue
from .schema import UnknownFile, migrate, version_of

T = TypeVar("T")

logger = logging.getLogger(__name__)

FILE = "store.sqlite"
QUEUE_SIZE = 256
"""Calls that may wait for the thread. A write takes less than a millisecond, so that many wait only for a sick disk."""
BUSY_TIMEOUT_S = 2.0
"""How long a transaction waits for one of another process."""
CALL_TIMEOUT_S = 5.0
"""How long a call waits for the thread, and for what it has to do before."""
MAGIC = b"SQLite format 3\0"
WAL_PAGES = 256
"""Pages after which SQLite moves what is in the log into the file, so that the log stays at 1 MiB."""


class SQLiteStore:
    """The store in one file, for this user only.

    path: the file. Its folder must be private, and not on a network: see state_folder.py.
    busy_timeout_s, call_timeout_s: the bounds on waits.

    files: how many files it has opened; more than one if somebody removed them, and what was written down with them.
    """

    def __init__(
        self, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S, call_timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        self.path = path
        self.files = 0
        self._busy_timeout_s = busy_timeout_s
        self._call_timeout_s = call_timeout_s
        self._calls: queue.Queue[Callable[[], None] | None] = queue.Queue(QUEUE_SIZE)
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None  # the thread's
        self._told = False  # whether the log says that the store cannot be reached

    async def open(self) -> None:
        """Open the file, or make it, and give it the tables of today. May be called twice. Raises BadOption."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()
        try:
            await self._call(self._connect)
        except (sqlite3.Error, OSError, UnknownFile) as exc:
            await self.close()
            what = getattr(exc, "strerror", None) or str(exc)
            if isinstance(exc, UnknownFile | sqlite3.DatabaseError) and not isinstance(exc, sqlite3.OperationalError):
                what += "; remove it, or name another folder, to begin with a new one"
            raise BadOption(f"state_dir: {self.path} cannot be used: {what}") from exc
        except TimeoutError as exc:
            await self.close()
            raise BadOption(f"state_dir: {self.path} cannot be opened within {self._call_timeout_s:g} s") from exc

    async def close(self) -> None:
        """Write what waits, and close the file; returns within the bound of a call. May be called twice."""
        if self._thread is None:
            return
        with contextlib.suppress(queue.Full, TimeoutError):  # the thread ends with the process then
            await self._call(self._disconnect)
        self._thread = None
        with contextlib.suppress(queue.Full):
            self._calls.put_nowait(None)

    # What is asked of the store. All of these raise StoreUnreachable.

    async def kernels(self) -> list[KernelRow]:
        """All kernels, oldest first. Rows that cannot be read are left out, and logged."""
        return list(_readable(await self._read("kernel", KERNEL_COLUMNS, "created_at"), KernelRow.of))

    async def sessions(self) -> list[SessionRow]:
        """All sessions, oldest first."""
        found = await self._read("session", SESSION_COLUMNS, "created_at")
        return list(_readable(found, lambda values: SessionRow(*values)))

    async def replicas(self) -> list[ReplicaRow]:
        """All servers that have written here and were not forgotten, oldest first."""
        return list(_readable(await self._read("replica", REPLICA_COLUMNS, "started_at"), ReplicaRow.of))

    async def put_kernels(self, rows: Iterable[KernelRow], gone: Iterable[str] = ()) -> None:
        """Write kernels down, all or none, in place of what was known of them.

        gone: the ids of those to be forgotten before, with their sessions: another kernel may have got the id.
        """
        values, ids = [row.values() for row in rows], list(gone)

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM kernel WHERE id = ?", [(one,) for one in ids])
            for one in values:
                _put(connection, "kernel", one)

        await self._run(write)

    async def put_session(self, row: SessionRow) -> bool:
        """Write a session down, in place of what was known of it; whether its kernel is known."""
        values = row.values()

        def write(connection: sqlite3.Connection) -> bool:
            if connection.execute("SELECT 1 FROM kernel WHERE id = ?", [row.kernel_id]).fetchone() is None:
                connection.execute("DELETE FROM session WHERE id = ?", [row.id])
                return False
            _put(connection, "session", values)
            return True

        return await self._run(write)

    async def remove_session(self, session_id: str) -> None:
        """Forget a session. Does nothing when there is none."""
        await self._run(lambda connection: connection.execute("DELETE FROM session WHERE id = ?", [session_id]))

    async def put_replica(self, row: ReplicaRow) -> None:
        """Write a server down."""
        values = row.values()
        await self._run(lambda connection: _put(connection, "replica", values))

    async def remove_replica(self, replica_id: str) -> None:
        """Forget a server."""
        await self._run(lambda connection: connection.execute("DELETE FROM replica WHERE id = ?", [replica_id]))

    async def claim(self, kernel_id: str, owner: str, new_owner: str) -> bool:
        """Make a kernel that of another server, if it is still that of `owner`; whether it was."""
        sql = "UPDATE kernel SET replica = ? WHERE id = ? AND replica = ?"
        values = [new_owner, kernel_id, owner]
        return bool(await self._run(lambda connection: connection.execute(sql, values).rowcount))

    async def _read(self, table: str, columns: Iterable[str], order: str) -> list[tuple[Any, ...]]:
        sql = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}, rowid"
        return await self._run(lambda connection: connection.execute(sql).fetchall(), writes=False)

    async def _run(self, work: Callable[[sqlite3.Connection], T], *, writes: bool = True) -> T:
        """What `work` returns, which is a transaction. Raises StoreUnreachable."""
        try:
            found = await self._call(lambda: self._transact(work, "BEGIN IMMEDIATE" if writes else "BEGIN"))
        except (sqlite3.Error, OSError, UnknownFile, queue.Full, TimeoutError) as exc:
            if not self._told:
                logger.error("the store %s cannot be reached: %s", self.path, str(exc) or type(exc).__name__)
            self._told = True
            raise StoreUnreachable from exc
        if self._told and writes:
            logger.warning("the store %s can be reached again", self.path)
            self._told = False
        return found

    async def _call(self, work: Callable[[], T]) -> T:
        """What `work` returns in the thread. Raises what it raises, queue.Full, TimeoutError."""
        if self._thread is None:
            raise OSError("it is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def finish(result: Any, error: Exception | None) -> None:
            if future.done():  # given up
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        def call() -> None:
            result, error = None, None
            try:
                result = work()
            except Exception as exc:
                error = exc
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(finish, result, error)

        self._calls.put_nowait(call)
        async with asyncio.timeout(self._call_timeout_s):
            return await future

    # The thread's.

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def _transact(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        if self._connection is None or not self.path.exists():  # somebody has cleaned up
            self._connect()
        connection = self._connection
        assert connection is not None
        connection.execute(begin)
        try:
            found = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk may have ended it
                connection.execute("ROLLBACK")
            raise
        return found

    def _connect(self) -> None:
        """Raises sqlite3.Error, OSError, UnknownFile."""
        self._disconnect()
        make_private(self.path)
        self._connection = connect(self.path, self._busy_timeout_s)
        self.files += 1

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def make_private(path: Path) -> None:
    """Make an empty file that only we can read, or look at what is there. Raises OSError, UnknownFile."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular(errno.EINVAL, "Not a regular file")
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise PermissionError(errno.EPERM, "Others can read or change it")
        if os.read(descriptor, len(MAGIC)) not in (b"", MAGIC):  # SQLite takes a file of a few bytes for an empty one
            raise UnknownFile("it is not a database")
    finally:
        os.close(descriptor)


def connect(path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """A connection to a file of ours, whose tables are those of today. Raises sqlite3.Error, UnknownFile."""
    connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, cached_statements=64)
    try:
        version_of(connection)  # before anything is changed in a file that is not ours
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _put(connection: sqlite3.Connection, table: str, values: Mapping[str, SQLValue]) -> None:
    """Insert a row, or change the one with its id: not REPLACE, which would take the sessions of a kernel with it."""
    names = list(values)
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name != "id")
    marks = ", ".join(f":{name}" for name in names)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {changes}", values
    )


def _readable(found: Iterable[tuple[Any, ...]], make: Callable[[tuple[Any, ...]], T]) -> Iterable[T]:
    for values in found:
        try:
            yield make(values)
        except (ValueError, TypeError, RecursionError) as exc:
            logger.warning("a row of the store cannot be read: %s", type(exc).__name__)
