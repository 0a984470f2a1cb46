"""Server-side execution, as the routes ask for it: from a request's body to a kernel's queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import Counter
from typing import TYPE_CHECKING

from ..errors import ClientError, InvalidExecution, SourceChanged
from .cell_execution import CellState, Execution, QueueStatistics
from .execution_request import ExecutionRequest
from .hashing import murmur2
from .notebook import SharedNotebook
from .queue import ExecutionQueue
from .queue_record import found_requests
from .request_body import CellChoice, RequestBody, parse_body
from .shared_documents import SharedDocuments

if TYPE_CHECKING:
    from ..kernels.kernel import Kernel


logger = logging.getLogger(__name__)

REOPEN_TIMEOUT_S = 10.0
"""How long it may take to open the documents of a kernel, which is not connected to meanwhile."""


class ExecutionService:
    """Executes cells of the shared documents of one server, on any kernel.

    ended: how many cells have ended in each way.
    """

    def __init__(self, documents: SharedDocuments) -> None:
        self.ended: Counter[CellState] = Counter()
        self._documents = documents
        self._queues: dict[Kernel, ExecutionQueue] = {}

    def statistics(self) -> QueueStatistics:
        found = [queue.statistics() for queue in self._queues.values()]
        return QueueStatistics(*map(sum, zip(*found, strict=True))) if found else QueueStatistics(0, 0, 0)

    def queue(self, kernel: Kernel) -> ExecutionQueue:
        """The queue of a kernel; it ends with the kernel."""
        queue = self._queues.get(kernel)
        if queue is None:
            server = kernel.server
            queue = ExecutionQueue(
                kernel.client, self._documents, server.broadcast, notes=server.notes, ended=self.ended
            )
            self._queues[kernel] = queue
            kernel.observers.add(queue)
            kernel.on_stop(lambda: self._close_queue(kernel))
        return queue

    async def restore(self, kernel: Kernel) -> None:
        """Go on with the cells that a server before this one has had for a kernel, which is not connected to yet."""
        try:
            async with asyncio.timeout(REOPEN_TIMEOUT_S):
                for found in found_requests(kernel.server.notes.found):
                    async with self._documents.reopened(found.path) as notebook:
                        if notebook is not None:
                            self.queue(kernel).restore(found, notebook)
                        else:
                            logger.warning("%s cannot be opened: its cells are not executed", found.path)
        except Exception:  # the plugin's documents may raise anything; the kernel goes on all the same
            logger.exception("cells that waited for kernel %s are not executed", kernel.id)

    async def _close_queue(self, kernel: Kernel) -> None:
        await self._queues.pop(kernel).close()

    def execute(self, kernel: Kernel, body: RequestBody, path: str | None) -> str:
        """Queue all the cells that a request names, or none; returns the request's id.

        path: the path of the notebook that the kernel is for, if it is known.
        Raises InvalidExecution, DocumentNotFound, CellNotFound, NotACodeCell, SourceChanged, Conflict, QueueFull;
        Forbidden when clients may not execute code.
        An error that concerns a single known cell is also shown in that cell, because front ends do not show the
        response.
        """
        notebook = self._documents.find(body.document_id, body.cells[0].cell_id, path)
        try:
            kernel.client.admission.check_type("execute_request")
            request = ExecutionRequest(
                body.request_id or uuid.uuid4().hex,
                notebook,
                [_execution(notebook, choice) for choice in body.cells],
                single=not body.as_list,
                after=body.previous_request_id,
            )
            self.queue(kernel).submit(request)
        except ClientError as exc:
            if len(body.cells) == 1:
                _show(notebook, body.cells[0], exc, self._queues.get(kernel))
            raise
        return request.id

    def refuse(self, data: bytes, error: ClientError) -> None:
        """Show why there is no kernel for a request, in its cell, if the body names a single known one."""
        with contextlib.suppress(ClientError):
            body = parse_body(data)
            if len(body.cells) == 1:
                notebook = self._documents.find(body.document_id, body.cells[0].cell_id, None)
                _show(notebook, body.cells[0], error)

    async def close(self) -> None:
        """Save and release all documents. The queues of the kernels must have ended."""
        await self._documents.close()


def _execution(notebook: SharedNotebook, choice: CellChoice) -> Execution:
    """An execution of a cell. Raises InvalidExecution, CellNotFound, NotACodeCell, SourceChanged."""
    cell_id = notebook.cell_id_at(choice.number) if choice.number is not None else choice.cell_id
    if cell_id is None:
        raise InvalidExecution("Missing field in JSON data: cell_id")
    code = notebook.code(cell_id)
    if choice.source_hash is not None and int(choice.source_hash) != murmur2(code):
        raise SourceChanged(cell_id)
    return Execution(notebook, cell_id, code)


def _show(
    notebook: SharedNotebook, choice: CellChoice, error: ClientError, queue: ExecutionQueue | None = None
) -> None:
    """Show an error in a cell, unless the cell is in the queue: then it shows the outputs of its execution."""
    try:
        execution = _execution(notebook, CellChoice(choice.cell_id, choice.number))
    except ClientError:
        return
    if queue is not None and queue.has(execution):
        return
    notebook.begin([execution.cell_id])
    execution.fail(error)
