"""From an HTTP request to a cell of the notebook, and from what that puts out to the response."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import unquote

from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from ..api.responses import error_response, read_body
from ..errors import FPSKernelsError, KernelDied, KernelNotConnected, KernelRestarted, QueueFull, ServerStopping
from .deadline import ClientDisconnected, RequestDeadline
from .parsing.endpoints import Endpoint, EndpointTable
from .pool import KernelPool
from .request.literals import assignment, declaration
from .request.request_variable import request_json
from .response.cell_outputs import CellOutputs
from .response.reply import Reply, head_reply, respond
from .response.stream_formats import stream_for
from .response.streamed import StreamedCell
from .worker import Assignment, Worker, run_cell

logger = logging.getLogger(__name__)

NAME = "REQUEST"
"""Of the variable."""
RETRY_AFTER_S = 1
MAX_BODY_BYTES = 100 * 1024 * 1024
"""As much as the original takes: Tornado's bound."""
MAX_BODIES_BYTES = 512 * 1024 * 1024
"""Of all requests under way: so many may wait that their bodies could be more than the machine has."""
INLINE_BYTES = 64 * 1024
"""Larger bodies are made REQUEST in a thread: JSON takes 50 ms for each MiB."""
CLIENT_CLOSED_REQUEST = 499
"""What nginx calls it; nobody reads it."""


class NotebookHandler:
    """Answers the requests for the endpoints of a notebook.

    language: of the kernels. timeout_s: for a request, with its wait for a kernel; 0: none.
    """

    def __init__(self, table: EndpointTable, pool: KernelPool, language: str, timeout_s: float) -> None:
        self.table = table
        self._pool = pool
        self._language = language
        self._timeout_s = timeout_s
        self._draining = False
        self._under_way = self._bodies_bytes = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def answer(self, request: Request) -> Response:
        """A response for every request."""
        match = self.table.find(raw_path(request.scope))
        endpoint = None if match is None else self.table.endpoint(match, request.method)
        if match is None or endpoint is None:
            return self.answer_unknown(request.scope)
        if self._draining:
            return _failure(ServerStopping())
        self._begin()
        size = 0
        try:
            scope = request.scope
            deadline = RequestDeadline(request, self._timeout_s)
            async with asyncio.timeout_at(deadline.at):
                body = await read_body(request, MAX_BODY_BYTES)
            if self._bodies_bytes + len(body) > MAX_BODIES_BYTES:
                raise QueueFull("Too much waits for a kernel")
            size = len(body)
            self._bodies_bytes += size
            if len(body) > INLINE_BYTES:
                code = await asyncio.to_thread(self._assignment, scope, match.parameters, body)
            else:
                code = self._assignment(scope, match.parameters, body)
            response = await self._execute(request, deadline, endpoint, code)
        except (ClientDisconnected, ClientDisconnect):
            logger.info("%s %s: the client has gone", request.method, request.url.path)
            response = Response(status_code=CLIENT_CLOSED_REQUEST)
        except TimeoutError:
            response = error_response(504, f"No answer within {self._timeout_s:g} s")
        except FPSKernelsError as exc:
            response = _failure(exc)
        finally:
            self._bodies_bytes -= size
            self._end()
        return response

    def answer_unknown(self, scope: Scope) -> Response:
        """404, or 405 when the path answers other verbs."""
        match = self.table.find(raw_path(scope))
        if match is None:
            return error_response(404, f"Not found: {scope['path']}")
        allowed = ", ".join(self.table.allowed(match.path))
        return error_response(405, f"{scope['method']} is not allowed here", {"Allow": allowed})

    def _assignment(self, scope: Scope, parameters: dict[str, str], body: bytes) -> Assignment:
        """Raises MalformedMultipart."""
        text = request_json(scope["headers"], scope["query_string"], parameters, body)
        return Assignment(assignment(self._language, NAME, text), declaration(self._language, NAME))

    async def _execute(
        self, request: Request, deadline: RequestDeadline, endpoint: Endpoint, assignment: Assignment
    ) -> Response:
        """Raises ClientDisconnected, TimeoutError, FPSKernelsError."""
        worker = await deadline.wait_for(self._pool.acquire())
        accept = ", ".join(request.headers.getlist("accept")) or None
        stream = stream_for(accept, declared=endpoint.stream)
        if stream is not None and request.method != "HEAD":
            self._begin()
            cell = StreamedCell(worker, self._pool, assignment, endpoint.source, stream, deadline)
            return cell.response(on_end=self._end)
        with self._pool.releasing(worker):
            reply = await deadline.wait_for(_reply(worker, endpoint, assignment, accept))
        if request.method == "HEAD":
            reply = head_reply(reply, of_get=endpoint.verb == "GET")
        response = Response(reply.body, reply.status)
        response.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers
        ]
        return response

    # --- the end ---------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._under_way += 1
        self._idle.clear()

    def _end(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    async def drain(self) -> None:
        """Take no new requests; returns when those under way are answered."""
        self._draining = True
        await self._idle.wait()


def raw_path(scope: Scope) -> str:
    """Below the base URL, escaped as it came: an escaped slash is none."""
    path: str = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
    root: str = scope.get("root_path", "")  # not escaped
    segments = path.split("/")
    depth = root.count("/") + 1
    if unquote("/".join(segments[:depth])) != root:
        return ""  # it has an escaped slash in the base URL
    return "".join(f"/{segment}" for segment in segments[depth:])


async def _reply(worker: Worker, endpoint: Endpoint, assignment: Assignment, accept: str | None) -> Reply:
    outputs = CellOutputs()
    outputs.reply(await run_cell(worker, assignment, endpoint.source, outputs.add))
    info = None
    if endpoint.response_info is not None and outputs.failure is None:
        info = CellOutputs()
        info.reply(await worker.run(endpoint.response_info, info.add))
    return respond(outputs, info, accept)


def _failure(exc: FPSKernelsError) -> Response:
    if isinstance(exc, (KernelDied, KernelRestarted, KernelNotConnected)):
        return error_response(502, f"The kernel is gone: {exc.message}")
    if isinstance(exc, (QueueFull, ServerStopping)):
        return error_response(503, exc.message, {"Retry-After": str(RETRY_AFTER_S)})
    return error_response(exc.status, exc.message)
