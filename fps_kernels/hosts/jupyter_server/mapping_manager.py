"""Jupyter Server's manager of all kernels. Its bookkeeping, culling, metrics and models are jupyter_server's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import zmq
from jupyter_server._tz import utcnow
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets import Bunch, TraitError, default, validate
from traitlets.utils.importstring import import_item

from ...errors import LimitReached
from ...kernel_server.connection import CLOSE_RESTART
from ...kernels.runtime import MAX_SOCKETS, KernelRuntime
from ...option_traits import kernels_option
from ...options import OPTIONS
from .hosted_options import OWN_OPTIONS, kernels_options
from .kernel_manager import FpsKernelManager, KernelError


class FpsMappingKernelManager(AsyncMappingKernelManager):
    """All kernels of the server."""

    start_answer_s = kernels_option("start_answer_s")
    restart_answer_s = kernels_option("restart_answer_s")
    restart_window_s = kernels_option("restart_window_s")
    max_kernels = kernels_option("max_kernels")
    max_clients_per_kernel = kernels_option("max_clients_per_kernel")
    buffer_max_messages = kernels_option("buffer_max_messages")
    buffer_max_bytes = kernels_option("buffer_max_bytes")
    buffer_max_age_s = kernels_option("buffer_max_age_s")
    client_max_bytes = kernels_option("client_max_bytes")
    heartbeat_interval_s = kernels_option("heartbeat_interval_s")
    heartbeat_timeout_s = kernels_option("heartbeat_timeout_s")
    verify_signatures = kernels_option("verify_signatures")

    def __init__(self, **options: Any) -> None:
        self._last_activity = utcnow()
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self.context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        # The same context, without zmq.asyncio's sockets.
        self.runtime = KernelRuntime(kernels_options(self), zmq.Context.shadow(self.context))

    @validate(*OWN_OPTIONS)
    def _check_bounds(self, proposal: Bunch) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        violation = OPTIONS[name].violation(value)
        if violation is not None:
            raise TraitError(f"{type(self).__name__}.{name} {violation}, not {value}")
        return value

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

    def pre_start_kernel(self, kernel_name: str | None, kwargs: Any) -> tuple[FpsKernelManager, str, str]:
        """Make the manager of a new kernel, and its kernel, for which WebSockets may wait from now on."""
        if self.max_kernels is not None and len(self._kernels) + self._beginning >= self.max_kernels:
            raise KernelError(LimitReached())
        manager, name, kernel_id = super().pre_start_kernel(kernel_name, kwargs)
        assert isinstance(manager, FpsKernelManager)
        manager.prepare(kernel_id)
        return manager, name, kernel_id

    @property
    def _beginning(self) -> int:
        """How many kernels are not in `_kernels` yet, because their start has not been answered."""
        return sum(kernel_id not in self._kernels for kernel_id in self._pending_kernels)

    async def _async_restart_kernel(self, kernel_id: str, now: bool = False) -> None:
        """Restart a kernel; returns when it answers, or after `restart_answer_s`."""
        self._check_kernel_id(kernel_id)  # type: ignore[no-untyped-call]
        await self.pinned_superclass._async_restart_kernel(self, kernel_id, now=now)

    restart_kernel = _async_restart_kernel  # type: ignore[assignment]  # as in jupyter_server

    async def _remove_kernel_when_ready(self, kernel_id: str, kernel_awaitable: Awaitable[None]) -> None:
        await super()._remove_kernel_when_ready(kernel_id, kernel_awaitable)  # type: ignore[no-untyped-call]
        if not self._kernels:
            await self.runtime.reaper.close()  # another one is started with the next kernel

    async def _async_shutdown_all(self, now: bool = False) -> None:
        """End all kernels, having told their clients that the server is going."""
        for manager in self._kernels.values():
            if manager.kernel is not None:
                manager.kernel.server.close(CLOSE_RESTART, "the server is shutting down")
        await super()._async_shutdown_all(now=now)
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
