"""The table of REST routes, and the answers to requests that none of them takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match

from .execution_endpoints import ExecutionEndpoints
from .kernel_endpoints import KernelEndpoints
from .kernels_page_endpoints import KernelsPageEndpoints
from .kernelspec_endpoints import KernelspecEndpoints
from .metrics_endpoint import MetricsEndpoint
from .responses import error_response
from .server_endpoints import ServerEndpoints
from .session_endpoints import SessionEndpoints

Permissions = dict[str, list[str]]
Answer = Callable[..., Awaitable[Response]]

METRICS_PATH = "/metrics"
PAGE_PATH = "/kernels"
CHANNELS_PATH = "/api/kernels/{kernel_id}/channels"
ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
PREFIXES = (
    "/api",
    "/api/status",
    "/api/security/csp-report",
    "/api/kernels",
    "/api/kernelspecs",
    "/api/sessions",
    "/api/resolvePath",
    "/kernels",
    "/kernelspecs",
)
TREES = ("/api/kernels", "/api/kernelspecs", "/api/sessions", "/kernels", "/kernelspecs")
FALLBACK = "no such route"
"""The name of the routes that answer for unknown paths; no other can have it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route.

    methods: HTTP methods, separated by spaces. Where GET is, HEAD is, too.
    answer: a coroutine function; its arguments are `request` and the names in braces in `path`, as far as it has them.
    permissions: the permissions that a user needs; {} for any user, None where no authentication is needed.
    """

    name: str
    methods: str
    path: str
    answer: Answer
    permissions: Permissions | None = None
    in_schema: bool = True

    @property
    def served_methods(self) -> list[str]:
        """All of its methods, with the HEAD that monitors and proxies send where GET is."""
        methods = self.methods.split()
        return [*methods, "HEAD"] if "GET" in methods and "HEAD" not in methods else methods


def api_table(
    server: ServerEndpoints,
    metrics: MetricsEndpoint,
    kernelspecs: KernelspecEndpoints,
    kernels: KernelEndpoints,
    executions: ExecutionEndpoints,
    sessions: SessionEndpoints,
    page: KernelsPageEndpoints,
) -> list[Endpoint]:
    """All REST routes, in the order in which they are matched."""
    kernel = "/api/kernels/{kernel_id}"
    request = f"{kernel}/requests/{{request_id}}"
    stdin = f"{kernel}/stdin/{{client_id}}"
    session = "/api/sessions/{session_id}"
    return [
        Endpoint("version", "GET", "/api", server.version),
        Endpoint("status", "GET", "/api/status", server.status, {"status": ["read"]}),
        Endpoint("csp_report", "POST", "/api/security/csp-report", server.csp_report),
        Endpoint("metrics", "GET", METRICS_PATH, metrics.all, {"status": ["read"]}),
        Endpoint("resolve_path", "GET", "/api/resolvePath", server.resolve_path, {"kernels": ["read"]}),
        Endpoint("kernelspecs", "GET", "/api/kernelspecs", kernelspecs.all, {"kernelspecs": ["read"]}),
        Endpoint("kernelspec", "GET", "/api/kernelspecs/{name}", kernelspecs.one, {"kernelspecs": ["read"]}),
        Endpoint("resource", "GET", "/kernelspecs/{name}/{file:path}", kernelspecs.resource, {}),
        Endpoint("kernels", "GET", "/api/kernels", kernels.all, {"kernels": ["read"]}),
        Endpoint("start_kernel", "POST", "/api/kernels", kernels.start, {"kernels": ["write"]}),
        Endpoint("kernel", "GET", kernel, kernels.one, {"kernels": ["read"]}),
        Endpoint("shutdown", "DELETE", kernel, kernels.shutdown, {"kernels": ["write"]}),
        Endpoint("interrupt", "POST", f"{kernel}/interrupt", kernels.interrupt, {"kernels": ["write"]}),
        Endpoint("restart", "POST", f"{kernel}/restart", kernels.restart, {"kernels": ["write"]}),
        Endpoint("execute", "POST", f"{kernel}/execute", executions.execute, {"kernels": ["execute"]}),
        Endpoint("request", "GET", request, executions.one, {"kernels": ["read"]}),
        Endpoint("input", "POST", f"{request}/input", executions.answer_input, {"kernels": ["execute"]}),
        Endpoint("answerer", "PUT", stdin, executions.add_stdin_client, {"kernels": ["execute"]}),
        Endpoint("no_answerer", "DELETE", stdin, executions.remove_stdin_client, {"kernels": ["execute"]}),
        Endpoint("sessions", "GET", "/api/sessions", sessions.all, {"sessions": ["read"]}),
        Endpoint("create_session", "POST", "/api/sessions", sessions.create, {"sessions": ["write"]}),
        Endpoint("session", "GET", session, sessions.one, {"sessions": ["read"]}),
        Endpoint("change_session", "PATCH", session, sessions.change, {"sessions": ["write"]}),
        Endpoint("delete_session", "DELETE", session, sessions.delete, {"sessions": ["write"]}),
        Endpoint("kernels_page", "GET", PAGE_PATH, page.page, {"kernels": ["read"]}),
        Endpoint("kernels_page_events", "GET", f"{PAGE_PATH}/events", page.events, {"kernels": ["read"]}),
        Endpoint("kernels_page_file", "GET", f"{PAGE_PATH}/static/{{name}}", page.file, {}),
    ]


def fallbacks(ours: Sequence[BaseRoute]) -> list[Endpoint]:
    """Endpoints that answer 404 and 405 in our form, for all paths below our prefixes.

    ours: the routes of the table; the fallbacks must come after them.
    """

    async def fallback(request: Request) -> Response:
        path = request.url.path
        if path.endswith("/") and _allowed(ours, {**request.scope, "path": path.rstrip("/")}):
            # A path, not a URL: behind a proxy that takes TLS off, this server does not know its scheme.
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(_sent_path(request).rstrip("/") + query, 307)
        methods = _allowed(ours, dict(request.scope))
        if not methods:
            return error_response(404, f"Not found: {path}")
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ", ".join([*methods, "OPTIONS"])})
        return error_response(405, f"{request.method} is not allowed here", {"Allow": ", ".join(methods)})

    paths = (*PREFIXES, *(f"{tree}/{{rest:path}}" for tree in TREES))
    return [Endpoint(FALLBACK, " ".join(ALL_METHODS), path, fallback, in_schema=False) for path in paths]


def _sent_path(request: Request) -> str:
    """The path of a request, percent-encoded as it was sent."""
    raw: bytes | None = request.scope.get("raw_path")
    return quote(request.scope["path"]) if raw is None else raw.decode("latin-1").partition("?")[0]


def _allowed(routes: Sequence[Any], scope: dict[str, Any]) -> list[str]:
    """The methods that some route has for the path of a request."""
    methods: set[str] = set()
    for route in routes:
        match, _ = route.matches(scope)
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods)
