"""Rows of kernels that are written in the background, as soon as the store takes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from ...errors import StoreUnreachable
from ...store.model import KernelRow
from ...store.sqlite_store import SQLiteStore
from ...tasks import TaskSet

LOOK_INTERVAL_S = 10.0
"""Seconds between two looks at what changes all the time, and is for people only."""
RETRY_S = 1.0
"""Seconds after which it is tried again to write what could not be written."""


class WriteBehind:
    """What is to be written into a store: of each kernel its last row, or that it is gone.

    look: called from time to time; it may put rows.
    write_anew: awaited when somebody has removed the store's file; it may raise StoreUnreachable.

    failing: whether the last write was in vain.
    """

    def __init__(self, store: SQLiteStore, look: Callable[[], None], write_anew: Callable[[], Awaitable[None]]) -> None:
        self.failing = False
        self._store = store
        self._look = look
        self._write_anew = write_anew
        self._changed: dict[str, KernelRow] = {}
        self._gone: set[str] = set()
        self._files = 0  # see SQLiteStore.files
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()  # one write at a time: what is older comes first
        self._tasks = TaskSet()

    def start(self) -> None:
        """Begin to write. The store must be open."""
        self._files = self._store.files
        self._tasks.start(self._write(), name="writing to the store")

    async def stop(self) -> None:
        """Write no more by itself. May be called twice."""
        await self._tasks.close()

    def put(self, row: KernelRow) -> None:
        """Write a row down soon."""
        self._changed[row.id] = row
        self._wake.set()

    def forget(self, kernel_id: str) -> None:
        """Forget a kernel soon, and before another one with its id is written down."""
        self._changed.pop(kernel_id, None)
        self._gone.add(kernel_id)
        self._wake.set()

    async def flush(self) -> None:
        """Write now all that has changed. Raises StoreUnreachable; it is written later then."""
        async with self._lock:
            changed, gone = self._changed, self._gone
            if not (changed or gone):
                return
            self._changed, self._gone = {}, set()
            try:
                await self._store.put_kernels(changed.values(), gone)
                if self._store.files != self._files:
                    files = self._store.files
                    await self._write_anew()
                    self._files = files
                self.failing = False
            except BaseException as exc:
                self.failing = isinstance(exc, StoreUnreachable)
                kept = {key: row for key, row in changed.items() if key not in self._gone}
                self._changed = kept | self._changed
                self._gone |= gone
                raise

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOK_INTERVAL_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(look_at):
                    await self._wake.wait()
            self._wake.clear()
            if loop.time() >= look_at:
                self._look()
                look_at = loop.time() + LOOK_INTERVAL_S
            try:
                await self.flush()
            except StoreUnreachable:
                await asyncio.sleep(RETRY_S)
                self._wake.set()
