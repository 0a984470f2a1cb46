"""One kernel of a server: its driver, its web side, and what the REST API shows of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NotRequired, TypedDict

from ..errors import Conflict, FPSKernelsError, KernelDied
from ..kernel_driver.client import KernelClient
from ..kernel_driver.driver import KernelDriver
from ..kernel_driver.observer import Observers
from ..kernel_driver.state import ExecutionState
from ..kernel_server.server import KernelServer
from ..tasks import TaskSet, cancel_and_wait
from .kernel_folder import KernelFolder
from .launch_environment import session_environment

logger = logging.getLogger(__name__)

LAUNCH_ANSWER_S = 1.0
"""Seconds that an answer "at once" waits for the launch, which says whether there is a kernel at all."""


class KernelModel(TypedDict):
    id: str
    name: str
    last_activity: str
    execution_state: str
    connections: int
    reason: NotRequired[str]


class Kernel:
    """A kernel of a server: its driver, its web side, and the tasks that start and stop it.

    folder: where its processes start; None if they are not ours.
    created: when this server made or found it.
    starting: the task that starts the kernel, from `begin` on.
    stopping: the task that ends the kernel, once there is one; started by the kernel's owner in `tasks`.
    """

    def __init__(
        self, driver: KernelDriver, server: KernelServer, *, external: bool = False, folder: KernelFolder | None = None
    ) -> None:
        self.folder = folder
        self.driver = driver
        self.server = server
        self.external = external
        self.created = datetime.now(UTC)
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

    def lie_dead(self, reason: str) -> None:
        """Take the kernel for one that has died before this server: it has no process until a user restarts it."""
        self.client.set_state(ExecutionState.DEAD, reason)
        self.starting = self.tasks.start(_nothing(), name=f"start {self.id}")

    def died_meanwhile(self, reason: str, *, restarts: bool) -> None:
        """Take the kernel for one that died before this server had it, of which clients have yet to hear.

        restarts: whether `begin` launches another process; otherwise the kernel lies dead.
        """
        self.server.was_ready = True
        error = KernelDied(reason)
        if requests := self.client.fail_requests(error):
            self.observers.on_requests_failed(requests, error)
        if restarts:
            self.client.set_state(ExecutionState.RESTARTING, reason)
            self.observers.on_restarting(reason)
        else:
            self.lie_dead(reason)
            self.observers.on_dead(reason)
        self.client.disconnect()

    async def wait_started(self, timeout_s: float | None) -> bool:
        """Wait for the end of the start; returns whether it has come. Its error is in `starting`.

        timeout_s: seconds to wait; None for as long as the driver says that it is worth it.
        """
        assert self.starting is not None  # since the kernel was added
        return await self._ended(self.starting, timeout_s, self.driver.overdue)

    async def wait_launched(self, timeout_s: float | None = LAUNCH_ANSWER_S) -> bool:
        """Wait until the kernel's process runs or its start has failed; returns whether the start has ended.

        timeout_s: seconds to wait; None for as long as the launch takes.
        """
        assert self.starting is not None  # since the kernel was added
        return await self._ended(self.starting, timeout_s, self.driver.launched)

    async def restart(self, timeout_s: float) -> None:
        """Restart the kernel; returns when it is ready, or after so many seconds, and the restart goes on then.

        Raises as KernelDriver.restart does.
        """
        restart = self.tasks.start(self.driver.restart(), name=f"restart {self.id}", log_failure=False)
        await asyncio.sleep(0)  # it has begun then, and the state says so
        if await self._ended(restart, timeout_s, self.driver.overdue):
            restart.result()

    async def _ended(self, task: asyncio.Task[None], timeout_s: float | None, enough: asyncio.Event) -> bool:
        """Wait for a task, but no longer than until `enough` is set; returns whether the task has ended."""
        if timeout_s == 0 or task.done():
            return task.done()
        enough_set = asyncio.create_task(enough.wait(), name=f"wait for {self.id}")
        try:
            await asyncio.wait([task, enough_set], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(enough_set)
        return task.done()

    async def end(self, *, now: bool = False) -> None:
        """Shut the kernel down, started or not; returns when its process has ended and its callbacks have run.

        now: whether to end the process without asking it first.
        """
        try:
            await self.driver.shutdown(now=now)
            await cancel_and_wait(self.starting)
        finally:
            await self.server.tasks.close()
            for callback in self._stop_callbacks:
                await callback()

    def rename(self, root: Path, path: str) -> None:
        """The notebook has got another path, below the root: the kernel's next process is told, and starts there."""
        if self.folder is not None:
            self.folder.move(path)
        self.driver.set_environment(**session_environment(root, path))

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
        if error is not None and not isinstance(error, Conflict):  # which says that it was shut down meanwhile
            self.observers.on_start_failed()
        if isinstance(error, FPSKernelsError):
            logger.warning("kernel %s (%s) did not start: %s", self.id, self.driver.name, error.message)
        elif error is not None:
            logger.error("kernel %s (%s) did not start", self.id, self.driver.name, exc_info=error)


async def _nothing() -> None:
    """The start of a kernel that is not started."""


def format_date(date: datetime) -> str:
    """Write a date in UTC, always with microseconds and Z: GatewayClient's parser fails on anything else."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
