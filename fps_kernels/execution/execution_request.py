"""A request to execute cells of one document, and how far its cells are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from .cell_execution import Execution
from .executed_notebook import ExecutedNotebook
from .stdin_clients import PendingModel


class CellModel(TypedDict):
    """A cell of a request, as the REST API shows it. reason: why it was not executed, or failed."""

    cell_id: str
    state: str
    execution_count: int | None
    reason: NotRequired[str]


class ExecutionRequestModel(TypedDict):
    """A request, as the REST API shows it. state: "queued", "running" or "done"."""

    request_id: str
    document_id: str
    state: str
    cells: list[CellModel]
    input: PendingModel | None


class ExecutionRequest:
    """The executions of one request, in order.

    single: whether it has one cell that was not sent as a list; such requests are ordered by the cells' positions.
    after: the id of the request before it, if the client named one.
    """

    def __init__(
        self,
        request_id: str,
        notebook: ExecutedNotebook,
        executions: Sequence[Execution],
        *,
        single: bool = False,
        after: str | None = None,
    ) -> None:
        self.id = request_id
        self.notebook = notebook
        self.executions = executions
        self.single = single
        self.after = after

    @property
    def ended(self) -> bool:
        return all(execution.ended for execution in self.executions)

    def model(self, pending: PendingModel | None) -> ExecutionRequestModel:
        cells: list[CellModel] = []
        for execution in self.executions:
            cell: CellModel = {
                "cell_id": execution.cell_id,
                "state": execution.state.value,
                "execution_count": execution.count,
            }
            if execution.reason is not None:
                cell["reason"] = execution.reason
            cells.append(cell)
        started = any(execution.state != "queued" for execution in self.executions)
        state = "done" if self.ended else "running" if started else "queued"
        return {
            "request_id": self.id,
            "document_id": self.notebook.name,
            "state": state,
            "cells": cells,
            "input": pending,
        }
