"""One execution of one cell: from the messages of the kernel to the outputs in the document."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from ..errors import FPSKernelsError
from ..kernel_driver.message import Message, utc_now
from .executed_notebook import ExecutedNotebook
from .output_messages import OUTPUT_TYPES, display_id, encodable, error_output, take_output
from .outputs import OutputLimits, Outputs

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 0.04
"""The shortest time between two changes of the document: each costs every front end a message and a rendering."""
FLUSH_CHARS = 32 * 1024
"""The amount of text that is written before that time is over."""


class CellState(StrEnum):
    """How far an execution is."""

    QUEUED = "queued"
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    ABORTED = "aborted"
    SKIPPED = "skipped"  # nothing to execute, or the cell is gone


ENDED = frozenset({CellState.OK, CellState.ERROR, CellState.ABORTED, CellState.SKIPPED})
"""The states of an execution that has ended."""


class QueueStatistics(NamedTuple):
    """A snapshot of queues: cells that wait, that run, and those of them that ask for input."""

    waiting: int
    running: int
    asking: int


class Execution:
    """An execution of a cell, which waits, runs or has ended.

    code: the source of the cell when the execution was requested.
    limits: the bounds of its outputs.
    retired: whether the cell is executed again, so that further outputs of this execution are dropped.
    """

    def __init__(self, notebook: ExecutedNotebook, cell_id: str, code: str, limits: OutputLimits | None = None) -> None:
        self.notebook = notebook
        self.cell_id = cell_id
        self.code = code
        self.state = CellState.QUEUED
        self.count: int | None = None
        self.reason: str | None = None
        self.retired = False
        self._resumed = False
        self.outputs = Outputs(limits)
        self._next_input: tuple[str, bool] | None = None  # a text for another cell, or for this one
        self._timing: dict[str, str] = {}
        self._flush_handle: asyncio.TimerHandle | None = None
        self._handlers: dict[str, Callable[[Message], None]] = {
            "execute_input": self._on_execute_input,
            "status": self._on_status,
            "execute_reply": self._on_reply,
        }

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def place(self) -> tuple[str, str]:
        """The document and the cell."""
        return self.notebook.name, self.cell_id

    def resume(self) -> None:
        """Go on with what a server before this one has sent. What the document has of it stays for now."""
        self.state = CellState.RUNNING
        self._resumed = True
        self.notebook.show_running([self.cell_id])

    def begin_again(self) -> None:
        """Begin as if nothing had been sent before."""
        self._resumed = False
        self.notebook.begin([self.cell_id])

    def on_message(self, message: Message) -> None:
        """Take a message of the kernel about this execution. Raises MalformedMessage."""
        if self._resumed and message.channel == "iopub":  # the reply may be told before all outputs
            self._resumed = False
            if message.msg_type in ("status", "execute_input"):  # all outputs come again; else some are lost elsewhere
                self.notebook.begin([self.cell_id])
        if message.msg_type in OUTPUT_TYPES:
            if self.retired:
                return
            take_output(self.outputs, message)
        elif message.msg_type in self._handlers:
            self._handlers[message.msg_type](message)
        if self.retired:
            return
        if self.outputs.pending_chars >= FLUSH_CHARS:
            self.flush()
        elif self.outputs.changed:
            self._flush_soon()

    def _on_execute_input(self, message: Message) -> None:
        self._note_time("iopub.execute_input", message)
        count = message.content.get("execution_count")
        if isinstance(count, int):
            self.count = encodable(count)

    def _on_status(self, message: Message) -> None:
        state = message.content.get("execution_state")
        if state in ("busy", "idle"):
            self._note_time(f"iopub.status.{state}", message)

    def _on_reply(self, message: Message) -> None:
        content = message.content
        self._note_time("shell.execute_reply", message)
        started = message.metadata.get("started")
        if isinstance(started, str):
            self._timing["shell.execute_reply.started"] = encodable(started)
        count = content.get("execution_count")
        if isinstance(count, int):
            self.count = encodable(count)
        for payload in content.get("payload") or ():
            if not isinstance(payload, dict):
                continue
            text = payload.get("text")
            if payload.get("source") == "page":  # the answer to `name?`
                output = {"output_type": "display_data", "data": payload.get("data") or {}, "metadata": {}}
                self.outputs.add(encodable(output), len(message.frames[3]))
            elif payload.get("source") == "set_next_input" and isinstance(text, str) and self._next_input is None:
                self._next_input = encodable(text), bool(payload.get("replace"))  # the first one counts

    def _note_time(self, name: str, message: Message) -> None:
        date = message.header.get("date")
        try:
            datetime.fromisoformat(str(date))
        except ValueError:  # front ends read it as a date: better ours than none, a number or garbage
            date = utc_now()
        self._timing[name] = str(date)

    def update_display(self, message: Message) -> None:
        """Update what this execution has displayed, if it is meant; any cell may send the update."""
        content = message.content
        name = display_id(content)
        if name is None or self.retired:
            return
        data, metadata = content.get("data") or {}, content.get("metadata") or {}
        if self.outputs.update_display(name, encodable(data), encodable(metadata), len(message.frames[3])):
            self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_later(FLUSH_INTERVAL_S, self.flush)

    def flush(self) -> None:
        """Write the pending outputs. A failure of one document does not affect others."""
        self._cancel_flush()
        if self.retired:
            return
        try:
            self.notebook.write(self.cell_id, self.outputs, None if self.ended else self._timing)
        except Exception:  # the plugin's document and pycrdt may raise anything
            logger.exception("writing outputs of cell %s failed", self.cell_id)

    def flush_late(self) -> None:
        """Write what has come since the end of the execution, as nothing more will."""
        if self._flush_handle is not None:
            self.flush()

    def _cancel_flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None

    def fail(self, error: FPSKernelsError, state: CellState = CellState.ERROR) -> None:
        """End the execution because the kernel will not answer. The cell shows the error, unless it was aborted."""
        self.reason = error.message
        self.count = None  # as in the reply that a front end would get
        if state is CellState.ERROR:
            self.outputs.add(error_output(error.ename, error.message, [f"{error.ename}: {error.message}"]))
        self.end(state)

    def end(self, state: CellState) -> None:
        """End the execution and free its cell. Only the first call counts."""
        if self.ended:
            return
        self.state = state
        self._cancel_flush()
        if self.retired:
            return
        try:
            self.notebook.finish(self.cell_id, self.outputs, self.count, self._timing)
            self.outputs.drop_settled()
            if self._next_input is not None:
                text, replace = self._next_input
                self.notebook.set_next_input(self.cell_id, text, instead_of=self.code if replace else None)
        except Exception:  # as above
            logger.exception("finishing cell %s failed", self.cell_id)

    def retire(self) -> None:
        """Drop further outputs: the cell is executed again."""
        self.retired = True
        self.outputs = Outputs()
        self._cancel_flush()
