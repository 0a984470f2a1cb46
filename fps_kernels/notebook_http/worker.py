"""One kernel of the pool: runs cells, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..errors import FPSKernelsError
from ..kernel_driver.driver import LifecycleObserver
from ..kernel_driver.message import Message, make_frames, peek_msg_id
from ..kernel_driver.request_log import Request
from ..kernel_driver.state import ExecutionState
from ..kernels.registry import Kernel

LISTENED_TO = ("stream", "display_data", "execute_result", "error", "clear_output", "status", "execute_reply")
IDLE_TIMEOUT_S = 5.0
"""From the reply to idle. A kernel that forgets to say idle must not hold up the rest."""
STOP_TIMEOUT_S = 5.0
"""From an interrupt to the end of the cell."""

OnOutput = Callable[[str, dict[str, Any]], None]
"""on_output(msg_type, content)"""


class _RunningCell:
    """A cell that runs."""

    def __init__(self, msg_id: str, on_output: OnOutput) -> None:
        self.msg_id = msg_id
        self.on_output = on_output
        self.reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.idle = asyncio.Event()


class Worker(LifecycleObserver):
    """on_lost(worker): called when its kernel dies, whether or not that is restarted."""

    def __init__(self, kernel: Kernel, on_lost: Callable[[Worker], None]) -> None:
        self.kernel = kernel
        self._on_lost = on_lost
        self._client = kernel.driver.client
        self._session = uuid.uuid4().hex
        self._run: _RunningCell | None = None
        self._dead = asyncio.Event()
        if kernel.execution_state is ExecutionState.DEAD:  # since it was started
            self._dead.set()
        self._listener = self._client.add_listener(self._on_message, LISTENED_TO)
        kernel.observers.add(self)

    @property
    def alive(self) -> bool:
        """Whether its kernel can be asked now."""
        return self._client.state.ready

    async def run(self, code: str, on_output: OnOutput, *, silent: bool = False) -> dict[str, Any]:
        """Run a cell; returns the content of its execute_reply when all its outputs were given to `on_output`.

        silent: without outputs. Raises KernelDied or KernelRestarted at once when the kernel goes. When this
        is cancelled the cell goes on, see `stop`.
        """
        content = {
            "code": code,
            "silent": silent,
            "store_history": False,  # a kernel would remember every request's outputs
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,  # nothing waits behind it
        }
        frames = make_frames("execute_request", content, self._session)
        run = _RunningCell(peek_msg_id(frames[0]), on_output)
        self._client.send("shell", frames, self)
        self._run = run
        # Not awaited itself: it would be cancelled as well, and `stop` would take the cell for ended.
        await asyncio.wait([run.reply])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                await run.idle.wait()
        self._run = None
        return run.reply.result()

    async def stop(self) -> bool:
        """Interrupt the cell that runs; False when it does not end in time, or the kernel is gone."""
        run = self._run
        if run is None:
            return self.alive
        run.on_output = _ignore
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                if not run.reply.done():
                    await self.kernel.driver.interrupt()
                    await asyncio.wait([run.reply])
                await run.idle.wait()
        except (FPSKernelsError, TimeoutError):
            return False
        self._run = None
        return self.alive

    async def wait_alive(self) -> bool:
        """After the kernel's death, while it is restarted; False when that fails."""
        ready = asyncio.create_task(self._client.wait_ready(), name=f"ready {self.kernel.id}")
        dead = asyncio.create_task(self._dead.wait(), name=f"dead {self.kernel.id}")
        try:
            await asyncio.wait([ready, dead], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            dead.cancel()
            await asyncio.gather(ready, dead, return_exceptions=True)
        return self.alive

    def close(self) -> None:
        self._client.remove_listener(self._listener)

    # --- from the kernel -------------------------------------------------------------------------

    def _on_message(self, channel: str, frames: Sequence[bytes]) -> None:
        run = self._run
        message = Message(channel, list(frames))
        if run is None or message.parent_msg_id != run.msg_id:
            return
        if message.msg_type == "execute_reply":
            if not run.reply.done():
                run.reply.set_result(message.content)
        elif message.msg_type == "status":
            if message.content.get("execution_state") == "idle":
                run.idle.set()
        else:
            run.on_output(message.msg_type, message.content)

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        run = self._run
        if run is None:
            return
        run.idle.set()  # also after the reply: it will not be heard any more
        if not run.reply.done():
            run.reply.set_exception(error)
            run.reply.exception()  # seen, if nobody waits for it any more

    def on_restarting(self, reason: str) -> None:
        self._on_lost(self)

    def on_dead(self, reason: str) -> None:
        self._dead.set()
        self._on_lost(self)


class Assignment(NamedTuple):
    """Code that assigns REQUEST. declaration: code that some languages need before, once; "" in others."""

    code: str
    declaration: str


async def run_cell(worker: Worker, assignment: Assignment, source: str, on_output: OnOutput) -> dict[str, Any]:
    """Assign REQUEST and run a cell; returns the content of the cell's execute_reply.

    One after the other: a cell must not run with another's REQUEST, should the assignment fail.
    """
    reply = await worker.run(assignment.code, _ignore, silent=True)
    if reply.get("status") != "ok" and assignment.declaration:
        await worker.run(assignment.declaration, _ignore, silent=True)
        reply = await worker.run(assignment.code, _ignore, silent=True)
    if reply.get("status") != "ok":
        raise FPSKernelsError(f"REQUEST cannot be assigned: {reply.get('ename')}: {reply.get('evalue')}")
    return await worker.run(source, on_output)


def _ignore(msg_type: str, content: dict[str, Any]) -> None:
    """The outputs of a cell that nobody waits for."""
