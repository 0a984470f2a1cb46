"""The cells of a notebook, one after the other, on a kernel: what `fps-kernels run` is about.

Each cell is an execution as the server makes them for shared documents (execution.queue): its messages become outputs
in the same way, late output comes to its cell, displays are updated and Output widgets filled.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import FPSKernelsError, MalformedMessage
from ..execution.cell_execution import CellState, Execution
from ..execution.execution_request import ExecutionRequest
from ..execution.ordering import OrderLimits
from ..execution.output_widgets import COMM_TYPES
from ..execution.outputs import UNLIMITED
from ..execution.queue import ExecutionQueue, QueueLimits
from ..kernel_driver.message import Message
from ..kernel_driver.state import ExecutionState
from ..tasks import TaskSet, cancel_and_wait
from .file_notebook import FileNotebook, NoKeeper, is_skipped, tags_of
from .notebook_json import Cell
from .run_kernel import RunKernel
from .run_outcome import Outcome
from .run_stop import RunStop
from .run_view import RunView
from .terminal_input import ask, can_ask
from .widget_states import WidgetStates

INTERRUPT_GRACE_S = 5.0
"""Seconds that a cell has to end when it is interrupted, before its kernel is ended."""
LIMITS = QueueLimits(
    max_late=10_000,
    late_bytes=sys.maxsize,
    order=OrderLimits(settle_s=0.0),  # nobody else asks for cells
)
CLIENT = "fps-kernels run"


@dataclass(frozen=True, slots=True)
class RunBounds:
    """What a run allows its cells.

    timeout_s: seconds that each may take; None for any time.
    allow_errors: whether the next cells are run after one that failed.
    """

    timeout_s: float | None = None
    allow_errors: bool = False


class CellLoop:
    """Runs all code cells of a notebook.

    failed: the number of cells that failed, though they were allowed to.
    """

    def __init__(
        self, notebook: FileNotebook, kernel: RunKernel, bounds: RunBounds, view: RunView, stop: RunStop
    ) -> None:
        self.failed = 0
        self._notebook = notebook
        self._kernel = kernel
        self._bounds = bounds
        self._view = view
        self._stop = stop
        self._widgets = WidgetStates()
        self._widgets_changed = False
        self._asking = TaskSet()
        self._refused: str | None = None  # why a question of the running cell was not answered
        self._request_id = ""
        self._queue = ExecutionQueue(kernel.client, NoKeeper(), self._on_broadcast, LIMITS)
        kernel.observers.add(self._queue)
        kernel.client.add_listener(self._on_comm, [(one, "iopub") for one in COMM_TYPES])

    async def run(self) -> Outcome:
        """Run the cells until one fails, or until the end is asked for. The notebook has all that came of them."""
        cells = [(at, name, cell) for at, name, cell in self._notebook.code_cells if not is_skipped(cell)]
        self._view.begin(len(cells))
        try:
            for number, (at, name, cell) in enumerate(cells, 1):
                if self._stop.event.is_set():
                    return self._stop.outcome
                if self._kernel.client.execution_state is ExecutionState.DEAD:
                    self._view.note(self._death())
                    return Outcome.KERNEL_DIED
                outcome = await self._run_cell(number, at, name, cell)
                if outcome is not Outcome.OK:
                    return outcome
            return self._stop.outcome if self._stop.event.is_set() else Outcome.OK
        finally:
            self._view.end()
            await self._asking.close()
            await self._queue.close()
            self._save_widgets()

    async def _run_cell(self, number: int, at: int, name: str, cell: Cell) -> Outcome:
        notebook = self._notebook
        self._view.cell_begins(number, cell)
        code = cell["source"].replace("\r\n", "\n").replace("\r", "\n")
        execution = Execution(notebook, name, code, UNLIMITED)
        request = ExecutionRequest(uuid.uuid4().hex, notebook, [execution])
        self._request_id, self._refused = request.id, None
        if can_ask():
            self._queue.stdin_clients.register(CLIENT)
        notebook.finished.clear()
        self._queue.submit(request)
        outcome = await self._until_ended(name)
        await self._asking.close()
        self._save_widgets()
        if outcome is not Outcome.OK:
            self._view.cell_ends(number, "ended")
            self._view.failure(number, at + 1, cell, self._error(cell, execution))
            return outcome
        if execution.state in (CellState.OK, CellState.SKIPPED):
            self._view.cell_ends(number, "ok")
            return Outcome.OK
        died = self._kernel.client.execution_state is ExecutionState.DEAD
        if not died and "raises-exception" in tags_of(cell):
            self._view.cell_ends(number, "failed, as its tag says")
            return Outcome.OK
        self._view.cell_ends(number, "failed")
        self._view.failure(number, at + 1, cell, self._error(cell, execution))
        if died:
            return Outcome.KERNEL_DIED
        if self._bounds.allow_errors:
            self.failed += 1
            return Outcome.OK
        return Outcome.CELL_FAILED

    async def _until_ended(self, name: str) -> Outcome:
        """Wait for the end of the cell that runs, and bring it about when its time is over, or that of the run."""
        finished = asyncio.create_task(self._notebook.finished.wait(), name="cell")
        stopped = asyncio.create_task(self._stop.event.wait(), name="stop")
        try:
            await asyncio.wait([finished, stopped], timeout=self._bounds.timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if finished.done():
                return Outcome.OK
            if stopped.done():
                outcome, ename = self._stop.outcome, "KeyboardInterrupt"
                text = "Interrupted" if outcome is Outcome.INTERRUPTED else "The command was asked to end"
            else:
                outcome, ename = Outcome.TIMEOUT, "CellTimeoutError"
                text = f"The cell did not end within {self._bounds.timeout_s:g} s (--timeout)"
            await self._end_cell(finished)
            self._notebook.add_error(name, ename, text)
            return outcome
        finally:
            await cancel_and_wait(finished, stopped)

    async def _end_cell(self, finished: asyncio.Task[Any]) -> None:
        """Interrupt the cell; if that does not end it in time, end its kernel."""
        with contextlib.suppress(FPSKernelsError):  # it is dead, and the cell has ended, or will at once
            await self._kernel.interrupt()
        await asyncio.wait([finished], timeout=INTERRUPT_GRACE_S)
        if not finished.done():
            await self._kernel.kill()
            await asyncio.wait([finished], timeout=INTERRUPT_GRACE_S)

    def _error(self, cell: Cell, execution: Execution) -> dict[str, Any]:
        """The error to show of a cell: what came last, or why the kernel did not answer."""
        if self._refused is not None:
            return {"traceback": [self._refused]}
        errors = [one for one in cell["outputs"] if one.get("output_type") == "error"]
        return errors[-1] if errors else {"traceback": [execution.reason or "The kernel says that it failed"]}

    def _death(self) -> str:
        return f"The kernel is dead: {self._kernel.client.state.reason or 'unknown reason'}"

    def _save_widgets(self) -> None:
        if self._widgets_changed:
            self._widgets_changed = False
            if (states := self._widgets.metadata()) is not None:
                self._notebook.set_metadata("widgets", states)

    def _on_comm(self, channel: str, frames: Sequence[bytes]) -> None:
        with contextlib.suppress(MalformedMessage):  # the queue has logged it
            self._widgets.on_comm(Message(channel, list(frames)))
            self._widgets_changed = True

    def _on_broadcast(self, channel: str, frames: Sequence[bytes]) -> None:
        """What front ends would be told: what Output widgets show, and that a cell asks for input."""
        if channel == "stdin":
            self._asking.start(self._answer(Message(channel, list(frames))), name="question")
        else:
            self._on_comm(channel, frames)

    async def _answer(self, question: Message) -> None:
        content = question.content
        value = None
        if can_ask():
            with self._view.paused(), contextlib.suppress(OSError):
                value = await ask(str(content.get("prompt", "")), password=bool(content.get("password")))
        if value is None:
            self._refused = "The cell asks for input, which nobody gives it here: there is no terminal, or no answer"
            with contextlib.suppress(FPSKernelsError):
                await self._kernel.interrupt()
            return
        with contextlib.suppress(FPSKernelsError):  # the cell has ended meanwhile
            self._queue.answer(self._request_id, value)
