"""Calls of the contents manager: in threads, one change of a file after the other, with errors for clients."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from starlette.exceptions import HTTPException

from .....tasks import TaskSet
from .....threads import DaemonThreads

T = TypeVar("T")
Manager: TypeAlias = Any
"""A FileManager, which is imported late, and whose base class has no types."""

CALL_TIMEOUT_S = 3600.0
"""A disk may be slow, and a folder large. A call that takes longer is for a disk that never answers."""
CLOSE_TIMEOUT_S = 3.0
MAX_CALLS = 16
"""Calls at the same time: a few disks that do not answer must not hold up the others."""

STATUSES = {
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.EROFS: 403,
    errno.ENOENT: 404,
    errno.ENOTDIR: 404,
    errno.ENAMETOOLONG: 400,
    errno.EISDIR: 400,
    errno.ELOOP: 400,
}
"""What is not the server's fault. The manager knows a few of these; Jupyter Server answers 500 for the others."""


class Refused(HTTPException):
    """The manager does not do what it is asked.

    reason: a word for programs, which few errors have.
    """

    def __init__(self, status: int, message: str, reason: str | None = None) -> None:
        super().__init__(status, message)
        self.reason = reason


class FileCalls:
    """The contents manager, for an event loop.

    It blocks, and so does the asynchronous one of Jupyter Server at times. Each call has a thread that the end of the
    process does not wait for: a disk may never answer. Calls that change a file, or read one that may be changing, wait
    for each other, as the manager writes into the file that is there.

    root: the folder of the files. traits: options of the manager.
    """

    def __init__(self, root: Path, traits: Mapping[str, Any]) -> None:
        self.root = root
        self.traits = traits
        self._manager: Manager | None = None
        self._making = asyncio.Lock()
        self._threads = DaemonThreads("contents", MAX_CALLS)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._running = TaskSet()

    async def run(self, call: Callable[[Manager], T], *paths: str) -> T:
        """Return what `call` returns for the manager, in a thread.

        paths: the files that it changes, or reads.
        Raises Refused. When this is cancelled the call goes on, and others wait for it.
        """
        work = self._running.start(self._run(call, paths), name="contents", log_failure=False)
        return await asyncio.shield(work)

    async def _run(self, call: Callable[[Manager], T], paths: tuple[str, ...]) -> T:
        async with contextlib.AsyncExitStack() as held:
            for path in sorted({path.strip("/") for path in paths}):  # in one order, so that none waits in a circle
                lock = self._locks.get(path)
                if lock is None:
                    lock = self._locks[path] = asyncio.Lock()
                await held.enter_async_context(lock)
            manager = await self.manager()
            try:
                return await self._threads.run(self._called, call, manager, timeout_s=CALL_TIMEOUT_S)
            except TimeoutError as exc:
                raise Refused(503, "The disk does not answer") from exc

    async def manager(self) -> Manager:
        """The manager, which is made at the first call: its import takes longer than all else at a start."""
        async with self._making:
            if self._manager is None:
                self._manager = await asyncio.to_thread(self._make)
            return self._manager

    def _make(self) -> Manager:
        module = importlib.import_module(f"{__package__}.file_manager")
        made: Manager = module.FileManager(root_dir=str(self.root), **self.traits)
        return made

    def _called(self, call: Callable[[Manager], T], manager: Manager) -> T:
        """Raises Refused."""
        from tornado.web import HTTPError

        try:
            return call(manager)
        except HTTPError as exc:
            message = exc.log_message or ""
            if exc.args:
                message = message % exc.args
            raise Refused(exc.status_code, self._shown(message), exc.reason) from exc
        except OSError as exc:
            status = STATUSES.get(exc.errno or 0, 500)
            name = exc.filename if isinstance(exc.filename, str) else ""
            raise Refused(status, self._shown(f"{exc.strerror or 'Not possible'}: {name}".removesuffix(": "))) from exc

    def _shown(self, message: str) -> str:
        """A message without the place of the folder in the server's system."""
        return message.replace(f"{self.root}{os.sep}", "").replace(str(self.root), "/")

    async def close(self) -> None:
        """Let what has begun come to its end, for a few seconds."""
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSE_TIMEOUT_S)
            await self._running.close()


def check_regular(manager: Manager, path: str) -> None:
    """Raises Refused for a pipe or a device, which would be waited for when it is opened."""
    try:
        mode = os.stat(manager._get_os_path(path.strip("/"))).st_mode
    except OSError:
        return  # there is none, or the manager says what is wrong
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise Refused(400, f"{path} is not a regular file")
