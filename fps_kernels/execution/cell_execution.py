"""One execution of one cell: from the messages of the kernel to the outputs in the document."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..errors import FPSKernelsError
from ..kernel_driver.message import Message, utc_now
from .notebook import SharedNotebook
from .outputs import Output, Outputs

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 0.04
"""The shortest time between two changes of the document: each costs every front end a message and a rendering."""
FLUSH_CHARS = 32 * 1024
"""The amount of text that is written before that time is over."""

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer up to which all of JavaScript's numbers are exact."""


class CellState(StrEnum):
    """How far an execution is."""

    QUEUED = "queued"
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    ABORTED = "aborted"
    SKIPPED = "skipped"  # nothing to execute, or the cell is gone


PROGRESS = frozenset({"status", "execute_input", "execute_reply"})
"""Messages about the progress of an execution, which is told even after it was retired."""

ENDED = frozenset({CellState.OK, CellState.ERROR, CellState.ABORTED, CellState.SKIPPED})
"""The states of an execution that has ended."""


class Execution:
    """An execution of a cell, which waits, runs or has ended.

    code: the source of the cell when the execution was requested.
    retired: whether the cell is executed again, so that further outputs of this execution are dropped.
    """

    def __init__(self, notebook: SharedNotebook, cell_id: str, code: str) -> None:
        self.notebook = notebook
        self.cell_id = cell_id
        self.code = code
        self.state = CellState.QUEUED
        self.count: int | None = None
        self.reason: str | None = None
        self.retired = False
        self.outputs = Outputs()
        self._timing: dict[str, str] = {}
        self._flush_handle: asyncio.TimerHandle | None = None
        self._handlers: dict[str, Callable[[Message], None]] = {
            "stream": self._on_stream,
            "display_data": self._on_display_data,
            "execute_result": self._on_execute_result,
            "error": self._on_error,
            "clear_output": self._on_clear_output,
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

    def on_message(self, message: Message) -> None:
        """Take a message of the kernel about this execution. Raises MalformedMessage."""
        handler = self._handlers.get(message.msg_type)
        if handler is None or (self.retired and message.msg_type not in PROGRESS):
            return
        handler(message)
        if self.retired:
            return
        if self.outputs.pending_chars >= FLUSH_CHARS:
            self.flush()
        elif self.outputs.changed:
            self._flush_soon()

    def _on_stream(self, message: Message) -> None:
        content = message.content
        name, text = content.get("name"), content.get("text")
        if isinstance(name, str) and isinstance(text, str):
            self.outputs.stream(encodable(name), encodable(text))

    def _on_display_data(self, message: Message) -> None:
        content = message.content
        output = {
            "output_type": "display_data",
            "data": content.get("data") or {},
            "metadata": content.get("metadata") or {},
        }
        self.outputs.add(encodable(output), len(message.frames[3]), display_id(content))

    def _on_execute_result(self, message: Message) -> None:
        content = message.content
        output = {
            "output_type": "execute_result",
            "execution_count": content.get("execution_count"),
            "data": content.get("data") or {},
            "metadata": content.get("metadata") or {},
        }
        self.outputs.add(encodable(output), len(message.frames[3]), display_id(content))

    def _on_error(self, message: Message) -> None:
        content = message.content
        self.outputs.add(
            encodable(error_output(content.get("ename"), content.get("evalue"), content.get("traceback"))),
            len(message.frames[3]),
        )

    def _on_clear_output(self, message: Message) -> None:
        self.outputs.clear(wait=bool(message.content.get("wait")))

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
            if isinstance(payload, dict) and payload.get("source") == "page":  # the answer to `name?`
                output = {"output_type": "display_data", "data": payload.get("data") or {}, "metadata": {}}
                self.outputs.add(encodable(output), len(message.frames[3]))

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
        except Exception:  # as above
            logger.exception("finishing cell %s failed", self.cell_id)

    def retire(self) -> None:
        """Drop further outputs: the cell is executed again."""
        self.retired = True
        self.outputs = Outputs()
        self._cancel_flush()


def error_output(ename: Any, evalue: Any, traceback: Any) -> Output:
    """An error as an output of the notebook format."""
    lines = [str(line) for line in traceback] if isinstance(traceback, list) else []
    return {"output_type": "error", "ename": str(ename), "evalue": str(evalue), "traceback": lines}


def display_id(content: dict[str, Any]) -> str | None:
    """The display_id that a message has, if any."""
    transient = content.get("transient")
    name = transient.get("display_id") if isinstance(transient, dict) else None
    return name if isinstance(name, str) and name else None


def encodable(value: Any) -> Any:
    """The value without what JSON can hold but a shared document cannot: pycrdt panics, and is unusable after that.

    Lone surrogates are replaced. Integers are only as exact as in JavaScript: pycrdt has none beyond 64 bits, and front
    ends cannot write those beyond 53 bits to a file.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "replace").decode()
        return value
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        try:
            return float(value)
        except OverflowError:
            return None  # infinity in JavaScript, which is null in a file
    if isinstance(value, dict):
        return {encodable(key): encodable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [encodable(one) for one in value]
    return value
