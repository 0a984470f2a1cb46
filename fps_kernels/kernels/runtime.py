"""What all kernels of a process share, whoever launches them: one ZMQ context, one reaper, and the bounds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import zmq

from ..kernel_driver.channels import OpenChannels, ZMQChannels
from ..kernel_driver.client import KernelClient
from ..kernel_driver.connection_file import ConnectionInfo
from ..kernel_driver.driver import KernelDriver, Prepare
from ..kernel_driver.external import ExternalLauncher
from ..kernel_driver.heartbeat import HeartbeatOptions
from ..kernel_driver.launcher import Launcher
from ..kernel_driver.lifecycle import LifecycleOptions
from ..kernel_driver.reaper import Reaper
from ..kernel_driver.request_log import RequestLog
from ..kernel_driver.state import ExecutionState
from ..kernel_driver.traceback_filter import TracebackFilter
from ..kernel_driver.turns import Turns
from ..kernel_server.iopub_log import ReplayLimits
from ..kernel_server.journal import BacklogLimits
from ..kernel_server.rate_limit import RateLimits
from ..kernel_server.server import KernelServer, ServerLimits
from ..options import KernelsOptions
from .kernel import Kernel
from .kernel_counts import KernelCounts
from .kernel_folder import KernelFolder
from .life_log import LifeLog

if TYPE_CHECKING:
    from ..kernel_driver.stream_kernel import StreamLauncher
    from .keeping.kernel_keeper import KernelKeeper
    from .tracing.kernel_traces import KernelTraces

MAX_SOCKETS = 16_384
"""The limit of sockets of the ZMQ context. libzmq's default of 1,023 would be reached at 250 kernels."""


class KernelRuntime:
    """The owner of what kernels share, which puts drivers, clients and servers together.

    options: the server's configuration.
    context: the ZMQ context, if it is somebody else's to close; else one is made on first use.
    keeper: what has the sockets of kernels that are kept; None if none are.

    lifecycle, heartbeat: the bounds on the life of kernels that are launched.
    reaper: ends launched processes should the server be killed.
    counts: how the kernels start and end.
    Raises BadOption if `traces` is on and OpenTelemetry cannot do it.
    """

    def __init__(
        self,
        options: KernelsOptions,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        *,
        keeper: KernelKeeper | None = None,
    ) -> None:
        self.options = options
        self.lifecycle = LifecycleOptions(
            startup_timeout_s=options.startup_timeout_s,
            shutdown_wait_time_s=options.shutdown_wait_time_s,
            restart_limit=options.restart_limit,
            restart_window_s=options.restart_window_s,
        )
        self.heartbeat = HeartbeatOptions(options.heartbeat_interval_s, options.heartbeat_timeout_s)
        self.reaper = Reaper()
        self.counts = KernelCounts()
        self._traces = _traces() if options.traces else None
        open_channels: OpenChannels = partial(ZMQChannels, turns=Turns())
        self._keeper = keeper
        self._open_channels = open_channels if keeper is None else keeper.open_channels(open_channels)
        self._limits = ServerLimits(
            ReplayLimits(options.buffer_max_messages, options.buffer_max_bytes, options.buffer_max_age_s),
            RateLimits(options.iopub_msg_rate_limit, options.iopub_data_rate_limit, options.rate_limit_window_s),
            BacklogLimits(max_bytes=options.client_max_bytes),
            options.max_clients_per_kernel,
            options.page_text_wait_s,
        )
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._given_context = context

    @property
    def context(self) -> zmq.Context[zmq.Socket[bytes]]:
        """The ZMQ context of all kernels, with its one I/O thread."""
        if self._given_context is not None:
            return self._given_context
        if self._context is None:
            self._context = zmq.Context()
            self._context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        return self._context

    async def close(self) -> None:
        """Release what the kernels shared; all of them must have ended. May be called twice."""
        context, self._context = self._context, None
        if context is not None:
            context.destroy(linger=0)
        await self.reaper.close()
        if self._traces is not None:
            await self._traces.close()

    def make_client(
        self,
        kernel_id: str,
        heartbeat: HeartbeatOptions,
        requests: RequestLog | None = None,
        open_channels: OpenChannels | None = None,
    ) -> KernelClient:
        """Make a client that is not connected yet.

        requests: see KernelClient.
        open_channels: None for sockets. Whatever else it opens is in this process, whose messages need no signature.
        """
        options = self.options
        client = KernelClient(
            kernel_id,
            self.context,
            verify=options.verify_signatures and open_channels is None,
            heartbeat=heartbeat,
            traceback_filter=None
            if options.allow_tracebacks
            else TracebackFilter(options.traceback_replacement_message),
            open_channels=open_channels or self._open_channels,
            requests=requests,
        )
        client.state.untracked = frozenset(options.untracked_message_types)
        return client

    def make_launched_kernel(
        self,
        kernel_id: str,
        launcher: Launcher,
        lifecycle: LifecycleOptions | None = None,
        *,
        prepare: Prepare | None = None,
        folder: KernelFolder | None = None,
    ) -> Kernel:
        """Make a kernel whose processes come from `launcher`.

        lifecycle: bounds of its own; None for those of all.
        prepare: see KernelDriver.
        folder: where its processes start, if that can change.
        """
        client = self.make_client(kernel_id, self.heartbeat, self._traced_requests(kernel_id, launcher.kernel_name))
        driver = KernelDriver(client, launcher, lifecycle or self.lifecycle, prepare=prepare)
        kernel = Kernel(driver, self.make_server(driver, self._keeper), folder=folder)
        self._follow(kernel, launcher)
        return kernel

    def make_stream_kernel(self, kernel_id: str, launcher: StreamLauncher, lifecycle: LifecycleOptions) -> Kernel:
        """Make a kernel that is no process. It has no heartbeat, and is not kept when the server ends."""
        requests = self._traced_requests(kernel_id, launcher.kernel_name)
        client = self.make_client(kernel_id, HeartbeatOptions(interval_s=0), requests, launcher.open_channels)
        driver = KernelDriver(client, launcher, lifecycle)
        kernel = Kernel(driver, self.make_server(driver))
        self._follow(kernel, launcher)
        return kernel

    def make_pooled_driver(self, kernel_id: str, launcher: Launcher, prepare: Prepare) -> KernelDriver:
        """Make the driver of a kernel that is not in use yet: no heartbeat, and no restart when it dies."""
        return KernelDriver(
            self.make_client(kernel_id, HeartbeatOptions(interval_s=0)),
            launcher,
            replace(self.lifecycle, restart_limit=0, patient=False),
            prepare=prepare,
        )

    def make_external_kernel(self, kernel_id: str, name: str, info: ConnectionInfo) -> Kernel:
        """Make a kernel that is connected to a process that is not ours."""
        timeout_s = self.options.external_heartbeat_timeout_s  # the launcher watches over it then
        heartbeat = HeartbeatOptions(interval_s=0) if timeout_s else self.heartbeat
        client = self.make_client(kernel_id, heartbeat, self._traced_requests(kernel_id, name))
        state = client.state

        def busy() -> bool:
            return client.pending > 0 or state.execution_state is ExecutionState.BUSY

        launcher = ExternalLauncher(name, info, self.context, timeout_s, busy)
        driver = KernelDriver(client, launcher, self.lifecycle)
        kernel = Kernel(driver, self.make_server(driver), external=True)
        self._follow(kernel, launcher)
        return kernel

    def _follow(self, kernel: Kernel, launcher: Launcher) -> None:
        """Have the life of a kernel counted, logged and, if that is on, traced."""
        self.counts.follow(kernel)
        LifeLog.follow(kernel, launcher)
        if self._traces is not None:
            self._traces.follow(kernel)

    def _traced_requests(self, kernel_id: str, name: str) -> RequestLog | None:
        return None if self._traces is None else self._traces.requests(kernel_id, name)

    def make_server(self, driver: KernelDriver, keeper: KernelKeeper | None = None) -> KernelServer:
        """Make the web side of a kernel. keeper: what may have its processes; None if they end with the server."""
        driver.client.admission.allow(self.options.allowed_message_types)
        if keeper is not None:
            return keeper.reading.make_server(driver.client, self._limits)
        return KernelServer(driver.client, self._limits)


def _traces() -> KernelTraces:
    """What traces kernels. Imported only where it is on: OpenTelemetry takes 0.1 s. Raises BadOption."""
    from .tracing.kernel_traces import KernelTraces

    return KernelTraces()
