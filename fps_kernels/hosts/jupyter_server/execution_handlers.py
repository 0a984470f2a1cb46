"""The handlers about cells that the server runs: `/api/kernels/ID/execute`, `/requests` and `/stdin`.

They answer as the endpoints of our own server do.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async, url_path_join
from tornado import web

from ...errors import FPSKernelsError, KernelNotFound, NotAvailable
from ...execution.queue import ExecutionQueue
from ...execution.request_body import parse_body, parse_input
from ...execution.service import ExecutionService
from ...execution.stdin_clients import EXPIRY_S
from ...json_model import check_codings, check_size
from ...kernels.kernel import Kernel
from ...metrics.execution_metrics import ExecutionMetrics
from .collaboration_documents import CollaborationDocuments
from .handler_user import user_of
from .mapping_manager import FpsMappingKernelManager
from .prometheus import register

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

Endpoint = Callable[..., Any]
"""A coroutine method of a handler, which returns what is to be answered in JSON, or None."""


def endpoint(action: str) -> Callable[[Endpoint], Endpoint]:
    """Answer users who may do this to kernels with what the method returns, or with the error that it raises.

    action: "read" or "execute", as jupyter_server calls it where a WebSocket to a kernel is opened.
    """

    def decorate(method: Endpoint) -> Endpoint:
        @wraps(method)
        async def answer(handler: ExecutionHandler, *ids: str) -> None:
            try:
                model = await method(handler, *ids)
            except FPSKernelsError as exc:
                handler.set_status(exc.status)
                model = {"message": exc.message, "reason": HTTPStatus(exc.status).phrase}
            if model is None:
                handler.set_status(204)
                handler.finish()
            else:
                handler.finish(json.dumps(model))

        guarded: Endpoint = web.authenticated(authorized(action)(answer))
        return guarded

    return decorate


class ExecutionHandler(APIHandler):
    """What the handlers have in common."""

    auth_resource = "kernels"

    def initialize(self, documents: CollaborationDocuments, executions: ExecutionService) -> None:
        self.documents = documents
        self.executions = executions

    @property
    def body(self) -> bytes:
        """Raises BodyTooLarge, CompressedBody."""
        check_codings(",".join(self.request.headers.get_list("Content-Encoding")))
        check_size(self.request.body)
        return self.request.body

    def kernel(self, kernel_id: str) -> Kernel:
        """Raises KernelNotFound; NotAvailable for a kernel that is not run by us, or where there are no documents."""
        manager = self.kernel_manager
        if kernel_id not in manager:
            raise KernelNotFound(kernel_id)
        if self.documents.extension is None:
            raise NotAvailable("Server-side execution is not available: this server has no shared documents")
        kernel: Kernel | None = getattr(manager.get_kernel(kernel_id), "kernel", None)
        if kernel is None:
            raise NotAvailable("Server-side execution is not available: the kernel was started elsewhere")
        return kernel

    def queue(self, kernel_id: str) -> ExecutionQueue:
        """Raises KernelNotFound, NotAvailable."""
        return self.executions.queue(self.kernel(kernel_id))


class ExecuteHandler(ExecutionHandler):
    """Cells that are to be executed."""

    @endpoint("execute")
    async def post(self, kernel_id: str) -> dict[str, str]:
        data = self.body
        try:
            self.kernel(kernel_id)
        except KernelNotFound as exc:
            self.executions.refuse(data, exc)
            raise
        body = parse_body(data)
        await self.documents.until_read(body.document_id)
        path = await self._path_of(kernel_id)
        kernel = self.kernel(kernel_id)  # it may have ended meanwhile
        return {"request_id": self.executions.execute(kernel, body, path)}

    async def _path_of(self, kernel_id: str) -> str | None:
        """The path of the notebook that a kernel is for."""
        try:
            found = self.session_manager.get_session(kernel_id=kernel_id)  # type: ignore[no-untyped-call]
            session: Any = await ensure_async(found)
        except web.HTTPError:  # it has no session
            return None
        return str(session["path"])


class RequestHandler(ExecutionHandler):
    """How far the cells of a request are."""

    @endpoint("read")
    async def get(self, kernel_id: str, request_id: str) -> Any:
        return self.queue(kernel_id).request_model(request_id)


class InputHandler(ExecutionHandler):
    """The answer to an input()."""

    @endpoint("execute")
    async def post(self, kernel_id: str, request_id: str) -> None:
        queue = self.queue(kernel_id)
        queue.answer(request_id, parse_input(self.body))


class StdinHandler(ExecutionHandler):
    """Clients that can answer an input()."""

    @endpoint("execute")
    async def put(self, kernel_id: str, client_id: str) -> Any:
        queue = self.queue(kernel_id)
        queue.register_client(client_id, user_of(self))
        return {"expires_in_s": EXPIRY_S, "pending": queue.pending()}

    @endpoint("execute")
    async def delete(self, kernel_id: str, client_id: str) -> None:
        self.queue(kernel_id).stdin_clients.remove(client_id, user_of(self))


def add_execution_handlers(serverapp: ServerApp, manager: FpsMappingKernelManager) -> ExecutionService:
    """Execute cells of the server's shared documents, from now on until its kernels end; returns what does it."""
    documents = CollaborationDocuments(serverapp.web_app.settings)
    executions = ExecutionService(documents)
    manager.on_shutdown(executions.close)
    register(manager, ExecutionMetrics(executions))
    base = url_path_join(serverapp.base_url, "api/kernels/([^/]+)")
    made = {"documents": documents, "executions": executions}
    serverapp.web_app.add_handlers(  # type: ignore[no-untyped-call]
        ".*$",
        [
            (f"{base}/execute", ExecuteHandler, made),
            (f"{base}/requests/([^/]+)", RequestHandler, made),
            (f"{base}/requests/([^/]+)/input", InputHandler, made),
            (f"{base}/stdin/([^/]+)", StdinHandler, made),
        ],
    )
    return executions
