"""The kernels that answer requests: taken first in, first out, and replaced when they are lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ..errors import FPSKernelsError, QueueFull, ServerStopping
from ..kernels.registry import Kernel
from .worker import Worker

logger = logging.getLogger(__name__)

RESTART_TIMEOUT_S = 120.0
"""How long a kernel that died may take until it is restarted and seeded; it is replaced then."""
REPLACE_DELAYS_S = (0.5, 1, 2, 5, 10, 30)
"""Between attempts to start another kernel; the last one for ever."""


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """idle, running, lost: kernels. waiting: requests."""

    idle: int
    running: int
    lost: int
    waiting: int


class KernelPool:
    """start(): a new kernel, seeded. remove(kernel_id): ends one. queue_limit: requests that may wait for a kernel."""

    def __init__(
        self,
        kernels: list[Kernel],
        start: Callable[[], Awaitable[Kernel]],
        remove: Callable[[str], Awaitable[None]],
        queue_limit: int,
    ) -> None:
        self._start = start
        self._remove = remove
        self._queue_limit = queue_limit
        self._idle: deque[Worker] = deque()
        self._running: set[Worker] = set()
        self._waiting: deque[asyncio.Future[Worker]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        for kernel in kernels:
            self._hand_out(Worker(kernel, self._on_lost))

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(len(self._idle), len(self._running), len(self._tasks), len(self._waiting))

    async def acquire(self) -> Worker:
        """The kernel that has been idle for longest; waits until there is one. Raises QueueFull, ServerStopping."""
        if self._closed:
            raise ServerStopping
        if self._idle and not self._waiting:
            worker = self._idle.popleft()
            self._running.add(worker)
            return worker
        if len(self._waiting) >= self._queue_limit:
            raise QueueFull("Too many requests wait for a kernel")
        future: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.release(future.result())
            elif future in self._waiting:
                self._waiting.remove(future)
            raise

    @contextlib.contextmanager
    def releasing(self, worker: Worker) -> Iterator[None]:
        """For the work with a worker that was taken."""
        try:
            yield
        except FPSKernelsError:
            self.release(worker)  # its cell has ended, or its kernel is gone
            raise
        except BaseException:
            self.release_running(worker)
            raise
        self.release(worker)

    def release(self, worker: Worker) -> None:
        """One whose cell has ended."""
        self._running.discard(worker)
        self._hand_out(worker)

    def release_running(self, worker: Worker) -> None:
        """One whose cell nobody waits for any more: it is interrupted, and replaced if that does not help."""
        self._running.discard(worker)
        self._recover(worker, worker.stop)

    def _hand_out(self, worker: Worker) -> None:
        if not worker.alive:
            self._recover(worker, partial(self._await_restart, worker))
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                self._running.add(worker)
                future.set_result(worker)
                return
        self._idle.append(worker)

    # --- what is lost ----------------------------------------------------------------------------

    def _on_lost(self, worker: Worker) -> None:
        """One that was idle; one that was taken comes back."""
        if worker in self._idle:
            self._idle.remove(worker)
            self._recover(worker, partial(self._await_restart, worker))

    async def _await_restart(self, worker: Worker) -> bool:
        async with asyncio.timeout(RESTART_TIMEOUT_S):
            return await worker.wait_alive()

    def _recover(self, worker: Worker, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Have the worker, or another one in its place, handed out again. attempt(): whether it can be used again."""
        if self._closed:  # all kernels are being ended
            return
        task = asyncio.create_task(self._get_back(worker, attempt), name=f"recover {worker.kernel.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _get_back(self, worker: Worker, attempt: Callable[[], Awaitable[bool]]) -> None:
        try:
            if await attempt():
                self._hand_out(worker)
                return
        except (FPSKernelsError, TimeoutError) as exc:
            logger.info("kernel %s of the pool does not come back: %s", worker.kernel.id, exc)
        worker.close()
        another = await self._replace(worker)
        if another is not None:
            self._hand_out(another)

    async def _replace(self, worker: Worker) -> Worker | None:
        """Retries for ever; None when the server is being stopped."""
        attempt = 0
        logger.warning("kernel %s of the pool is replaced", worker.kernel.id)
        try:
            await self._remove(worker.kernel.id)
        except FPSKernelsError as exc:
            logger.info("%s", exc.message)  # gone already
        while True:
            try:
                return Worker(await self._start(), self._on_lost)
            except ServerStopping:
                return None
            except (FPSKernelsError, OSError) as exc:
                delay = REPLACE_DELAYS_S[min(attempt, len(REPLACE_DELAYS_S) - 1)]
                attempt += 1
                logger.error("a kernel of the pool does not start, next attempt in %g s: %s", delay, exc)
                await asyncio.sleep(delay)

    async def close(self) -> None:
        """Recover nothing more. The kernels are left to whoever ends the server."""
        self._closed = True
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(ServerStopping())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
