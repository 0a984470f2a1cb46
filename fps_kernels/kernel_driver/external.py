"""A kernel that somebody else started: connected to, never stopped or restarted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zmq

from ..errors import Conflict, ExternalKernel, FPSKernelsError, KernelDied
from .client import KernelClient
from .connection_file import ConnectionInfo
from .heartbeat import HeartbeatOptions
from .observer import LifecycleObserver
from .state import ExecutionState


class ExternalDriver:
    """The part of KernelDriver that is left when the process is not ours."""

    pid = None

    def __init__(
        self,
        kernel_id: str,
        name: str,
        info: ConnectionInfo,
        startup_timeout_s: float,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        verify: bool = True,
        heartbeat: HeartbeatOptions | None = None,
    ) -> None:
        self.kernel_id = kernel_id
        self.name = name
        self.client = KernelClient(kernel_id, context, verify=verify, heartbeat=heartbeat)
        self.observer = LifecycleObserver()
        self._info = info
        self._startup_timeout_s = startup_timeout_s
        self._closed = False

    @property
    def reason(self) -> str | None:
        return self.client.state.reason

    @property
    def metadata(self) -> Mapping[str, Any]:
        """There is no kernelspec."""
        return {}

    def resolve_path(self, path: str) -> str | None:
        """Nothing is known of the kernel's working directory."""
        return None

    def set_environment(self, **names: str) -> None:
        """There will be no next process of ours."""

    async def start(self) -> None:
        """Connect; returns when the kernel answers, also while it is busy. Raises KernelTimeout."""
        try:
            self.client.connect(self._info)
            await self.client.handshake(self._startup_timeout_s, ask_control=True)
        except FPSKernelsError as exc:
            self._end(exc.message)
            raise

    async def interrupt(self) -> None:
        """Ask the kernel to interrupt itself; there is no process to send a signal to."""
        if not self.client.state.ready:
            raise Conflict(f"The kernel is {self.client.execution_state.value}: it cannot be interrupted now")
        self.observer.on_interrupt()
        self.client.ask_now("control", "interrupt_request")

    async def restart(self) -> None:
        raise ExternalKernel(self.kernel_id, "restarted")

    async def shutdown(self, *, now: bool = False) -> None:
        """Disconnect; the kernel goes on. May be called twice."""
        if not self._closed:
            self._closed = True
            self._end("The external kernel is gone")
            await self.client.close()

    def _end(self, reason: str) -> None:
        self.client.disconnect()
        error = KernelDied(reason)
        requests = self.client.fail_requests(error)
        if requests:
            self.observer.on_requests_failed(requests, error)
        if self.client.execution_state is not ExecutionState.DEAD:
            self.client.set_state(ExecutionState.DEAD, reason)
            self.observer.on_dead(reason)
