"""The kernels that answer requests: acquired first in, first out, and replaced when they are lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from ..errors import FPSKernelsError, QueueFull, ServerStopping
from ..kernels.kernel import Kernel
from ..tasks import TaskSet
from .bounds import Bounds
from .worker import Worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A snapshot of a pool.

    idle, running, lost: kernels.
    waiting: requests that wait for a kernel.
    unfinished: cells that idle kernels still run; none, unless something is wrong.
    """

    idle: int
    running: int
    lost: int
    waiting: int
    unfinished: int


class KernelPool:
    """A pool of kernels, and the queue of requests for them.

    start(): starts a kernel, with the notebook's other cells run.
    remove(kernel_id): ends a kernel.
    queue_limit: the number of requests that may wait for a kernel.
    """

    def __init__(
        self,
        kernels: list[Kernel],
        start: Callable[[], Awaitable[Kernel]],
        remove: Callable[[str], Awaitable[None]],
        queue_limit: int,
        bounds: Bounds,
    ) -> None:
        self._start = start
        self._remove = remove
        self._queue_limit = queue_limit
        self._bounds = bounds
        self._idle: deque[Worker] = deque()
        self._running: set[Worker] = set()
        self._waiting: deque[asyncio.Future[Worker]] = deque()
        self._recovering = TaskSet()
        self._closed = False
        for kernel in kernels:
            self._hand_out(Worker(kernel, self._on_lost, bounds))

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(
            idle=len(self._idle),
            running=len(self._running),
            lost=len(self._recovering),
            waiting=len(self._waiting),
            unfinished=sum(worker.running for worker in self._idle),
        )

    async def acquire(self) -> Worker:
        """The kernel that has been idle for longest; waits until there is one. Raises QueueFull, ServerStopping."""
        if self._closed:
            raise ServerStopping
        if self._idle and not self._waiting:
            worker = self._idle.popleft()
            self._running.add(worker)
            return worker
        if len(self._waiting) >= self._queue_limit:
            raise QueueFull("Too many requests are waiting for a kernel")
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
        """A context that releases a worker at its end, in the way that fits how it ends."""
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
        """Release a worker whose cell has ended."""
        self._running.discard(worker)
        self._hand_out(worker)

    def release_running(self, worker: Worker) -> None:
        """Release a worker whose cell still runs: it is interrupted, and its kernel replaced if that does not help."""
        self._running.discard(worker)
        self._recover(worker, worker.stop)

    def _hand_out(self, worker: Worker) -> None:
        """Give a worker to the first request that waits, or keep it for the next one."""
        if not worker.alive:
            self._recover(worker, worker.wait_alive)
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                self._running.add(worker)
                future.set_result(worker)
                return
        self._idle.append(worker)

    def _on_lost(self, worker: Worker) -> None:
        """The kernel of a worker died. One that is running comes back by way of its request."""
        if worker in self._idle:
            self._idle.remove(worker)
            self._recover(worker, worker.wait_alive)

    def _recover(self, worker: Worker, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Hand out the worker when attempt() says that it can be used again, or else another one in its place."""
        if not self._closed:  # else all kernels are being ended
            self._recovering.start(self._get_back(worker, attempt), name=f"recover {worker.kernel.id}")

    async def _get_back(self, worker: Worker, attempt: Callable[[], Awaitable[bool]]) -> None:
        if await attempt():
            self._hand_out(worker)
            return
        logger.warning("kernel %s of the pool is replaced", worker.kernel.id)
        try:
            await self._remove(worker.kernel.id)
        except FPSKernelsError as exc:
            logger.info("%s", exc.message)  # it has been removed already
        delays = itertools.chain(self._bounds.replace_delays_s, itertools.repeat(self._bounds.replace_delays_s[-1]))
        for delay_s in delays:
            try:
                another = Worker(await self._start(), self._on_lost, self._bounds)
            except ServerStopping:
                return
            except (FPSKernelsError, OSError) as exc:
                logger.error("a kernel of the pool does not start, next attempt in %g s: %s", delay_s, exc)
                await asyncio.sleep(delay_s)
            else:
                self._hand_out(another)
                return

    async def close(self) -> None:
        """Refuse the requests that wait, and recover no more kernels. The kernels end with the server."""
        self._closed = True
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(ServerStopping())
        await self._recovering.close()
