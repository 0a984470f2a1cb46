"""What JupyterLab and its users ask a server for, and no plugin of Jupyverse 0.6.4 answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from ....api.json_body import check_encoding
from ....api.responses import Handler, respond, security_headers
from ....errors import FPSKernelsError, NotAWebSocket
from ....serving.access.xsrf import SAFE_METHODS
from ....serving.json_responses import error_response, json_response
from .config_sections import ConfigSections
from .event_bus import EventBus
from .files_endpoint import FilesEndpoint
from .identity_endpoint import me

logger = logging.getLogger(__name__)

NO_LANGUAGE_SERVERS = {"version": 2, "sessions": {}, "specs": {}}
"""What jupyter-lsp says where there are none. JupyterLab asks it again and again where it is not answered."""


def with_lab_routes(
    app: ASGIApp,
    routes: list[BaseRoute],
    base_url: str,
    shut_down: Callable[[], None],
    in_place_of_plugins: Sequence[BaseRoute] = (),
) -> ASGIApp:
    """An application with these routes besides its own.

    routes: its own ones. base_url: the path that all paths begin with. shut_down: ends the server.
    in_place_of_plugins: what comes before its own ones, too.
    """
    security = security_headers(base_url)

    def route(path: str, handler: Handler, *methods: str) -> Route:
        async def answer(request: Request) -> Response:
            return await respond(handler, request, security)

        return Route(f"{base_url}{path}", answer, methods=list(methods) or ["GET"])

    async def shutdown(request: Request) -> Response:
        logger.info("Shutting down, as a client asks")
        shut_down()
        return json_response({})

    async def language_servers(request: Request) -> Response:
        return json_response(NO_LANGUAGE_SERVERS)

    async def favicon(request: Request) -> Response:
        return RedirectResponse(f"{base_url}favicon.ico", 302)

    async def specification(request: Request) -> Response:
        return RedirectResponse(f"{base_url}openapi.json", 302)

    files = FilesEndpoint(Path.cwd())

    async def file(request: Request) -> Response:
        return await respond(files.get, request, {})  # with the headers of what users have put there

    sections = ConfigSections()
    events = EventBus()
    ours: list[BaseRoute] = [
        route("api/shutdown", shutdown, "POST"),
        route("api/me", me),
        route("api/config/{section}", sections.answer, "GET", "PUT", "PATCH"),
        route("api/events", events.post, "POST"),
        WebSocketRoute(f"{base_url}api/events/subscribe", events.subscribe),
        Route(f"{base_url}files/{{path:path}}", file),
        route("lsp/status", language_servers),
        route("static/favicons/favicon.ico", favicon),
        route("api/spec.yaml", specification),
        *in_place_of_plugins,
    ]
    inner = Guarded(app, [*ours, *routes])
    return Router(ours, redirect_slashes=False, default=inner)


class Guarded:
    """Middleware that says of some requests what is wrong with them, which plugins would answer with 404 and 500.

    routes: what there is of WebSockets.
    """

    def __init__(self, app: ASGIApp, routes: list[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                if scope["method"] not in SAFE_METHODS:
                    check_encoding(Request(scope).headers)
                elif scope["method"] == "GET" and opens_websocket(self._routes, scope):
                    raise NotAWebSocket
            except FPSKernelsError as exc:
                await error_response(exc.status, exc.message)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def opens_websocket(routes: list[BaseRoute], scope: Scope) -> bool:
    """Whether only a WebSocket is at the path of a plain request, of which a proxy may have removed a header."""
    return _matches(routes, {**scope, "type": "websocket"}) and not _matches(routes, scope)


def _matches(routes: list[BaseRoute], scope: Scope) -> bool:
    for route in routes:
        match, child_scope = route.matches(scope)
        if match is Match.NONE:
            continue
        if not isinstance(route, Mount):
            return True
        if route.routes and _matches(route.routes, {**scope, **child_scope}):
            return True
    return False
