"""The route table: parse, call, respond.

It knows Starlette and no host: plugin.py serves it under Jupyverse, which takes FastAPI; the headless gateway
by itself, as FastAPI takes longer to import than all else that it needs.
"""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match, WebSocketRoute
from starlette.websockets import WebSocket

from .. import __version__
from ..errors import (
    Forbidden,
    FPSKernelsError,
    InvalidBody,
    InvalidKernelId,
    KernelNotFound,
    MissingField,
    NotAvailable,
    ServerStopping,
)
from ..execution.stdin_clients import EXPIRY_S
from ..kernel_driver.client import KernelClient
from ..kernel_server.wire import V1_PROTOCOL
from ..kernels.registry import KernelRegistry
from ..kernels.sessions import KernelChoice, SessionModel, SessionStore
from ..serving.origin import origin_allowed
from ..websocket.asgi import StarletteSocket
from .responses import (
    ExactRoute,
    JSONBody,
    deny,
    error_response,
    json_response,
    read_body,
    read_json,
    respond,
    security_headers,
)

if TYPE_CHECKING:
    from ..execution.queue import ExecutionQueue
    from ..execution.service import ExecutionService

Permissions = dict[str, list[str]]
Answer = Callable[..., Awaitable[Response]]

ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
PREFIXES = (
    "/api",
    "/api/status",
    "/api/security/csp-report",
    "/api/kernels",
    "/api/kernelspecs",
    "/api/sessions",
    "/api/resolvePath",
    "/kernelspecs",
)
FALLBACK = "no such route"
"""The name of the routes that answer for those that are not there; no function can have it."""
TREES = ("/api/kernels", "/api/kernelspecs", "/api/sessions", "/kernelspecs")

CHANNELS_PATH = "/api/kernels/{kernel_id}/channels"

MAX_SESSION_ID_CHARS = 256
_SESSION_KERNEL_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route. answer: its arguments are `request` and what is in braces in `path`, as far as it has them.

    permissions: None: no authentication needed; {}: any user.
    """

    methods: tuple[str, ...]
    path: str
    answer: Answer
    permissions: Permissions | None
    name: str
    in_schema: bool = True


class KernelRoutes:
    """All routes of rest-api.md and the channels' WebSocket, on a registry of kernels.

    allow_origin: whose pages may open WebSockets. on_first_use: called once, before the first request is
      answered; the server is up then.
    """

    def __init__(
        self,
        registry: KernelRegistry,
        base_url: str,
        allow_origin: Collection[str],
        executions: ExecutionService | None = None,
        on_first_use: Callable[[], None] = lambda: None,
    ) -> None:
        self.registry = registry
        self.sessions = SessionStore(registry)
        self.table: list[Endpoint] = []
        self._allow_origin = allow_origin
        self._executions = executions
        self._base_url = base_url
        self._on_first_use: Callable[[], None] | None = on_first_use
        self._add_routes()

    def get_client(self, kernel_id: str) -> KernelClient:
        """The shared client of a kernel, for other plugins. Raises KernelNotFound."""
        return self.registry.get(kernel_id).driver.client

    def watch_kernels(self, callback: Callable[[str], None]) -> None:
        """Have `callback(kernel_id)` called for each kernel that is there, and for each that comes, at its start."""
        self.registry.watch(callback)

    def unwatch_kernels(self, callback: Callable[[str], None]) -> None:
        """Take back what `watch_kernels` did."""
        self.registry.unwatch(callback)

    # --- the table -------------------------------------------------------------------------------

    def _add_routes(self) -> None:
        add = self._add
        add("GET", "/api", self._http_version)
        add("GET", "/api/status", self._http_status, {"status": ["read"]})
        add("POST", "/api/security/csp-report", self._http_csp_report)
        add("GET", "/api/resolvePath", self._http_resolve_path, {"kernels": ["read"]})

        add("GET", "/api/kernelspecs", self._http_kernelspecs, {"kernelspecs": ["read"]})
        add("GET", "/api/kernelspecs/{name}", self._http_kernelspec, {"kernelspecs": ["read"]})
        add(("GET", "HEAD"), "/kernelspecs/{name}/{file:path}", self._http_resource, {})

        add("GET", "/api/kernels", self._http_kernels, {"kernels": ["read"]})
        add("POST", "/api/kernels", self._http_start_kernel, {"kernels": ["write"]})
        add("GET", "/api/kernels/{kernel_id}", self._http_kernel, {"kernels": ["read"]})
        add("DELETE", "/api/kernels/{kernel_id}", self._http_shutdown, {"kernels": ["write"]})
        add("POST", "/api/kernels/{kernel_id}/interrupt", self._http_interrupt, {"kernels": ["write"]})
        add("POST", "/api/kernels/{kernel_id}/restart", self._http_restart, {"kernels": ["write"]})
        add("POST", "/api/kernels/{kernel_id}/execute", self._http_execute, {"kernels": ["write"]})
        add("GET", "/api/kernels/{kernel_id}/requests/{request_id}", self._http_request, {"kernels": ["read"]})
        add("POST", "/api/kernels/{kernel_id}/requests/{request_id}/input", self._http_input, {"kernels": ["write"]})
        add("PUT", "/api/kernels/{kernel_id}/stdin/{client_id}", self._http_answerer, {"kernels": ["write"]})
        add("DELETE", "/api/kernels/{kernel_id}/stdin/{client_id}", self._http_no_answerer, {"kernels": ["write"]})

        add("GET", "/api/sessions", self._http_sessions, {"sessions": ["read"]})
        add("POST", "/api/sessions", self._http_create_session, {"sessions": ["write"]})
        add("GET", "/api/sessions/{session_id}", self._http_session, {"sessions": ["read"]})
        add("PATCH", "/api/sessions/{session_id}", self._http_change_session, {"sessions": ["write"]})
        add("DELETE", "/api/sessions/{session_id}", self._http_delete_session, {"sessions": ["write"]})

    def _add(
        self, methods: str | tuple[str, ...], path: str, answer: Answer, permissions: Permissions | None = None
    ) -> None:
        methods = (methods,) if isinstance(methods, str) else methods
        self.table.append(Endpoint(methods, path, answer, permissions, answer.__name__.removeprefix("_http_")))

    def fallbacks(self, ours: Sequence[BaseRoute]) -> list[Endpoint]:
        """Unknown paths and wrong methods below our prefixes answer in our form, too: to come after `ours`."""

        async def fallback(request: Request) -> Response:
            path = request.url.path
            if path.endswith("/") and _allowed(ours, {**request.scope, "path": path.rstrip("/")}):
                return RedirectResponse(str(request.url.replace(path=path.rstrip("/"))), 307)
            methods = _allowed(ours, dict(request.scope))
            if not methods:
                return error_response(404, f"Not found: {path}")
            return error_response(405, f"{request.method} is not allowed here", {"Allow": ", ".join(methods)})

        paths = (*PREFIXES, *(f"{tree}/{{rest:path}}" for tree in TREES))
        return [Endpoint(ALL_METHODS, path, fallback, None, FALLBACK, False) for path in paths]

    def starlette_routes(self) -> list[BaseRoute]:
        """All of it for a host without permissions."""
        security = security_headers(self._base_url)
        routes: list[BaseRoute] = [_EndpointRoute(endpoint, security) for endpoint in self.table]

        async def channels(websocket: WebSocket) -> None:
            session_id = websocket.query_params.get("session_id")
            await self.kernel_channels(websocket.path_params["kernel_id"], session_id, (websocket, None))

        routes.append(WebSocketRoute(CHANNELS_PATH, channels))
        return routes + [_EndpointRoute(endpoint, security) for endpoint in self.fallbacks(routes)]

    async def used(self) -> None:
        """Somebody has asked for something."""
        callback, self._on_first_use = self._on_first_use, None
        if callback is not None:
            callback()

    # --- the server itself -----------------------------------------------------------------------

    async def _http_version(self) -> Response:
        return json_response({"version": __version__})

    async def _http_status(self) -> Response:
        return json_response(self.registry.status())

    async def _http_csp_report(self) -> Response:
        return Response(status_code=204)

    async def _http_resolve_path(self, request: Request) -> Response:
        """Where a path leads: seen from the contents root (`server`) and from a kernel's folder (`kernel`)."""
        path = request.query_params.get("path")
        kernel_id = request.query_params.get("kernel")
        if path is None:
            raise MissingField("path")
        if "\0" in path:
            raise InvalidBody("path must not contain NUL")
        resolved = []
        unresolved = []
        found = await asyncio.to_thread(_contents_path, self.registry.root, path)
        if found is not None:
            resolved.append({"scope": "server", "path": found})
        if kernel_id:
            try:
                kernel = self.registry.get(kernel_id)
            except KernelNotFound:
                unresolved.append({"scope": "kernel", "reason": f"Kernel {kernel_id} could not be found"})
            else:
                found = await asyncio.to_thread(kernel.driver.resolve_path, path)
                if found is not None:
                    resolved.append({"scope": "kernel", "path": found})
        answer: dict[str, Any] = {"resolved": resolved}
        if unresolved:
            answer["unresolved"] = unresolved
        return json_response(answer)

    # --- kernelspecs -----------------------------------------------------------------------------

    async def _http_kernelspecs(self) -> Response:
        return json_response(await asyncio.to_thread(self.registry.specs.list))

    async def _http_kernelspec(self, name: str) -> Response:
        return json_response(await asyncio.to_thread(self.registry.specs.model, name))

    async def _http_resource(self, name: str, file: str) -> Response:
        return await self._resource(name, file)

    async def _resource(self, name: str, file: str) -> Response:
        path = await asyncio.to_thread(self.registry.specs.resource, name, file)
        return FileResponse(path, stat_result=await asyncio.to_thread(os.stat, path))

    # --- kernels ---------------------------------------------------------------------------------

    async def _http_kernels(self) -> Response:
        self._check_may_list()
        return json_response([kernel.model() for kernel in self.registry.list()])

    def _check_may_list(self) -> None:
        if not self.registry.policy.may_list:
            raise Forbidden("Forbidden")

    async def _http_start_kernel(self, request: Request) -> Response:
        body = await read_json(request) or JSONBody({})
        kernel_id = body.text("kernel_id")
        if kernel_id is not None:
            kernel_id = _check_uuid(kernel_id)
        path = body.text("path")
        kernel = await self.registry.start(
            body.text("name"), kernel_id=kernel_id, path=path or "", env=body.environment("env")
        )
        return json_response(kernel.model(), 201, {"Location": f"{self._base_url}api/kernels/{kernel.id}"})

    async def _http_kernel(self, kernel_id: str) -> Response:
        return json_response(self.registry.get(kernel_id).model())

    async def _http_shutdown(self, kernel_id: str) -> Response:
        await self.registry.shutdown(kernel_id)
        return Response(status_code=204)

    async def _http_interrupt(self, kernel_id: str) -> Response:
        await self.registry.interrupt(kernel_id)
        return Response(status_code=204)

    async def _http_restart(self, kernel_id: str) -> Response:
        return json_response((await self.registry.restart(kernel_id)).model())

    async def _http_execute(self, request: Request, kernel_id: str) -> Response:
        return json_response(await self._execute(request, kernel_id))

    # --- server-side execution -------------------------------------------------------------------

    async def _execute(self, request: Request, kernel_id: str) -> dict[str, Any]:
        try:
            kernel = self.registry.get(kernel_id)
        except KernelNotFound as exc:
            if self._executions is not None:
                self._executions.refuse(await read_body(request), exc)
            raise
        service = self._execution_service()
        data = await read_body(request)
        return {"request_id": service.execute(kernel, data, self.sessions.path_of(kernel_id))}

    def _execution_service(self) -> ExecutionService:
        if self._executions is None:
            raise NotAvailable("Server-side execution is not available: this server has no shared documents")
        return self._executions

    def _queue(self, kernel_id: str) -> ExecutionQueue:
        kernel = self.registry.get(kernel_id)
        return self._execution_service().queue(kernel)

    async def _http_request(self, kernel_id: str, request_id: str) -> Response:
        return json_response(self._queue(kernel_id).request_model(request_id))

    async def _http_input(self, request: Request, kernel_id: str, request_id: str) -> Response:
        queue = self._queue(kernel_id)
        body = await read_json(request) or JSONBody({})
        queue.answer(request_id, body.required_text("value"))
        return Response(status_code=204)

    async def _http_answerer(self, kernel_id: str, client_id: str) -> Response:
        queue = self._queue(kernel_id)
        queue.stdin_clients.register(client_id)
        return json_response({"expires_in_s": EXPIRY_S, "pending": queue.pending()})

    async def _http_no_answerer(self, kernel_id: str, client_id: str) -> Response:
        self._queue(kernel_id).stdin_clients.remove(client_id)
        return Response(status_code=204)

    # --- sessions --------------------------------------------------------------------------------

    async def _http_sessions(self) -> Response:
        self._check_may_list()
        return json_response([self.sessions.model(session) for session in self.sessions.list()])

    async def _http_create_session(self, request: Request) -> Response:
        model = await self._create_session(request)
        return json_response(model, 201, {"Location": f"{self._base_url}api/sessions/{model['id']}"})

    async def _create_session(self, request: Request) -> SessionModel:
        body = await read_json(request)
        if body is None:
            raise InvalidBody("No JSON data provided")
        notebook = body.child("notebook")  # the form of notebook < 4.3
        kind: str | None
        if notebook is not None:
            path = notebook.text("path") or notebook.required_text("name")
            kind = "notebook"
        else:
            path = body.required_text("path")
            kind = body.required_text("type")
        choice = _kernel_choice(body.child("kernel"))
        if choice.id is not None and choice.id not in self.registry and not _SESSION_KERNEL_ID.fullmatch(choice.id):
            raise InvalidKernelId(f"Invalid kernel id: {choice.id[:100]}")
        session = await self.sessions.create(path, body.text("name") or "", kind, choice)
        return self.sessions.model(session)

    async def _http_session(self, session_id: str) -> Response:
        return json_response(self.sessions.model(self.sessions.get(session_id)))

    async def _http_change_session(self, request: Request, session_id: str) -> Response:
        return json_response(await self._change_session(request, session_id))

    async def _change_session(self, request: Request, session_id: str) -> SessionModel:
        self.sessions.get(session_id)
        body = await read_json(request)
        if body is None:
            raise InvalidBody("No JSON data provided")
        if body.text("id") not in (None, session_id):
            raise InvalidBody("id in the body is not that of the URL")
        path = body.text("path")
        notebook = body.child("notebook")
        if path is None and notebook is not None:
            path = notebook.text("path")
        kernel = body.child("kernel")
        session = await self.sessions.change(
            session_id,
            path=path,
            name=body.text("name"),
            kind=body.text("type"),
            choice=None if kernel is None else _kernel_choice(kernel),
        )
        return self.sessions.model(session)

    async def _http_delete_session(self, session_id: str) -> Response:
        await self.sessions.delete(session_id)
        return Response(status_code=204)

    # --- channels --------------------------------------------------------------------------------

    async def kernel_channels(
        self, kernel_id: str, session_id: str | None, websocket_permissions: tuple[WebSocket, Permissions | None]
    ) -> None:
        """Serve a WebSocket to a kernel until it is closed; refuse it with an HTTP status before it is opened."""
        await self.used()
        websocket, permissions = websocket_permissions
        granted = None if permissions is None else permissions.get("kernels", [])
        if granted is not None and not {"read", "execute"} & set(granted):
            await deny(websocket, 403, "You may not watch kernels")
            return
        headers = websocket.headers
        if not origin_allowed(headers.get("origin"), headers.get("host"), self._allow_origin):
            await deny(websocket, 403, f"Origin not allowed: {headers['origin'][:200]}")
            return
        session_id = session_id or uuid.uuid4().hex
        if len(session_id) > MAX_SESSION_ID_CHARS:
            await deny(websocket, 400, f"session_id is longer than {MAX_SESSION_ID_CHARS} characters")
            return
        try:
            if self.registry.stopping:  # or a client that we sent away would come back at once
                raise ServerStopping
            server = self.registry.get(kernel_id).server
        except FPSKernelsError as exc:
            await deny(websocket, exc.status, exc.message)
            return
        v1 = V1_PROTOCOL in websocket.scope["subprotocols"]
        await websocket.accept(V1_PROTOCOL if v1 else None)
        may_execute = granted is None or "execute" in granted
        await server.serve(StarletteSocket(websocket), session_id, v1=v1, may_execute=may_execute)


class _EndpointRoute(ExactRoute):
    def __init__(self, endpoint: Endpoint, security: Mapping[str, str]) -> None:
        names = tuple(signature(endpoint.answer).parameters)

        async def answer(request: Request) -> Response:
            given = {**request.path_params, "request": request}
            return await endpoint.answer(**{name: given[name] for name in names})

        async def handle(request: Request) -> Response:
            return await respond(answer, request, security)

        super().__init__(
            endpoint.path,
            handle,
            methods=endpoint.methods,
            name=endpoint.name,
            include_in_schema=endpoint.in_schema,
        )


def _allowed(routes: Sequence[Any], scope: dict[str, Any]) -> list[str]:
    """The methods that some route has for the path of a request."""
    methods: set[str] = set()
    for route in routes:
        match, _ = route.matches(scope)
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods)


def _kernel_choice(kernel: JSONBody | None) -> KernelChoice:
    if kernel is None:
        return KernelChoice(named=True)
    return KernelChoice(kernel.text("id") or None, kernel.text("name") or None, "name" in kernel)


def _check_uuid(kernel_id: str) -> str:
    try:
        uuid.UUID(kernel_id)
    except ValueError as exc:
        raise InvalidKernelId(f"kernel_id is not a UUID: {kernel_id[:100]}") from exc
    # uuid.UUID also reads braces and a urn: prefix, which have no place in a URL.
    if not _SESSION_KERNEL_ID.fullmatch(kernel_id):
        raise InvalidKernelId(f"kernel_id is not a UUID: {kernel_id[:100]}")
    return kernel_id


def _contents_path(root: Path, path: str) -> str | None:
    """A path as clients of the contents API write it, if it exists and lies below the root."""
    try:
        real = (root / Path(path.lstrip("/") if not path.startswith("~") else path).expanduser()).resolve()
        if not real.is_relative_to(root) or not real.exists():
            return None
    except (OSError, RuntimeError):  # a name too long, a circle of links, no such user
        return None
    return real.relative_to(root).as_posix()
