"""The endpoints about cells that the server runs, and the input that they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from ..errors import KernelNotFound, NotAvailable
from ..execution.request_body import parse_body, parse_input
from ..execution.stdin_clients import EXPIRY_S
from ..kernels.registry import KernelRegistry
from ..kernels.sessions import SessionStore
from .host import Host
from .json_body import read_body
from .responses import json_response

if TYPE_CHECKING:
    from ..execution.queue import ExecutionQueue
    from ..execution.service import ExecutionService


class ExecutionEndpoints:
    """`/api/kernels/ID/execute`, `/requests` and `/stdin`.

    service: None where there are no shared documents; all requests are answered 501 then.

    unavailable: why there is no service, for whoever asks for it.
    """

    def __init__(
        self, registry: KernelRegistry, sessions: SessionStore, host: Host, service: ExecutionService | None
    ) -> None:
        self._registry = registry
        self._host = host
        self._sessions = sessions
        self._executions = service
        self.unavailable = "this server has no shared documents"

    async def execute(self, request: Request, kernel_id: str) -> Response:
        return json_response(await self.execute_model(request, kernel_id))

    async def execute_model(self, request: Request, kernel_id: str) -> dict[str, Any]:
        """Queue the cells that a request asks for."""
        try:
            kernel = self._registry.get(kernel_id)
        except KernelNotFound as exc:
            if self._executions is not None:
                self._executions.refuse(await read_body(request), exc)
            raise
        service = self._service()
        body = parse_body(await read_body(request))
        return {"request_id": service.execute(kernel, body, self._sessions.path_of(kernel_id))}

    async def one(self, kernel_id: str, request_id: str) -> Response:
        return json_response(self._queue(kernel_id).request_model(request_id))

    async def answer_input(self, request: Request, kernel_id: str, request_id: str) -> Response:
        queue = self._queue(kernel_id)
        queue.answer(request_id, parse_input(await read_body(request)))
        return Response(status_code=204)

    async def add_stdin_client(self, request: Request, kernel_id: str, client_id: str) -> Response:
        queue = self._queue(kernel_id)
        queue.register_client(client_id, await self._host.user(request))
        return json_response({"expires_in_s": EXPIRY_S, "pending": queue.pending()})

    async def remove_stdin_client(self, request: Request, kernel_id: str, client_id: str) -> Response:
        queue = self._queue(kernel_id)
        queue.stdin_clients.remove(client_id, await self._host.user(request))
        return Response(status_code=204)

    def _service(self) -> ExecutionService:
        if self._executions is None:
            raise NotAvailable(f"Server-side execution is not available: {self.unavailable}")
        return self._executions

    def _queue(self, kernel_id: str) -> ExecutionQueue:
        kernel = self._registry.get(kernel_id)
        return self._service().queue(kernel)
