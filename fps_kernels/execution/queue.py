"""The cells of all documents that wait for one kernel: one after the other, in order.

Owned by the kernel; it listens through the kernel's shared client, so that its executions survive
every browser.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from ..errors import Conflict, FPSKernelsError, KernelRestarted, MalformedMessage, QueueFull, RequestNotFound
from ..kernel_driver.client import KernelClient
from ..kernel_driver.driver import LifecycleObserver
from ..kernel_driver.message import Message, dump_json, make_frames, peek_msg_id
from ..kernel_driver.request_log import Request
from ..kernel_driver.state import ExecutionState
from .cell_execution import CellState, Execution, display_id
from .execution_request import ExecutionRequest, ExecutionRequestModel
from .fps_yjs.documents import Documents
from .ordering import RequestOrder
from .stdin_clients import PendingInput, PendingModel, StdinClients

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Cells that may wait for a kernel."""
MAX_REQUESTS = 1_000
"""Requests that can be asked about, the oldest that have ended forgotten first."""
MAX_LATE = 100
LATE_BYTES = 64 * 1024 * 1024
"""Executions that are still listened to after their end, as threads go on printing and displays are updated;
and how much of their outputs is kept for that."""
IDLE_TIMEOUT_S = 5.0
"""From the reply to idle. A kernel that forgets to say idle must not hold up the rest."""

LISTENED_TO = (
    "stream",
    "display_data",
    "update_display_data",
    "execute_result",
    "error",
    "clear_output",
    "execute_input",
    "status",
    "execute_reply",
    "input_request",
)


class ExecutionQueue(LifecycleObserver):
    """Executes cells on one kernel.

    broadcast(channel, frames): tells all WebSockets of the kernel something.
    """

    def __init__(
        self, client: KernelClient, documents: Documents, broadcast: Callable[[str, Sequence[bytes]], None]
    ) -> None:
        self.stdin_clients = StdinClients()
        self._client = client
        self._documents = documents
        self._broadcast = broadcast
        self._session = uuid.uuid4().hex
        self._order = RequestOrder(self._enqueue)
        self._waiting: deque[Execution] = deque()
        self._running: Execution | None = None
        self._pending: PendingInput | None = None
        self._requests: OrderedDict[str, ExecutionRequest] = OrderedDict()
        self._request_of: dict[Execution, ExecutionRequest] = {}
        self._by_msg_id: OrderedDict[str, Execution] = OrderedDict()
        self._wake = asyncio.Event()
        self._listener = client.add_listener(self._on_message, LISTENED_TO)
        self._worker = asyncio.create_task(self._work(), name=f"executions of {client.kernel_id}")

    # --- what is asked for -----------------------------------------------------------------------

    def submit(self, request: ExecutionRequest) -> None:
        """Show the cells as running, and execute them when it is their turn.

        Raises Conflict when the kernel is dead or the request's id is taken, QueueFull.
        """
        if self._client.execution_state in (ExecutionState.DEAD, ExecutionState.TERMINATING):
            raise Conflict(f"The kernel is dead: {self._client.state.reason or 'it is being shut down'}")
        if request.id in self._requests:
            raise Conflict(f"There is a request with this id already: {request.id}")
        if len(self._request_of) + len(request.executions) > MAX_WAITING:
            raise QueueFull("Too many cells wait for the kernel")
        self._remember(request)
        self._retire_former(request)
        request.notebook.begin([execution.cell_id for execution in request.executions])
        for execution in request.executions:
            self._documents.hold(execution.notebook)
            self._request_of[execution] = request
        self._order.add(request)

    def _remember(self, request: ExecutionRequest) -> None:
        self._requests[request.id] = request
        if len(self._requests) > MAX_REQUESTS:
            for one in self._requests.values():
                if one.ended:
                    del self._requests[one.id]
                    return

    def _retire_former(self, request: ExecutionRequest) -> None:
        """What earlier executions of these cells still say has no place any more."""
        latest = {execution.place: execution for execution in request.executions}
        for execution in (*self._by_msg_id.values(), *self._request_of, *request.executions):
            if latest.get(execution.place, execution) is not execution:
                execution.retire()

    def _enqueue(self, request: ExecutionRequest) -> None:
        self._waiting.extend(one for one in request.executions if not one.ended)
        self._wake.set()

    def has(self, execution: Execution) -> bool:
        """Whether another execution of that cell waits or runs."""
        return any(one.place == execution.place for one in self._request_of)

    def request_model(self, request_id: str) -> ExecutionRequestModel:
        """Raises RequestNotFound."""
        request = self._requests.get(request_id)
        if request is None:
            raise RequestNotFound(request_id)
        pending = self.pending()
        return request.model(next((one for one in pending if one["request_id"] == request_id), None))

    def pending(self) -> list[PendingModel]:
        """The input that the kernel waits for: one at most."""
        if self._pending is None or self._running is None:
            return []
        request = self._request_of[self._running]
        return [
            {
                "request_id": request.id,
                "document_id": self._running.notebook.name,
                "cell_id": self._running.cell_id,
                "prompt": self._pending.prompt,
                "password": self._pending.password,
            }
        ]

    def answer(self, request_id: str, value: str) -> None:
        """Raises RequestNotFound; Conflict when no cell of it waits for input."""
        if request_id not in self._requests:
            raise RequestNotFound(request_id)
        pending = self._pending
        if pending is None or self._running is None or self._request_of[self._running].id != request_id:
            raise Conflict("No cell of this request waits for input")
        self._pending = None
        content = {"value": value, "status": "ok"}
        self._client.send("stdin", make_frames("input_reply", content, self._session, pending.header))

    # --- the work --------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            execution = self._running = self._waiting.popleft()
            try:
                await self._execute(execution)
            except FPSKernelsError as exc:
                execution.fail(exc)
            except Exception as exc:  # one cell's failure is not the next one's
                logger.exception("executing cell %s failed", execution.cell_id)
                execution.fail(FPSKernelsError(f"The server failed to execute the cell: {type(exc).__name__}"))
            finally:
                self._end(execution, CellState.ERROR)
                self._running = None

    async def _execute(self, execution: Execution) -> None:
        if execution.ended:
            return
        if not execution.code.strip() or execution.notebook.find(execution.cell_id) is None:
            self._end(execution, CellState.SKIPPED)
            return
        execution.state = CellState.RUNNING
        stop_on_error = "raises-exception" not in execution.notebook.tags(execution.cell_id)
        self._send(execution, stop_on_error)
        await execution.replied.wait()  # for as long as the cell runs; a kernel that dies or is restarted ends it
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                await execution.idle.wait()
        if execution.ended:
            return  # it failed, and whoever said so has dealt with the rest
        status = execution.reply.get("status")
        self._end(execution, {"ok": CellState.OK, "aborted": CellState.ABORTED}.get(status or "", CellState.ERROR))
        if status != "ok" and stop_on_error:
            self._abort("a cell before it failed")

    def _send(self, execution: Execution, stop_on_error: bool) -> None:
        content = {
            "code": execution.code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": len(self.stdin_clients) > 0,
            "stop_on_error": stop_on_error,
        }
        frames = make_frames("execute_request", content, self._session)
        frames[2] = dump_json({"cellId": execution.cell_id, "deletedCells": [], "recordTiming": True})
        self._by_msg_id[peek_msg_id(frames[0])] = execution
        self._forget_late()
        self._client.send("shell", frames, execution)

    def _forget_late(self) -> None:
        size = sum(execution.outputs.size for execution in self._by_msg_id.values())
        while len(self._by_msg_id) > 1 and (len(self._by_msg_id) > MAX_LATE + 1 or size > LATE_BYTES):
            _, execution = self._by_msg_id.popitem(last=False)
            size -= execution.outputs.size
            execution.retire()  # its request is remembered longer, but needs no outputs

    def _end(self, execution: Execution, state: CellState) -> None:
        if execution is self._running:
            self._pending = None
        execution.end(state)
        if self._request_of.pop(execution, None) is not None:
            self._documents.release(execution.notebook)

    def _abort(self, reason: str) -> None:
        """What waits is not executed."""
        waiting = list(self._waiting)
        self._waiting.clear()
        for request in self._order.clear():
            waiting += request.executions
        for execution in waiting:
            execution.reason = reason
            self._end(execution, CellState.ABORTED)

    async def close(self) -> None:
        """Free all cells."""
        self._abort("The kernel is gone")
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        self._client.remove_listener(self._listener)

    # --- from the kernel -------------------------------------------------------------------------

    def _on_message(self, channel: str, frames: Sequence[bytes]) -> None:
        message = Message(channel, list(frames))
        try:
            execution = self._by_msg_id.get(message.parent_msg_id)
            if message.msg_type == "update_display_data":
                self._update_displays(message)
            elif execution is None:
                return
            elif message.msg_type == "input_request":
                self._on_input_request(execution, message)
            else:
                execution.on_message(message)
        except MalformedMessage as exc:
            logger.warning("kernel %s: a message of no use: %s", self._client.kernel_id, exc)

    def _update_displays(self, message: Message) -> None:
        name = display_id(message.content)
        for execution in self._by_msg_id.values():
            if name in execution.outputs.display_ids:
                execution.update_display(message)

    def _on_input_request(self, execution: Execution, message: Message) -> None:
        if execution is not self._running:
            return
        content = message.content
        execution.flush()  # what the kernel said before it asked
        self._pending = PendingInput(
            str(content.get("prompt", "")), bool(content.get("password")), bytes(message.frames[0])
        )
        self._broadcast("stdin", message.frames)

    # --- from the kernel's life ------------------------------------------------------------------

    def on_interrupt(self) -> None:
        self._pending = None
        self._abort("The kernel was interrupted")

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        self._abort(error.message)
        restarted = isinstance(error, KernelRestarted)
        for request in requests:
            if isinstance(request.origin, Execution):
                request.origin.fail(error, CellState.ABORTED if restarted else CellState.ERROR)

    def on_user_restart(self) -> None:
        self._abort("The kernel was restarted")

    def on_restarting(self, reason: str) -> None:
        self._abort(reason)

    def on_dead(self, reason: str) -> None:
        self._abort(reason)
