"""Jupyter Server's manager of all kernels. Its bookkeeping, culling, metrics and models are jupyter_server's own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import zmq
from jupyter_client.manager import KernelManager
from jupyter_server._tz import utcnow
from jupyter_server.prometheus.metrics import KERNEL_CURRENTLY_RUNNING_TOTAL
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets import Bunch, TraitError, default, validate
from traitlets.utils.importstring import import_item

from ...errors import BadOption, InvalidKernelId, LimitReached
from ...kernel_driver.own_connection_file import SAFE_KERNEL_ID, free_path
from ...kernel_server.connection import CLOSE_RESTART
from ...kernels.capacity import Capacity
from ...kernels.kernel import Kernel
from ...kernels.prewarm import Pacing, PrewarmPool
from ...kernels.runtime import MAX_SOCKETS, KernelRuntime
from ...option_traits import kernels_option, option_trait
from .external_kernels import ExternalKernels
from .hosted_keeping import HostedKeeping
from .hosted_options import HOSTED_OPTIONS, MESSAGE_OPTION, kernels_options
from .hosted_pool import HostedFactory
from .kernel_manager import FpsKernelManager, KernelError, http_errors


# Large: it fulfils the interface of jupyter_server's, which has 60 methods.
class FpsMappingKernelManager(AsyncMappingKernelManager):
    """All kernels of the server.

    runtime: what they share.
    external: those that others started.
    pool: kernels that are kept ready, once `keep_kernels_ready` has been called.
    keeping: what outlives the server.
    """

    prewarm = kernels_option("prewarm")
    start_answer_s = kernels_option("start_answer_s")
    restart_answer_s = kernels_option("restart_answer_s")
    restart_window_s = kernels_option("restart_window_s")
    max_kernels = kernels_option("max_kernels")
    max_clients_per_kernel = kernels_option("max_clients_per_kernel")
    buffer_max_messages = kernels_option("buffer_max_messages")
    buffer_max_bytes = kernels_option("buffer_max_bytes")
    buffer_max_age_s = kernels_option("buffer_max_age_s")
    client_max_bytes = kernels_option("client_max_bytes")
    page_text_wait_s = kernels_option("page_text_wait_s")
    heartbeat_interval_s = kernels_option("heartbeat_interval_s")
    heartbeat_timeout_s = kernels_option("heartbeat_timeout_s")
    external_heartbeat_timeout_s = kernels_option("external_heartbeat_timeout_s")
    verify_signatures = kernels_option("verify_signatures")
    keep_kernels = kernels_option("keep_kernels")
    state_dir = kernels_option("state_dir")
    orphan_timeout_s = kernels_option("orphan_timeout_s")
    traces = kernels_option("traces")
    ws_max_message_bytes = option_trait(MESSAGE_OPTION)

    def __init__(self, **options: Any) -> None:
        self._last_activity = utcnow()
        self._stopping = False
        self.external = ExternalKernels(self)
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self.context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        self._shutdown_callbacks: list[Callable[[], Awaitable[None]]] = []
        self._stopping_callbacks: list[Callable[[], None]] = []
        kernels = kernels_options(self)
        # The same context, without zmq.asyncio's sockets.
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.shadow(self.context)
        try:
            self.keeping = HostedKeeping(kernels)
            self.runtime = KernelRuntime(kernels, context, keeper=self.keeping.keepsake.keeper)
        except BadOption as exc:
            raise TraitError(exc.message) from exc
        self._managers: WeakSet[FpsKernelManager] = WeakSet()  # of kernels that we run
        self._capacity = Capacity(self._own_kernels, self.max_kernels)
        self._pool_factory = HostedFactory(self, self.runtime, self.keeping)
        self.pool = PrewarmPool(self._pool_factory, self._capacity, Pacing())

    def __bool__(self) -> bool:
        """True, also with no kernels: jupyter_server would not end those that are kept ready."""
        return True

    @validate(*HOSTED_OPTIONS)
    def _check_bounds(self, proposal: Bunch) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        for one in value.values() if isinstance(value, dict) else [value]:
            violation = HOSTED_OPTIONS[name].violation(one)
            if violation is not None:
                raise TraitError(f"{type(self).__name__}.{name} {violation}, not {one}")
        return value

    @default("prewarm")
    def _default_prewarm(self) -> int:
        """None under JupyterHub, where each user's server would keep 60 MiB that most do not need."""
        return 0 if os.environ.get("JUPYTERHUB_SERVICE_PREFIX") else 1

    def keep_kernels_ready(self) -> None:
        """Begin to fill the pool, in the running event loop."""
        if not self.prewarm:
            return
        reason = self._pool_factory.why_not()
        if reason is None:
            self.pool.start()
        else:
            self.log.info("fps_kernels keeps no kernels ready: %s", reason)

    def _own_kernels(self) -> Iterator[Kernel]:
        """All kernels that we run, including those whose start has not been answered yet."""
        return (manager.kernel for manager in self._managers if manager.kernel is not None and not manager.gone)

    @default("kernel_manager_class")
    def _default_kernel_manager_class(self) -> str:
        return f"{FpsKernelManager.__module__}.{FpsKernelManager.__name__}"

    def _create_kernel_manager_factory(self) -> Callable[..., FpsKernelManager]:
        """A class that somebody has configured goes on top of ours, so that what it overrides counts."""
        theirs = import_item(self.kernel_manager_class)
        made: type[FpsKernelManager]
        if issubclass(theirs, FpsKernelManager):
            made = theirs
        elif issubclass(FpsKernelManager, theirs):
            made = FpsKernelManager
        else:
            made = type(theirs.__name__, (theirs, FpsKernelManager), {"__module__": theirs.__module__})

        def make(*args: Any, **options: Any) -> FpsKernelManager:
            if self.shared_context:
                if self.context.closed:
                    self.context = self._context_default()
                options.setdefault("context", self.context)
            return made(*args, **options)

        return make

    async def take_kernels_over(self) -> None:
        """Take over what servers before this one have left, once, if that is wanted.

        Raises BadOption, StoreUnreachable, KeeperUnavailable.
        """
        if self.keeping.keeps:
            from .hosted_next_server import HostedNextServer  # not needed for kernels that are not kept

            await self.keeping.open(partial(HostedNextServer, self._pool_factory, self.pool, self._take_in))

    def _take_in(self, manager: FpsKernelManager) -> None:
        """List a kernel that a server before this one has started."""
        kernel_id = str(manager.kernel_id)
        self._managers.add(manager)
        self._kernels[kernel_id] = manager
        self._kernel_connections[kernel_id] = 0
        self._kernel_ports[kernel_id] = manager.ports
        KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type=manager.kernel_name).inc()
        if not self._initialized_culler:
            self.initialize_culler()  # type: ignore[no-untyped-call]

    async def _async_start_kernel(self, **options: Any) -> str:
        """Start a kernel; returns its id."""
        with http_errors():
            await self.take_kernels_over()
        kernel_id: str = await super()._async_start_kernel(**options)
        return kernel_id

    start_kernel = _async_start_kernel  # type: ignore[assignment]  # as in jupyter_server

    def pre_start_kernel(self, kernel_name: str | None, kwargs: Any) -> tuple[FpsKernelManager, str, str]:
        """Make the manager of a new kernel, and its kernel, for which WebSockets may wait from now on.

        A client may have chosen the id: its connection file takes the place of none that is there.
        """
        chosen = kwargs.get("kernel_id")
        try:
            if chosen is not None and not (isinstance(chosen, str) and SAFE_KERNEL_ID.fullmatch(chosen)):
                raise InvalidKernelId(f"Invalid kernel id: {str(chosen)[:100]}")
            self._capacity.admit()
        except (InvalidKernelId, LimitReached) as exc:
            raise KernelError(exc) from exc
        manager, name, kernel_id = super().pre_start_kernel(kernel_name, kwargs)
        assert isinstance(manager, FpsKernelManager)
        manager.connection_file = str(free_path(Path(manager.connection_file)))
        manager.prepare(kernel_id)
        self._managers.add(manager)
        return manager, name, kernel_id

    def list_kernel_ids(self) -> list[str]:
        """The ids of all kernels; the folder of external ones is looked into."""
        self.external.forget_files()
        found = super().list_kernel_ids()
        self.external.follow()
        return found

    def served_kernels(self) -> list[Kernel]:
        """All kernels that are listed, but for external ones that are left to jupyter_server."""
        return [manager.kernel for manager in self._kernels.values() if manager.kernel is not None]

    def list_kernels(self) -> list[dict[str, Any]]:
        """The models of all kernels."""
        self.list_kernel_ids()  # it does not ask a subclass
        models: list[dict[str, Any]] = super().list_kernels()  # type: ignore[no-untyped-call]
        return models

    async def _async_restart_kernel(self, kernel_id: str, now: bool = False) -> None:
        """Restart a kernel; returns when it answers, or after `restart_answer_s`."""
        self._check_kernel_id(kernel_id)  # type: ignore[no-untyped-call]
        await self.pinned_superclass._async_restart_kernel(self, kernel_id, now=now)

    restart_kernel = _async_restart_kernel  # type: ignore[assignment]  # as in jupyter_server

    async def _async_shutdown_kernel(
        self, kernel_id: str, now: bool | None = False, restart: bool | None = False
    ) -> None:
        """End a kernel. One that others started is listed no more, and goes on."""
        if kernel_id in self.external:
            await self.external.leave(kernel_id)
        else:
            if not self._stopping:
                with http_errors():
                    await self.keeping.keepsake.ending(kernel_id)
            await super()._async_shutdown_kernel(kernel_id, now=now, restart=restart)  # type: ignore[no-untyped-call]

    shutdown_kernel = _async_shutdown_kernel  # type: ignore[assignment]  # as in jupyter_server

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End a kernel if it is idle, and ours to end."""
        if kernel_id not in self.external:
            await super().cull_kernel_if_idle(kernel_id)  # type: ignore[no-untyped-call]

    async def _add_kernel_when_ready(
        self, kernel_id: str, km: KernelManager, kernel_awaitable: Awaitable[None]
    ) -> None:
        """List a kernel when it has been started. One whose start failed is not waited for any more.

        jupyter_client would look for it when all kernels are shut down, and the server would not end.
        """
        try:
            await super()._add_kernel_when_ready(kernel_id, km, kernel_awaitable)
        finally:
            if self._pending_kernels.get(kernel_id) is asyncio.current_task():
                del self._pending_kernels[kernel_id]

    async def _remove_kernel_when_ready(self, kernel_id: str, kernel_awaitable: Awaitable[None]) -> None:
        await super()._remove_kernel_when_ready(kernel_id, kernel_awaitable)  # type: ignore[no-untyped-call]
        self.pool.make_room()
        if not any(self._own_kernels()) and not self.pool.is_filled:
            await self.runtime.reaper.close()  # another one is started with the next kernel

    def on_shutdown(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Have `callback()` awaited when all kernels have been shut down with the server."""
        self._shutdown_callbacks.append(callback)

    def on_stopping(self, callback: Callable[[], None]) -> None:
        """Have `callback()` called when the server begins to shut down all kernels."""
        self._stopping_callbacks.append(callback)

    async def _async_shutdown_all(self, now: bool = False) -> None:
        """End all kernels, or leave them to the next server, having told their clients that this one is going."""
        self._stopping = True
        for stopping in self._stopping_callbacks:
            stopping()
        if self.keeping.keepsake.stays:
            await self.pool.close()  # nobody ends them once all others are left to the keeper
            await self.keeping.leave()
        for manager in self._kernels.values():
            if manager.kernel is not None:
                manager.kernel.server.close(CLOSE_RESTART, "the server is shutting down")
        await asyncio.gather(super()._async_shutdown_all(now=now), self.pool.close())
        await self.pool.close()  # kernels that a start had taken, and returned when it was stopped
        await self._pool_factory.specs.close()
        await self.external.close()
        for callback in self._shutdown_callbacks:
            await callback()
        await self.keeping.close()
        await self.runtime.close()

    shutdown_all = _async_shutdown_all  # type: ignore[assignment]  # as in jupyter_server

    @property
    def last_kernel_activity(self) -> datetime:
        """The last activity of any kernel, also of one that has ended."""
        dates: list[datetime] = [manager.last_activity for manager in self._kernels.values()]
        return max([self._last_activity, *dates])

    @last_kernel_activity.setter
    def last_kernel_activity(self, date: datetime) -> None:
        self._last_activity = date

    def start_watching_activity(self, kernel_id: str) -> None:
        """Does nothing: the shared client watches."""

    def stop_watching_activity(self, kernel_id: str) -> None:
        """Does nothing."""

    def _handle_kernel_died(self, kernel_id: str) -> None:
        """Does nothing: a dead kernel stays, with its reason, and can be restarted."""
