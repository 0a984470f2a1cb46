"""One kernel of the pool: runs cells, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..errors import FPSKernelsError
from ..kernel_driver.message import Message
from ..kernel_driver.observer import LifecycleObserver
from ..kernel_driver.state import ExecutionState
from ..kernels.kernel import Kernel
from ..tasks import TaskSet, cancel_and_wait
from .bounds import Bounds

OUTPUTS = frozenset({"stream", "display_data", "execute_result", "error", "clear_output"})

LATE_S = 1.0
"""Seconds that a reply may come after its kernel is idle: they take two ways to us, but leave it together."""

OnOutput = Callable[[str, dict[str, Any]], None]
"""Called with the msg_type and the content of each output."""


def ignore_output(msg_type: str, content: dict[str, Any]) -> None:
    """An OnOutput for cells whose outputs are not wanted."""


class _RunningCell:
    """A cell that was sent to the kernel and may not have ended.

    execution: the task that executes it. It goes on when the request that waits for it is cancelled.
    """

    execution: asyncio.Task[Message]

    def __init__(self, on_output: OnOutput) -> None:
        self.on_output = on_output

    def take(self, message: Message) -> None:
        """Hand on a message that the cell has caused, if it is an output."""
        if message.msg_type in OUTPUTS:
            self.on_output(message.msg_type, message.content)


class Worker(LifecycleObserver):
    """A kernel that runs the cells of requests.

    on_lost(worker): called when the kernel dies, whether or not it is restarted.

    reads_files: whether the kernel reads files of this machine, as far as is known.
    """

    def __init__(self, kernel: Kernel, on_lost: Callable[[Worker], None], bounds: Bounds) -> None:
        self.kernel = kernel
        self.reads_files = True
        self._on_lost = on_lost
        self._bounds = bounds
        self._client = kernel.client
        self._executions = TaskSet()
        self._cell: _RunningCell | None = None
        self._dead = asyncio.Event()
        if kernel.execution_state is ExecutionState.DEAD:  # since its start
            self._dead.set()
        kernel.observers.add(self)

    @property
    def alive(self) -> bool:
        """Whether the kernel can run a cell now."""
        return self._client.state.ready

    @property
    def running(self) -> bool:
        """Whether a cell has been sent and has not ended."""
        return self._cell is not None

    async def run(self, code: str, on_output: OnOutput, *, silent: bool = False) -> dict[str, Any]:
        """Run a cell; returns the content of its execute_reply, after all outputs were given to `on_output`.

        silent: without outputs.
        When this is cancelled the cell goes on: see `stop`. Raises KernelDied or KernelRestarted as soon as that
        happens, and IdleWithoutReply when the kernel is idle again without a reply.
        """
        cell = self._cell = _RunningCell(on_output)
        cell.execution = self._executions.start(
            self._client.execute(
                code,
                cell.take,
                timeout_s=None,  # the request's own bound ends the wait
                grace_s=self._bounds.idle_timeout_s,
                late_s=LATE_S,
                silent=silent,
                store_history=False,  # a kernel would keep the outputs of every request
                stop_on_error=False,  # no other cell waits behind it
            ),
            name=f"cell on {self.kernel.id}",
            log_failure=False,
        )
        # Not awaited itself: it would be cancelled with this task, and `stop` would see an ended cell.
        await asyncio.wait([cell.execution])
        self._cell = None
        return cell.execution.result().content

    async def stop(self) -> bool:
        """Interrupt the running cell; False when it does not end in time, or when the kernel is gone."""
        cell = self._cell
        if cell is None:
            return self.alive
        cell.on_output = ignore_output
        try:
            async with asyncio.timeout(self._bounds.stop_timeout_s):
                if not cell.execution.done():
                    await self.kernel.driver.interrupt()
                await asyncio.wait([cell.execution])
        except (FPSKernelsError, TimeoutError):
            return False
        self._cell = None
        return self.alive

    async def wait_alive(self) -> bool:
        """Wait until a kernel that died has been restarted; False when that fails, or takes too long."""
        ready = asyncio.create_task(self._client.wait_ready(), name=f"ready {self.kernel.id}")
        dead = asyncio.create_task(self._dead.wait(), name=f"dead {self.kernel.id}")
        timeout_s = self._bounds.restart_timeout_s
        try:
            await asyncio.wait([ready, dead], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(ready, dead)
        return self.alive

    def on_restarting(self, reason: str) -> None:
        self._on_lost(self)

    def on_dead(self, reason: str) -> None:
        self._dead.set()
        self._on_lost(self)
