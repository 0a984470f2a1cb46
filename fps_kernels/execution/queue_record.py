"""What is noted about a queue of cells, so that the next server goes on with it.

A request is noted when it comes, its place among others when that is decided, and each of its cells when it is sent to
the kernel, when it has ended, and when its document was saved after that. Until then its outputs can be made again,
from what the kernel has said since the cell was sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..kernel_server.kernel_notes import KernelNotes
from .cell_execution import CellState, Execution
from .execution_request import ExecutionRequest

logger = logging.getLogger(__name__)

REQUEST, PLACE, CELL = "request:", "place:", "cell:"
"""How the names of notes begin. The id of a request follows, and for a cell its number in the request."""


@dataclass(frozen=True, slots=True)
class FoundCell:
    """A cell of a request that a server before this one had.

    position: where it was in the document: cells of old notebooks have another id each time they are read.
    msg_id: that of its execute_request; "" if there was none.
    begin: the number in the kernel's record where the answers begin.
    state: how it has ended; None if it has not.
    settled: whether the document was saved with all of that.
    """

    cell_id: str
    position: int | None
    code: str
    msg_id: str = ""
    begin: int = 0
    state: CellState | None = None
    count: int | None = None
    reason: str | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class FoundRequest:
    """A request that a server before this one had.

    path: the file of the document.
    place: its place among those whose place was decided; None if it has none yet.
    """

    id: str
    path: str
    single: bool
    after: str | None
    place: int | None
    cells: Sequence[FoundCell]


def found_requests(notes: Mapping[str, Any]) -> list[FoundRequest]:
    """The requests that a server before this one has noted, in their order; those without a place come last."""
    found = []
    for name, value in notes.items():
        if name.startswith(REQUEST):
            try:
                found.append(_found_request(name.removeprefix(REQUEST), value, notes))
            except (ValueError, LookupError, TypeError, AttributeError) as exc:
                logger.warning("a request to execute cells is noted in a way that is not known: %r", exc)
    return sorted(found, key=lambda one: (one.place is None, one.place or 0))


def _found_request(request_id: str, value: Mapping[str, Any], notes: Mapping[str, Any]) -> FoundRequest:
    cells = []
    for number, (cell_id, position, code) in enumerate(value["cells"]):
        noted = dict(notes.get(f"{CELL}{request_id}:{number}", {}))
        if (state := noted.pop("state", None)) is not None:
            noted["state"] = CellState(state)
        cells.append(FoundCell(str(cell_id), position, str(code), **noted))
    place = notes.get(PLACE + request_id)
    return FoundRequest(request_id, str(value["path"]), bool(value["single"]), value["after"], place, cells)


@dataclass(slots=True)
class _Noted:
    """What is noted of an execution: the name of the note, its request, and what it says."""

    name: str
    request_id: str
    values: dict[str, Any] = field(default_factory=dict)


class QueueRecord:
    """The notes about the queue of one kernel.

    notes: those of the kernel.
    told_of_saves: whether `saving` is called when a document is saved.
    """

    def __init__(self, notes: KernelNotes, *, told_of_saves: bool) -> None:
        self.notes = notes
        self._told_of_saves = told_of_saves
        self._noted: dict[Execution, _Noted] = {}  # those that are not settled
        self._cells: dict[str, list[str]] = {}  # the notes of each request's cells
        self._left: dict[str, int] = {}  # how many of them are not settled
        self._begins: dict[Execution, int] = {}  # of those that were sent
        self._next_place = 0

    def add(self, request: ExecutionRequest, path: str | None = None) -> None:
        """A request has come, or was found.

        path: that of the document, where it does not know that yet.
        """
        if not self.notes.kept:
            return
        names = [f"{CELL}{request.id}:{number}" for number in range(len(request.executions))]
        self._cells[request.id], self._left[request.id] = names, len(names)
        for name, execution in zip(names, request.executions, strict=True):
            self._noted[execution] = _Noted(name, request.id)
        cells = [[one.cell_id, one.notebook.position(one.cell_id), one.code] for one in request.executions]
        value = {
            "path": path or request.notebook.document.path,
            "single": request.single,
            "after": request.after,
            "cells": cells,
        }
        self.notes.note(REQUEST + request.id, value)

    def place(self, request: ExecutionRequest) -> None:
        """The place of a request is decided: it is the last one."""
        if request.id in self._left:
            self.notes.note(PLACE + request.id, self._next_place)
            self._next_place += 1

    def sent(self, execution: Execution, msg_id: str, begin: int | None = None) -> None:
        """The execute_request of a cell is about to be sent.

        begin: where in the record its answers begin, if a server before this one has sent it.
        """
        if execution in self._noted:
            begin = self._begins[execution] = self.notes.position if begin is None else begin
            self._note(execution, msg_id=msg_id, begin=begin)
            self._need()

    def ended(self, execution: Execution) -> None:
        """An execution has ended."""
        state, count, reason = execution.state.value, execution.count, execution.reason
        self._note(execution, state=state, count=count, reason=reason)
        if execution.retired or not self._told_of_saves:
            self.settle([execution])

    def saving(self, name: str) -> Callable[[], None]:
        """A document is about to be saved as it is now. What this returns is to be called when it was."""
        ended = [one for one, noted in self._noted.items() if "state" in noted.values and one.notebook.name == name]
        return lambda: self.settle(ended)

    def settle(self, executions: Iterable[Execution]) -> None:
        """The outputs of these need not be made again."""
        for execution in executions:
            noted = self._noted.get(execution)
            if noted is None:
                continue
            self._note(execution, settled=True)
            del self._noted[execution]
            self._begins.pop(execution, None)
            self._left[noted.request_id] -= 1
            if not self._left[noted.request_id]:
                self._forget(noted.request_id)
        self._need()

    def _forget(self, request_id: str) -> None:
        del self._left[request_id]
        for name in (*self._cells.pop(request_id), PLACE + request_id, REQUEST + request_id):
            self.notes.note(name, None)

    def _note(self, execution: Execution, **values: Any) -> None:
        if (noted := self._noted.get(execution)) is not None:
            noted.values |= values
            self.notes.note(noted.name, noted.values)

    def _need(self) -> None:
        self.notes.need(min(self._begins.values(), default=None))
