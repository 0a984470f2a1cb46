"""One kernel of the pool: runs cells, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import FPSKernelsError
from ..kernel_driver.message import Message, make_frames, peek_msg_id
from ..kernel_driver.observer import LifecycleObserver
from ..kernel_driver.request_log import Request
from ..kernel_driver.state import ExecutionState
from ..kernels.kernel import Kernel
from ..tasks import cancel_and_wait
from .bounds import Bounds

LISTENED_TO = ("stream", "display_data", "execute_result", "error", "clear_output", "status", "execute_reply")

OnOutput = Callable[[str, dict[str, Any]], None]
"""Called with the msg_type and the content of each output."""


def ignore_output(msg_type: str, content: dict[str, Any]) -> None:
    """An OnOutput for cells whose outputs are not wanted."""


class _RunningCell:
    """A cell that was sent to the kernel and has not ended."""

    def __init__(self, msg_id: str, on_output: OnOutput) -> None:
        self.msg_id = msg_id
        self.on_output = on_output
        self.reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.idle = asyncio.Event()


class Worker(LifecycleObserver):
    """A kernel that runs the cells of requests.

    on_lost(worker): called when the kernel dies, whether or not it is restarted.
    """

    def __init__(self, kernel: Kernel, on_lost: Callable[[Worker], None], bounds: Bounds) -> None:
        self.kernel = kernel
        self._on_lost = on_lost
        self._bounds = bounds
        self._client = kernel.client
        self._session = uuid.uuid4().hex
        self._cell: _RunningCell | None = None
        self._dead = asyncio.Event()
        if kernel.execution_state is ExecutionState.DEAD:  # since its start
            self._dead.set()
        self._listener = self._client.add_listener(self._on_message, LISTENED_TO)
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
        happens.
        """
        content = {
            "code": code,
            "silent": silent,
            "store_history": False,  # a kernel would keep the outputs of every request
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,  # no other cell waits behind it
        }
        frames = make_frames("execute_request", content, self._session)
        cell = _RunningCell(peek_msg_id(frames[0]), on_output)
        self._client.send("shell", frames, self)
        self._cell = cell
        # The reply is not awaited itself: it would be cancelled with this task, and `stop` would see an ended cell.
        await asyncio.wait([cell.reply])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._bounds.idle_timeout_s):
                await cell.idle.wait()
        self._cell = None
        return cell.reply.result()

    async def stop(self) -> bool:
        """Interrupt the running cell; False when it does not end in time, or when the kernel is gone."""
        cell = self._cell
        if cell is None:
            return self.alive
        cell.on_output = ignore_output
        try:
            async with asyncio.timeout(self._bounds.stop_timeout_s):
                if not cell.reply.done():
                    await self.kernel.driver.interrupt()
                    await asyncio.wait([cell.reply])
                await cell.idle.wait()
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

    def close(self) -> None:
        """Hear no more of the kernel."""
        self._client.remove_listener(self._listener)

    def _on_message(self, channel: str, frames: Sequence[bytes]) -> None:
        cell = self._cell
        message = Message(channel, list(frames))
        if cell is None or message.parent_msg_id != cell.msg_id:
            return
        if message.msg_type == "execute_reply":
            if not cell.reply.done():
                cell.reply.set_result(message.content)
        elif message.msg_type == "status":
            if message.content.get("execution_state") == "idle":
                cell.idle.set()
        else:
            cell.on_output(message.msg_type, message.content)

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        cell = self._cell
        if cell is None:
            return
        cell.idle.set()  # also after the reply: the kernel will not send its idle any more
        if not cell.reply.done():
            cell.reply.set_exception(error)
            cell.reply.exception()  # marks it as seen, should no request wait for it any more

    def on_restarting(self, reason: str) -> None:
        self._on_lost(self)

    def on_dead(self, reason: str) -> None:
        self._dead.set()
        self._on_lost(self)
