"""One kernel of a server: its driver, its web side, and what the REST API shows of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NotRequired, TypedDict

from ..errors import FPSKernelsError
from ..kernel_driver.client import KernelClient
from ..kernel_driver.driver import KernelDriver
from ..kernel_driver.observer import Observers
from ..kernel_driver.state import ExecutionState
from ..kernel_server.server import KernelServer
from ..tasks import TaskSet, cancel_and_wait

logger = logging.getLogger(__name__)


class KernelModel(TypedDict):
    id: str
    name: str
    last_activity: str
    execution_state: str
    connections: int
    reason: NotRequired[str]


class Kernel:
    """A kernel of a server: its driver, its web side, and the tasks that start and stop it.

    starting: the task that starts the kernel, from `begin` on.
    stopping: the task that ends the kernel, once there is one; started by the kernel's owner in `tasks`.
    """

    def __init__(self, driver: KernelDriver, server: KernelServer, *, external: bool = False) -> None:
        self.driver = driver
        self.server = server
        self.external = external
        self.observers = Observers(server)
        self.tasks = TaskSet()
        self.starting: asyncio.Task[None] | None = None
        self.stopping: asyncio.Task[None] | None = None
        self._stop_callbacks: list[Callable[[], Awaitable[None]]] = []
        driver.observer = self.observers

    @property
    def id(self) -> str:
        return self.driver.kernel_id

    @property
    def client(self) -> KernelClient:
        """The shared connection to the kernel; it stays the same over restarts."""
        return self.driver.client

    @property
    def execution_state(self) -> ExecutionState:
        return self.client.execution_state

    def begin(self) -> None:
        """Start the kernel in the background. A failure is logged."""
        self.starting = self.tasks.start(self.driver.start(), name=f"start {self.id}", log_failure=False)
        self.starting.add_done_callback(self._log_failed_start)

    async def end(self) -> None:
        """Shut the kernel down, started or not; returns when its process has ended and its callbacks have run."""
        try:
            await self.driver.shutdown()
            await cancel_and_wait(self.starting)
        finally:
            await self.server.tasks.close()
            for callback in self._stop_callbacks:
                await callback()

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Have `callback()` awaited once, when the kernel's process has ended."""
        self._stop_callbacks.append(callback)

    def model(self) -> KernelModel:
        """Return what the REST API shows."""
        state = self.client.state
        model: KernelModel = {
            "id": self.id,
            "name": self.driver.name,
            "last_activity": format_date(state.last_activity),
            "execution_state": state.execution_state.value,
            "connections": self.server.connections,
        }
        reason = state.reason or state.unresponsive
        if reason:
            model["reason"] = reason
        return model

    def _log_failed_start(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, FPSKernelsError):
            logger.warning("kernel %s (%s) did not start: %s", self.id, self.driver.name, error.message)
        elif error is not None:
            logger.error("kernel %s (%s) did not start", self.id, self.driver.name, exc_info=error)


def format_date(date: datetime) -> str:
    """Write a date in UTC, always with microseconds and Z: GatewayClient's parser fails on anything else."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
