"""All kernels of a server, by id: how they are started, found and stopped."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ..errors import ExternalKernel, KernelNotFound, ServerStopping
from ..kernel_driver.connection_file import ConnectionInfo
from ..kernel_driver.kernelspec import Kernelspecs
from ..kernel_server.connection import CLOSE_NORMAL, CLOSE_RESTART
from ..options import KernelsOptions
from ..serving.malloc_trim import release_memory
from ..store.model import Purpose
from ..tasks import TaskSet
from .capacity import Capacity
from .cull_policy import CullPolicy
from .culler import Culler
from .factory import KernelFactory
from .keeping.keepsake import Keepsake
from .kernel import Kernel, format_date
from .kernel_watchers import KernelWatchers
from .prewarm import Pacing, PrewarmPool
from .start_policy import StartPolicy

logger = logging.getLogger(__name__)


class KernelRegistry:
    """The kernels of a server: it starts, finds and stops them.

    options: the server's configuration.
    specs: the kernelspecs of this machine.
    policy: the host's decisions about new kernels.
    pacing: the times at which kernels are launched for the pool.
    keepsake: where kernels are written down; by default, nowhere.
    """

    def __init__(
        self,
        options: KernelsOptions,
        specs: Kernelspecs,
        policy: StartPolicy | None = None,
        *,
        pacing: Pacing | None = None,
        keepsake: Keepsake | None = None,
    ) -> None:
        self.factory = factory = KernelFactory(options, specs, policy, keepsake)
        self.specs = factory.specs
        self.connection_dir = factory.connection_folder.path
        self.policy = factory.policy
        self.root = factory.root
        self.started = datetime.now(UTC)
        self.stopping = False
        self._kernels: dict[str, Kernel] = {}
        self._capacity = Capacity(self._kernels.values, options.max_kernels)
        self.prewarmed = PrewarmPool(factory, self._capacity, pacing or Pacing())
        self._watchers = KernelWatchers()
        self._last_activity = self.started  # of kernels that are gone
        self._ending: set[Kernel] = set()  # kernels that are forgotten already
        self._background = TaskSet()  # from the first kernel on
        self._stop_task: asyncio.Task[None] | None = None

    async def open(self, restore: Callable[[], Awaitable[None]] | None = None) -> None:
        """Make ready for kernels: import what is configured, remove what killed servers have left, fill the pool.

        restore: awaited before the pool is filled; it may add kernels.
        Raises BadOption, StoreUnreachable.
        """
        await self.factory.keepsake.open()
        await self.specs.open()
        await self.factory.sweep()
        if restore is not None:
            await restore()
        self.prewarmed.start()

    def __contains__(self, kernel_id: object) -> bool:
        return kernel_id in self._kernels

    def get(self, kernel_id: str) -> Kernel:
        """Raises KernelNotFound."""
        try:
            return self._kernels[kernel_id]
        except KeyError:
            raise KernelNotFound(kernel_id) from None

    def list(self) -> list[Kernel]:
        """Return all kernels, oldest first."""
        return list(self._kernels.values())

    def watch(
        self,
        on_added: Callable[[str], None] | None = None,
        *,
        on_removed: Callable[[str], None] | None = None,
        on_stopping: Callable[[], None] | None = None,
    ) -> None:
        """Watch kernels come and go.

        on_added: called with the id of each kernel that exists, and of each new one when its start begins.
        on_removed: called with the id of each kernel that has ended and been forgotten.
        on_stopping: called once, when the server begins to stop all of them.
        """
        self._watchers.add(on_added, on_removed, on_stopping, self._kernels)

    def unwatch(self, callback: Callable[[str], None]) -> None:
        """Stop calling a callback that was given to `watch`. Does nothing for any other."""
        self._watchers.discard(callback)

    def status(self) -> dict[str, Any]:
        """Return what `GET /api/status` shows: the activity of kernels, not of requests."""
        activity = [self._last_activity, *(kernel.client.last_activity for kernel in self._kernels.values())]
        return {
            "connections": sum(kernel.server.connections for kernel in self._kernels.values()),
            "kernels": len(self._kernels),
            "last_activity": format_date(max(activity)),
            "started": format_date(self.started),
        }

    async def start(
        self,
        name: str | None = None,
        *,
        kernel_id: str | None = None,
        path: str = "",
        env: Mapping[str, str] | None = None,
        session_path: str | None = None,
        at_once: bool = False,
        purpose: Purpose = Purpose.USER,
    ) -> Kernel:
        """Start a kernel; returns when it is ready, or after `start_answer_s` while it is still starting.

        name: the kernelspec that was requested; None for the default one.
        kernel_id: the id of the new kernel. If a kernel with this id exists, that one is returned.
        path: the notebook or folder that the kernel is for, relative to the contents root.
        env: the environment variables that the request wants to set.
        session_path: the path of the notebook, for JPY_SESSION_NAME.
        at_once: whether to return once its process runs, as with a `start_answer_s` of 0.
        purpose: what the kernel is for, which decides whether it may outlive the server.
        Raises KernelspecNotFound, LimitReached, KernelStartFailed, StoreUnreachable, ServerStopping. A kernel whose
        start fails before this returns is not in the registry; one that fails later stays there, dead.
        """
        await self.wait_stopped(kernel_id)  # then its id is free
        kernel = self._kernels.get(kernel_id or "")
        if kernel is None:
            launch = await self.specs.run(
                partial(self.factory.launch_options, name, path=path, env=env, session_path=session_path)
            )
            # There is no await from here until the kernel is in the dictionary, so that concurrent requests cannot
            # exceed the limit.
            if self.stopping:
                raise ServerStopping
            kernel = self._kernels.get(kernel_id or "")
            if kernel is None:
                self._capacity.admit()
                folder = self.factory.kernel_folder(launch, path, env)
                new_id = kernel_id or str(uuid.uuid4())
                kernel = self.factory.make_kernel(new_id, launch, self.prewarmed, folder, purpose)
                self.add(kernel)
        starting = kernel.starting
        assert starting is not None  # since it was added
        answer_s = 0.0 if at_once else self.factory.options.start_answer_s
        if starting.done():
            return kernel
        ended = await (kernel.wait_started(answer_s) if answer_s else kernel.wait_launched())
        if not ended:
            return kernel
        error = None if starting.cancelled() else starting.exception()
        if self.stopping and (error is not None or starting.cancelled()):
            raise ServerStopping
        if error is not None:
            if kernel.id in self._kernels:
                await self.remove(kernel)
            raise error
        return kernel

    def add_external(self, kernel_id: str, name: str, info: ConnectionInfo) -> Kernel:
        """Connect to a kernel that was started elsewhere; it is listed immediately."""
        kernel = self.factory.make_external_kernel(kernel_id, name, info)
        self.add(kernel)
        return kernel

    def add(self, kernel: Kernel) -> None:
        """Take in a kernel, and begin its start unless that has begun."""
        self._kernels[kernel.id] = kernel
        self._watchers.added(kernel.id)
        if kernel.starting is None:
            kernel.begin()
        self.factory.keepsake.follow(kernel)
        if not self._background and not self.stopping:
            factory, options = self.factory, self.factory.options
            policy = CullPolicy(options.cull_idle_timeout_s, options.cull_connected, options.cull_busy)
            culler = Culler(policy, options.cull_interval_s, self.list, self.remove, factory.runtime.counts)
            self._background.start(culler.run(), name="culling")
            self._background.start(release_memory(), name="allocator")

    async def restart(self, kernel_id: str) -> Kernel:
        """Returns when the new process answers, or after `restart_answer_s` while it does not yet.

        Raises KernelNotFound, KernelStartFailed, ExternalKernel.
        """
        kernel = self.get(kernel_id)
        await kernel.restart(self.factory.options.restart_answer_s)
        return kernel

    async def shutdown(self, kernel_id: str, *, wait: bool = True) -> None:
        """Stop a kernel and forget it; returns when its process is gone. One that is external is only forgotten.

        wait: whether to wait for that; else the kernel is forgotten now, and ends in the background.
        Raises KernelNotFound; ExternalKernel for one that answers; StoreUnreachable.
        """
        kernel = self.get(kernel_id)
        if kernel.external and kernel.client.state.ready:
            raise ExternalKernel(kernel_id, "shut down")
        await self.factory.keepsake.ending(kernel_id)
        kernel = self.get(kernel_id)  # another request may have been faster
        ended = self.remove(kernel)
        if wait:
            await ended
        else:
            self._ending.add(kernel)
            self._forget(kernel)

    async def wait_stopped(self, kernel_id: str | None) -> None:
        """Wait until a kernel that is being shut down is gone. Returns immediately for any other, and for None."""
        kernel = self._kernels.get(kernel_id or "")
        if kernel is not None and kernel.stopping is not None:
            await asyncio.wait([kernel.stopping])

    async def remove_external(self, kernel_id: str) -> None:
        """Forget an external kernel, which keeps running. Does nothing when there is none with this id."""
        kernel = self._kernels.get(kernel_id)
        if kernel is not None and kernel.external:
            await self.remove(kernel)

    def remove(self, kernel: Kernel) -> asyncio.Future[None]:
        """Begin to stop a kernel; returns a future to await. A client that hangs up does not leave it half stopped."""
        if kernel.stopping is None:
            self.factory.keepsake.ends(kernel.id)
            kernel.stopping = kernel.tasks.start(self._stop(kernel), name=f"stop {kernel.id}")
        return asyncio.shield(kernel.stopping)

    async def _stop(self, kernel: Kernel) -> None:
        try:
            await kernel.end()
        finally:
            self._forget(kernel)
            self._ending.discard(kernel)
            code = CLOSE_RESTART if self.stopping else CLOSE_NORMAL
            kernel.server.close(code, "the server is shutting down" if self.stopping else "the kernel is gone")

    def _forget(self, kernel: Kernel) -> None:
        if self._kernels.get(kernel.id) is kernel:
            del self._kernels[kernel.id]
            self.prewarmed.make_room()
            self._last_activity = max(self._last_activity, kernel.client.last_activity)
            self._watchers.removed(kernel.id)
            self.factory.keepsake.gone(kernel.id)

    async def stop(self) -> None:
        """Stop all kernels in parallel, in bounded time, and accept no more.

        May be called again, also while it is running: each call returns when everything has ended.
        """
        self.stopping = True
        if self._stop_task is None:
            self._watchers.stopping()
            self._stop_task = asyncio.create_task(self._stop_all(), name="stop all kernels")
        await asyncio.shield(self._stop_task)

    async def _stop_all(self) -> None:
        if self.factory.keepsake.stays:
            await self.prewarmed.close()  # nobody ends them once all others are left to the keeper
            await self.factory.keepsake.leave()
        await self.specs.close()
        await self._background.close()
        for kernel in self._kernels.values():
            kernel.server.close(CLOSE_RESTART, "the server is shutting down")
        removals = (self.remove(kernel) for kernel in (*self.list(), *self._ending))
        await asyncio.gather(self.prewarmed.close(), *removals, return_exceptions=True)
        await self.prewarmed.close()  # kernels that a start had taken, and returned when it was stopped
        await self.factory.keepsake.close()
        await self.factory.close()
