"""The cells of all documents that wait for one kernel: executed one after the other, in order.

A queue belongs to its kernel and listens through the kernel's shared client, so its executions go on when all
browsers are closed.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import (
    Conflict,
    FPSKernelsError,
    KernelDied,
    KernelRestarted,
    MalformedMessage,
    QueueFull,
    RequestNotFound,
)
from ..kernel_driver.client import KernelClient
from ..kernel_driver.message import Message, make_frames, make_header
from ..kernel_driver.observer import LifecycleObserver
from ..kernel_driver.request_log import Request
from ..kernel_driver.state import ExecutionState
from ..kernel_server.kernel_notes import KernelNotes
from ..tasks import cancel_and_wait
from .cell_execution import CellState, Execution, QueueStatistics
from .executed_notebook import ExecutedNotebook, NotebookKeeper
from .execution_request import ExecutionRequest, ExecutionRequestModel
from .ordering import OrderLimits, RequestOrder, in_document_order
from .output_messages import display_id, encodable
from .output_widgets import COMM_TYPES, OutputWidgets
from .queue_record import FoundRequest, QueueRecord
from .sent_before import NotSentError, expect, outcome
from .sent_executions import SentExecutions
from .stdin_clients import PendingInput, PendingModel, StdinClients

logger = logging.getLogger(__name__)

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
    *COMM_TYPES,
)


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """The bounds of the queue of one kernel."""

    max_waiting: int = 10_000
    """Cells that may wait for the kernel."""
    max_requests: int = 1_000
    """Requests that can be asked about; of those that have ended, the oldest are forgotten first."""
    max_late: int = 100
    """Executions that are listened to after their end."""
    late_bytes: int = 64 * 1024 * 1024
    """The outputs of these executions that are kept, in characters and bytes."""
    idle_timeout_s: float = 5.0
    """Wait for the kernel's idle after its reply: a kernel that forgets to send it must not block the next cell."""
    order: OrderLimits = OrderLimits()  # noqa: RUF009 - frozen
    """How long requests wait for each other."""


# Large: the state of one queue; its order, widgets and requests are classes of their own.
class ExecutionQueue(LifecycleObserver):
    """A queue that executes cells on one kernel.

    documents: the shared documents, which are kept open while their cells wait or run.
    broadcast(channel, frames): sends a message to all WebSockets of the kernel.
    notes: where it is noted for the next server what waits and runs.
    ended: counts the executions that have ended, by how.
    """

    def __init__(
        self,
        client: KernelClient,
        documents: NotebookKeeper,
        broadcast: Callable[[str, Sequence[bytes]], None],
        limits: QueueLimits | None = None,
        notes: KernelNotes | None = None,
        ended: Counter[CellState] | None = None,
    ) -> None:
        self._ended: Counter[CellState] = Counter() if ended is None else ended
        self.stdin_clients = StdinClients()
        self._client = client
        self._documents = documents
        self._broadcast = broadcast
        self._limits = limits or QueueLimits()
        self._session = uuid.uuid4().hex
        self._order = RequestOrder(self._enqueue, self._limits.order)
        self._waiting: asyncio.Queue[Execution] = asyncio.Queue()
        self._running: Execution | None = None
        self._pending: PendingInput | None = None
        self._asking: Execution | None = None  # the one that waits for input
        self._requests: OrderedDict[str, ExecutionRequest] = OrderedDict()
        self._request_of: dict[Execution, ExecutionRequest] = {}
        self._sent = SentExecutions(self._limits.max_late, self._limits.late_bytes)
        self._widgets = OutputWidgets(client, broadcast, self._session)
        self._listener = client.add_listener(self._on_message, LISTENED_TO)
        self._record = QueueRecord(notes or KernelNotes(), told_of_saves=documents.tells_saves)
        self._resumed: dict[Execution, Request] = {}  # those that a server before this one has sent
        documents.watch_saves(self._record.saving)
        self._worker = asyncio.create_task(self._work(), name=f"executions of {client.kernel_id}")

    def submit(self, request: ExecutionRequest) -> None:
        """Show the cells of a request as running, and execute them when it is their turn.

        Raises Conflict when the kernel is dead or the request's id is taken, QueueFull.
        """
        if self._client.execution_state in (ExecutionState.DEAD, ExecutionState.TERMINATING):
            raise Conflict(f"The kernel is dead: {self._client.state.reason or 'it is being shut down'}")
        if request.id in self._requests:
            raise Conflict(f"There is a request with this id already: {request.id}")
        if len(self._request_of) + len(request.executions) > self._limits.max_waiting:
            raise QueueFull("Too many cells wait for the kernel")
        self._requests[request.id] = request
        if len(self._requests) > self._limits.max_requests:
            ended = next((one.id for one in self._requests.values() if one.ended), None)
            if ended is not None:
                del self._requests[ended]
        # What earlier executions of the same cells still put out has no place any more.
        latest = {execution.place: execution for execution in request.executions}
        for execution in (*self._sent, *self._request_of, *request.executions):
            if latest.get(execution.place, execution) is not execution:
                execution.retire()
        self._record.add(request)
        request.notebook.begin([execution.cell_id for execution in request.executions])
        for execution in request.executions:
            self._hold(execution, request)
        self._order.add(request)

    def _hold(self, execution: Execution, request: ExecutionRequest) -> None:
        self._documents.hold(execution.notebook)
        self._request_of[execution] = request

    def restore(self, found: FoundRequest, notebook: ExecutedNotebook) -> None:
        """Go on with a request of a server before this one. Its kernel is not connected to yet.

        Of cells that were sent, all outputs come again; those that the document was saved with stay as they are.
        """
        executions = []
        for cell in found.cells:
            cell_id = notebook.find_again(cell.cell_id, cell.position, cell.code)
            execution = Execution(notebook, cell_id or cell.cell_id, cell.code)
            executions.append(execution)
        request = ExecutionRequest(found.id, notebook, executions, single=found.single, after=found.after)
        self._requests[request.id] = request
        self._record.add(request, found.path)
        for execution, cell in zip(executions, found.cells, strict=True):
            if cell.settled or (cell.state is not None and not cell.msg_id):
                execution.state, execution.count, execution.reason = cell.state or CellState.OK, cell.count, cell.reason
                self._record.ended(execution)
                self._record.settle([execution])
                continue
            self._hold(execution, request)
            if not cell.msg_id:
                notebook.begin([execution.cell_id])
                continue
            execution.resume()
            self._resumed[execution] = expect(self._client, cell.msg_id, self._session, execution)
            self._sent.add(cell.msg_id, execution)
            self._record.sent(execution, cell.msg_id, cell.begin)
        if found.place is None and not any(one in self._resumed for one in executions):
            self._order.add(request)
        else:
            self._enqueue(request)

    def _enqueue(self, request: ExecutionRequest) -> None:
        self._record.place(request)
        for execution in request.executions:
            if not execution.ended:
                self._waiting.put_nowait(execution)

    def register_client(self, client_id: str, user: str = "") -> None:
        """Note that a client can answer input requests. Raises Forbidden when clients may not."""
        self._client.admission.check_type("input_reply")
        self.stdin_clients.register(client_id, user)

    def statistics(self) -> QueueStatistics:
        states = Counter(one.state for one in self._request_of)
        return QueueStatistics(states[CellState.QUEUED], states[CellState.RUNNING], int(self._asking is not None))

    def has(self, execution: Execution) -> bool:
        """Whether another execution of the same cell waits or runs."""
        return any(one.place == execution.place for one in self._request_of)

    def request_model(self, request_id: str) -> ExecutionRequestModel:
        """A request as the REST API shows it. Raises RequestNotFound."""
        request = self._requests.get(request_id)
        if request is None:
            raise RequestNotFound(request_id)
        return request.model(next((one for one in self.pending() if one["request_id"] == request_id), None))

    def pending(self) -> list[PendingModel]:
        """The input that the kernel waits for: one at most."""
        if self._pending is None or self._asking is None:
            return []
        return [
            {
                "request_id": self._request_of[self._asking].id,
                "document_id": self._asking.notebook.name,
                "cell_id": self._asking.cell_id,
                "prompt": self._pending.prompt,
                "password": self._pending.password,
            }
        ]

    def answer(self, request_id: str, value: str) -> None:
        """Answer the input request of a cell.

        Raises RequestNotFound; Conflict when no cell waits for input; Forbidden when clients may not answer.
        """
        if request_id not in self._requests:
            raise RequestNotFound(request_id)
        pending = self._pending
        if pending is None or self._asking is None or self._request_of[self._asking].id != request_id:
            raise Conflict("No cell of this request waits for input")
        content = {"value": value, "status": "ok"}
        self._client.send("stdin", make_frames("input_reply", content, self._session, pending.header))
        self._pending = self._asking = None

    async def _work(self) -> None:
        while True:
            execution = self._running = await self._waiting.get()
            try:
                await self._execute(execution)
            except FPSKernelsError as exc:
                execution.fail(exc)
            except Exception as exc:  # the failure of one cell must not end the queue
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
        try:
            reply = await self._reply_to(execution, stop_on_error=stop_on_error)
        except FPSKernelsError:
            if execution.ended:
                return  # by on_requests_failed, which has dealt with the rest of the queue
            raise
        if execution.ended:
            return
        status = reply.content.get("status")
        self._end(execution, {"ok": CellState.OK, "aborted": CellState.ABORTED}.get(status or "", CellState.ERROR))
        if status != "ok" and stop_on_error:
            self._abort("a cell before it failed")

    async def _reply_to(self, execution: Execution, *, stop_on_error: bool) -> Message:
        """Have a cell executed, unless a server before this one has done that, and return the kernel's reply."""
        if (before := self._resumed.pop(execution, None)) is not None:
            try:
                return await outcome(self._client, before, self._record.notes, self._limits.idle_timeout_s)
            except NotSentError:
                execution.begin_again()
            finally:
                self._widgets.on_end(before.msg_id)
        header = make_header("execute_request", self._session)
        self._sent.add(header["msg_id"], execution)
        self._record.sent(execution, header["msg_id"])
        try:
            return await self._client.execute(
                execution.code,
                timeout_s=None,  # a cell may run for days; the end of its kernel ends it, too
                grace_s=self._limits.idle_timeout_s,
                header=header,
                metadata={"cellId": execution.cell_id, "deletedCells": [], "recordTiming": True},
                origin=execution,
                allow_stdin=len(self.stdin_clients) > 0 and self._client.admission.allows("input_reply"),
                stop_on_error=stop_on_error,
            )
        finally:
            self._widgets.on_end(header["msg_id"])

    def _end(self, execution: Execution, state: CellState) -> None:
        if execution is self._asking:
            self._pending = self._asking = None
        if (before := self._resumed.pop(execution, None)) is not None:
            self._client.requests.discard(before)
        execution.end(state)
        self._record.ended(execution)
        if self._request_of.pop(execution, None) is not None:
            self._ended[execution.state] += 1
            self._documents.release(execution.notebook)

    def _abort(self, reason: str, error: FPSKernelsError | None = None) -> None:
        """Execute none of the cells that wait.

        error: shown in the first of them.
        """
        waiting = []
        while not self._waiting.empty():
            waiting.append(self._waiting.get_nowait())
        for request in in_document_order(self._order.clear()):
            waiting += request.executions
        for execution in waiting:
            if error is not None and not execution.ended:
                execution.fail(error)
                error = None
            execution.reason = reason
            self._end(execution, CellState.ABORTED)

    async def close(self) -> None:
        """End all executions, and free their cells."""
        self._abort("The kernel is gone")
        for execution in self._sent:
            execution.flush_late()
        self._widgets.clear()
        await cancel_and_wait(self._worker)
        self._client.remove_listener(self._listener)
        self._documents.unwatch_saves(self._record.saving)

    def _on_message(self, channel: str, frames: Sequence[bytes]) -> None:
        message = Message(channel, list(frames))
        try:
            if message.msg_type in COMM_TYPES:
                self._widgets.on_comm(message)
                return
            execution = self._sent.get(message.parent_msg_id)
            if not message.parent_msg_id and self._client.state.ready and not self._client.state.names_causes:
                execution = self._running  # the cell that runs must be the cause
            if message.msg_type == "update_display_data":
                self._on_update_display(message)
            elif execution is None:
                return
            elif message.msg_type == "input_request":
                self._on_input_request(execution, message)
            elif execution.retired or not self._widgets.take(message):
                execution.on_message(message)
        except MalformedMessage as exc:
            logger.warning("kernel %s: ignoring a malformed message: %s", self._client.kernel_id, exc)

    def _on_update_display(self, message: Message) -> None:
        content = message.content
        name = display_id(content)
        if name is None:
            return
        for one in self._sent:
            if name in one.outputs.display_ids:
                one.update_display(message)
        data, metadata = content.get("data") or {}, content.get("metadata") or {}
        self._widgets.update_display(name, encodable(data), encodable(metadata), len(message.frames[3]))

    def _on_input_request(self, execution: Execution, message: Message) -> None:
        if execution is not self._running and execution not in self._resumed:
            return
        content = message.content
        execution.flush()  # the outputs before the question
        self._asking = execution
        self._pending = PendingInput(
            str(content.get("prompt", "")), bool(content.get("password")), bytes(message.frames[0])
        )
        self._broadcast("stdin", message.frames)

    def on_interrupt(self) -> None:
        self._pending = None
        self._abort("The kernel was interrupted")

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        executions = [request.origin for request in requests if isinstance(request.origin, Execution)]
        self._abort(error.message, error if isinstance(error, KernelDied) and not executions else None)
        state = CellState.ABORTED if isinstance(error, KernelRestarted) else CellState.ERROR
        for execution in executions:
            execution.fail(error, state)

    def on_user_restart(self) -> None:
        self._abort("The kernel was restarted")
        self._widgets.clear()

    def on_restarting(self, reason: str) -> None:
        self._abort(reason, KernelDied(reason))
        self._widgets.clear()

    def on_dead(self, reason: str) -> None:
        self._abort(reason, KernelDied(reason))
        self._widgets.clear()
