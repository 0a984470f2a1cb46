"""Server-side execution, as the routes ask for it: from a request's body to a kernel's queue."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any

from ..errors import ClientError, InvalidExecution, SourceChanged
from .cell_execution import Execution
from .execution_request import ExecutionRequest
from .fps_yjs.documents import Documents
from .hashing import murmur2
from .notebook import SharedNotebook
from .queue import ExecutionQueue
from .request_body import CellChoice, ExecuteBody, parse_body

if TYPE_CHECKING:
    from ..kernels.registry import Kernel


class ExecutionService:
    """Executes cells of the shared documents of one Yjs plugin on any kernel.

    yjs: the `jupyverse_api.yjs.Yjs` resource.
    """

    def __init__(self, yjs: Any) -> None:
        self._documents = Documents(yjs)
        self._queues: dict[Kernel, ExecutionQueue] = {}

    def queue(self, kernel: Kernel) -> ExecutionQueue:
        """The kernel's queue, which ends with it."""
        queue = self._queues.get(kernel)
        if queue is None:
            queue = self._queues[kernel] = ExecutionQueue(
                kernel.driver.client, self._documents, kernel.server.broadcast
            )
            kernel.observers.add(queue)
            kernel.on_stop(lambda: self._close_queue(kernel))
        return queue

    async def _close_queue(self, kernel: Kernel) -> None:
        await self._queues.pop(kernel).close()

    def execute(self, kernel: Kernel, data: bytes, path: str | None) -> str:
        """Queue what a request's body asks for, all of it or nothing; returns the request's id.

        path: of the notebook that the kernel is for, if it is known.
        Raises InvalidExecution, DocumentNotFound, CellNotFound, NotACodeCell, SourceChanged, Conflict,
        QueueFull. What concerns one cell that is known is said in that cell, too: front ends do not
        show the status.
        """
        body = parse_body(data)
        notebook = self._documents.find(body.document_id, body.cells[0].cell_id, path)
        try:
            executions = [_execution(notebook, choice) for choice in body.cells]
            request = _request(body, notebook, executions)
            self.queue(kernel).submit(request)
        except ClientError as exc:
            if len(body.cells) == 1:
                _tell(notebook, body.cells[0], exc, self._queues.get(kernel))
            raise
        return request.id

    def refuse(self, data: bytes, error: ClientError) -> None:
        """There is no kernel for what a request's body asks for: say why in the cell, if it names one that is known."""
        with contextlib.suppress(ClientError):
            body = parse_body(data)
            if len(body.cells) == 1:
                notebook = self._documents.find(body.document_id, body.cells[0].cell_id, None)
                _tell(notebook, body.cells[0], error)

    async def close(self) -> None:
        """Save and let go of all documents; the kernels' queues have ended."""
        await self._documents.close()


def _execution(notebook: SharedNotebook, choice: CellChoice) -> Execution:
    cell_id = notebook.cell_id_at(choice.number) if choice.number is not None else choice.cell_id
    if cell_id is None:
        raise InvalidExecution("Missing field in JSON data: cell_id")
    code = notebook.code(cell_id)
    if choice.source_hash is not None and int(choice.source_hash) != murmur2(code):
        raise SourceChanged(cell_id)
    return Execution(notebook, cell_id, code)


def _request(body: ExecuteBody, notebook: SharedNotebook, executions: list[Execution]) -> ExecutionRequest:
    return ExecutionRequest(
        body.request_id or uuid.uuid4().hex,
        notebook,
        executions,
        single=not body.batch,
        after=body.previous_request_id,
    )


def _tell(
    notebook: SharedNotebook, choice: CellChoice, error: ClientError, queue: ExecutionQueue | None = None
) -> None:
    """In the cell, if it is one that can show it: not one that is in the queue, which shows its own outputs."""
    try:
        execution = _execution(notebook, CellChoice(choice.cell_id, choice.number))
    except ClientError:
        return
    if queue is not None and queue.has(execution):
        return
    notebook.begin([execution.cell_id])
    execution.fail(error)
