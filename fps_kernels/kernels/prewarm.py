"""Kernels that are already running: a start takes one, moves it to its folder, and another is launched in its place.

Code in a kernel cannot tell whether the kernel was taken from the pool: it has run nothing, and whatever cannot be set
after the launch is compared. Only IPython kernels on this machine can be moved to another folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import Conflict, FPSKernelsError, KernelspecNotFound
from ..kernel_driver.launch import LaunchOptions
from ..kernel_driver.process import LaunchedProcess
from ..tasks import TaskSet
from .capacity import Capacity
from .ipython_probe import ProbeFailed
from .pooled_kernel import FOLDER, NotPoolable, PooledKernel, PoolFactory

logger = logging.getLogger(__name__)

Wanted = Mapping[str, tuple[LaunchOptions, int]]
"""Names of kernelspecs, with the options of a kernel for the pool and the number of kernels to keep."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """The times at which the pool is filled.

    quiet_s: seconds after the last start of a kernel before one is launched for the pool: when four kernels are
      started together, there must not be eight launches at a time.
    patience_s: seconds to wait for a busy machine; after that, the pool is filled anyway.
    """

    quiet_s: float = 1.0
    patience_s: float = 10.0


class PrewarmPool:
    """A pool of running kernels, as many of each kernelspec as the option `prewarm` says.

    capacity: the room for kernels. Pooled kernels make room for those that are started.
    """

    def __init__(self, factory: PoolFactory, capacity: Capacity, pacing: Pacing) -> None:
        self._factory = factory
        self._capacity = capacity
        self._pacing = pacing
        self._kernels: list[PooledKernel] = []
        self._not_poolable: set[str] = set()
        self._failed: set[str] = set()  # until a kernel of that kernelspec has been started
        self._unknown: set[str] = set()  # kernelspecs that do not exist, which has been logged
        self._refill = asyncio.Event()
        self._keeper = TaskSet()
        self._ending = TaskSet()
        self._last_start = 0.0

    def __len__(self) -> int:
        return len(self._kernels)

    @property
    def ready(self) -> int:
        """How many kernels could be taken now."""
        return sum(kernel.ready.done() for kernel in self._kernels)

    @property
    def is_filled(self) -> bool:
        """Whether there is any kernel in it, ready or not, or will be."""
        return bool(self._kernels or len(self._keeper) or len(self._ending))

    def start(self) -> None:
        """Fill the pool in the background, and keep it full. Does nothing when no kernels are wanted."""
        if self._factory.options.prewarm:
            self._refill.set()
            self._keeper.start(self._keep(), name="prewarmed kernels")

    async def close(self) -> None:
        """End all pooled kernels, including those that are returned meanwhile. May be called twice."""
        await self._keeper.close()
        while self._kernels:
            self._end(self._kernels.pop())
        await self._ending.join()

    async def take(self, kernel_id: str, options: LaunchOptions) -> LaunchedProcess | None:
        """Return a running process like the one that a launch with these options would give; None if there is none.

        A kernel that is already being launched is waited for: two launches at a time would both take longer.
        """
        self._last_start = asyncio.get_running_loop().time()
        suitable = [kernel for kernel in self._kernels if kernel.can_become(options)]
        kernel = min(suitable, key=lambda kernel: not kernel.ready.done(), default=None)
        if kernel is not None:
            self._kernels.remove(kernel)
        self.make_room()
        if kernel is None:
            return None
        try:
            process = await kernel.hand_over(kernel_id, options)
        except (FPSKernelsError, ProbeFailed, OSError) as exc:
            logger.warning("kernel %s: could not use a prewarmed kernel (%s); launching a new one", kernel_id, exc)
            self._end(kernel)
            return None
        except BaseException:
            self._end(kernel)
            raise
        logger.info("kernel %s: using a prewarmed kernel", kernel_id)
        return process

    def started(self, kernel_name: str) -> None:
        """A kernel of this kernelspec has been launched on request, and answers."""
        self._failed.discard(kernel_name)
        self._refill.set()

    def make_room(self) -> None:
        """End pooled kernels that no longer fit under `max_kernels`; to be called whenever the room has changed."""
        room = self._capacity.room()
        while room is not None and len(self._kernels) > room:
            self._end(self._kernels.pop())
        self._refill.set()

    def leave_out(self, kernel_name: str) -> None:
        """Keep no kernels of this kernelspec ready, as they are no processes."""
        self._not_poolable.add(kernel_name)
        for kernel in [one for one in self._kernels if one.name == kernel_name]:
            self._kernels.remove(kernel)
            self._end(kernel)

    def _end(self, kernel: PooledKernel) -> None:
        self._ending.start(kernel.driver.shutdown(), name=f"end of prewarmed {kernel.driver.kernel_id}")
        kernel.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # marks it as retrieved

    async def _keep(self) -> None:
        first = True
        while True:
            await self._refill.wait()
            self._refill.clear()
            await self._wait_until_quiet(heed_load=not first)  # at first, the load is the server's own start
            first = False
            try:
                wanted = await self._factory.specs.run(self._find_wanted)
                for kernel in tuple(self._kernels):
                    if kernel.name not in wanted or kernel.options != wanted[kernel.name][0]:
                        # No start could take it: the server's environment has changed, or its kernelspec is gone.
                        self._kernels.remove(kernel)
                        self._end(kernel)
                options = self._next_launch(wanted)
                if options is not None:
                    await self._add(options)
                    self._refill.set()  # more may be missing
            except FPSKernelsError as exc:
                logger.warning("the prewarm pool cannot be filled now: %s", exc.message)
            except Exception:  # the pool must survive any one kernel
                logger.exception("the prewarm pool could not be filled")

    async def _wait_until_quiet(self, *, heed_load: bool) -> None:
        """Wait until no kernel is starting and the machine is idle, but no longer than `patience_s`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._pacing.patience_s
        while True:
            quiet_at = self._last_start + self._pacing.quiet_s
            await asyncio.sleep(max(self._pacing.quiet_s / 2, quiet_at - loop.time()))
            now = loop.time()
            if now >= deadline:
                return
            if now >= quiet_at and not self._capacity.is_starting() and (_is_idle() or not heed_load):
                return

    def _find_wanted(self) -> Wanted:
        """Find the kernelspecs that the option `prewarm` names, leaving out those that do not exist. Blocks."""
        prewarm = self._factory.options.prewarm
        wanted = {}
        for name, count in prewarm.items() if isinstance(prewarm, dict) else [("", prewarm)]:
            try:
                options = self._factory.launch_options(name or None)
            except KernelspecNotFound as exc:
                if name not in self._unknown:
                    logger.warning("prewarm: %s", exc.message)
                self._unknown.add(name)
                continue
            with contextlib.suppress(OSError):  # the launch will report it
                # The launch makes only the last folder private.
                options.connection_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            wanted[options.kernel_name] = replace(options, connection_dir=options.connection_dir / FOLDER), count
        return wanted

    def _next_launch(self, wanted: Wanted) -> LaunchOptions | None:
        """Return the options of a kernel that the pool lacks and has room for."""
        room = self._capacity.room()
        if room is not None and len(self._kernels) >= room:
            return None
        names = [kernel.name for kernel in self._kernels]
        for name, (options, count) in wanted.items():
            if name not in self._not_poolable | self._failed and names.count(name) < count:
                return options
        return None

    async def _add(self, options: LaunchOptions) -> None:
        """Launch a kernel for the pool; returns when it is ready or has failed, which is logged."""
        name = options.kernel_name
        kernel = PooledKernel(options, self._factory, self._lose)
        self._kernels.append(kernel)
        try:
            await asyncio.shield(kernel.ready)
            logger.info("a prewarmed %s kernel is ready", name)
        except Conflict:
            logger.debug(
                "a prewarmed %s kernel was ended before it was ready", name
            )  # by us: no fault of the kernelspec
        except NotPoolable as exc:
            self._not_poolable.add(name)
            logger.info("%s kernels cannot be prewarmed: %s", name, exc.message)
        except FPSKernelsError as exc:
            self._failed.add(name)
            logger.warning("%s kernels are not prewarmed until one has been started: %s", name, exc.message)

    def _lose(self, kernel: PooledKernel) -> None:
        """Forget a kernel that died, or did not start, without our doing."""
        if kernel in self._kernels:
            self._kernels.remove(kernel)
            self._failed.add(kernel.name)
            self._end(kernel)


def _is_idle() -> bool:
    """Whether a processor has nothing to do; True where that cannot be told."""
    try:
        return os.getloadavg()[0] < (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return True
