"""The gateway: a registry of kernels, a personality's routes, and the HTTP server before them.

FastAPI is only imported for a personality that wants it: that takes longer than all the rest together.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..api.responses import error_response
from ..api.routes import KernelRoutes
from ..api.table import FALLBACK
from ..errors import FPSKernelsError, ServerStopping
from ..kernel_driver.kernelspec import Kernelspecs
from ..kernels.registry import KernelRegistry
from ..kernels.start_policy import StartPolicy
from ..serving.http_server import Server, make_server, url_of
from ..serving.logs import boot
from ..serving.trusted_proxy import TrustedProxy
from .access import AccessControl
from .config.settings import Settings
from .gateway_host import GatewayHost
from .health import health_routes
from .personality_loader import Plugin

logger = logging.getLogger(__name__)

DOCUMENTS = ("/openapi.json", "/docs", "/docs/static/{name}")


class LazyApp:
    """The application that `make` makes at its first request. Once, unless it fails."""

    def __init__(self, make: Callable[[], Awaitable[ASGIApp]]) -> None:
        self._make = make
        self._app: ASGIApp | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._making:
            if self._app is None:
                self._app = await self._make()
        await self._app(scope, receive, send)


class BelowBaseUrl:
    """All paths begin with the base URL; routes do not know it."""

    def __init__(self, app: ASGIApp, base_url: str) -> None:
        self._app = app
        self._root_path = unquote(base_url).rstrip("/")

    def reaches(self, path: str) -> bool:
        return f"{path}/".startswith(f"{self._root_path}/")

    def inside(self, scope: Scope) -> Scope:
        """The scope that routes get."""
        return {**scope, "root_path": self._root_path}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            if not self.reaches(scope["path"]):
                await error_response(404, f"Not found: {scope['path']}")(scope, receive, send)
                return
            scope = self.inside(scope)
        await self._app(scope, receive, send)


def _answers(route: BaseRoute, scope: Scope) -> bool:
    """Whether a route has something for a path, other than that it is not there.

    FastAPI copied the routes of a router that it included; now it keeps the router, as one route. Whatever
    cannot be told is said to answer: it needs the token then.
    """
    if route.matches(scope)[0] is Match.NONE:
        return False
    router = getattr(route, "original_router", None)
    routes = [route] if router is None else [one for one in router.routes if one.matches(scope)[0] is not Match.NONE]
    return not routes or any(getattr(one, "name", None) != FALLBACK for one in routes)


async def _as_json(request: Request, exc: Exception) -> Response:
    """Errors of the framework's own, such as an unknown path."""
    assert isinstance(exc, HTTPException)
    return error_response(exc.status_code, str(exc.detail), exc.headers)


class Gateway:
    """The application: kernels, and the personality's routes, on sockets that listen.

    policy: what is decided about kernels. publish(kernels): called before the personality is.
    """

    def __init__(
        self,
        settings: Settings,
        socks: Sequence[socket.socket],
        policy: StartPolicy,
        personality: Plugin,
        publish: Callable[[KernelRoutes], None],
    ) -> None:
        self.settings = settings
        self._policy = policy
        self._personality = personality
        self._publish = publish
        self.ready = False
        self._socks = list(socks)

    async def serve(self, stop: asyncio.Event) -> None:
        """Until `stop`; returns when all kernels have ended."""
        kernels = self._make_kernels()
        kernels.registry.prewarmed.start()
        try:
            await self._serve(kernels.registry, stop)
        finally:
            await kernels.registry.stop()

    async def _serve(self, registry: KernelRegistry, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait(), name="stop")
        with boot():
            if not await self._begin(registry, stopping):
                return
        server = self._make_server(await self._make_app())
        serving = asyncio.create_task(server.serve(self._socks), name="HTTP server")
        self.ready = True
        logger.info("Serving at %s", self.url)
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            self.ready = False
            await self._end()
            await registry.stop()  # ends the requests that wait for a kernel, and closes the WebSockets
        finally:
            server.should_exit = True
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
            await serving

    @property
    def url(self) -> str:
        """Where it is to be found, on the first of its addresses."""
        host, port = self._socks[0].getsockname()[:2]
        return url_of(host, port, self.settings.listening.tls) + self.settings.base_url[1:]

    def _make_kernels(self) -> KernelRoutes:
        options, base_url = self.settings.kernels, self.settings.base_url
        specs = Kernelspecs(options.default_kernel, base_url, options.allowed_kernelspecs)
        kernels = KernelRoutes(KernelRegistry(options, specs, self._policy), GatewayHost(base_url))
        self._publish(kernels)
        return kernels

    async def _make_app(self) -> Starlette:
        routes = await self._personality.create_routes()
        if routes is None:
            return await self._make_fastapi()
        documents = LazyApp(self._make_documents)
        openapi, *pages = (Route(path, documents) for path in DOCUMENTS)
        # A personality's routes may take any path: /openapi.json is the server's own all the same.
        routes = [*health_routes(self._is_ready), openapi, *routes, *pages]
        app = Starlette(routes=routes)
        app.router.redirect_slashes = False
        app.add_exception_handler(HTTPException, _as_json)
        return app

    async def _make_documents(self) -> Starlette:
        # Kernels are served meanwhile: what takes long is imported in a thread.
        for module in (".fastapi_app", "..hosts.asphalt.plugin"):
            await asyncio.to_thread(importlib.import_module, module, __package__)
        return await self._make_fastapi()

    async def _make_fastapi(self) -> Starlette:
        """For a personality that has a router of FastAPI; of others only the documents are taken."""
        from .fastapi_app import make_fastapi

        router = await self._personality.create_request_handlers()
        document = await self._personality.describe()
        routes = health_routes(self._is_ready)
        app = make_fastapi(routes, router, self.settings.base_url, document)
        app.add_exception_handler(HTTPException, _as_json)
        return app

    def _is_ready(self) -> bool:
        return self.ready

    async def _begin(self, registry: KernelRegistry, stopping: asyncio.Task[Any]) -> bool:
        """Have the personality start what it needs; False when the server is asked to stop meanwhile.

        Raises what the personality does; all kernels are stopped then.
        """
        beginning = asyncio.create_task(self._personality.init_configurables(), name="personality")
        await asyncio.wait([beginning, stopping], return_when=asyncio.FIRST_COMPLETED)
        if beginning.done() and beginning.exception() is None:
            return True
        was_asked = stopping.done()
        await registry.stop()
        beginning.cancel()
        stopping.cancel()
        [error] = await asyncio.gather(beginning, return_exceptions=True)
        if was_asked or isinstance(error, ServerStopping):
            return False
        assert error is not None
        raise error

    async def _end(self) -> None:
        """Have the personality finish what it does."""
        try:
            async with asyncio.timeout(self._personality.drain_timeout_s):
                await self._personality.shutdown()
        except TimeoutError:
            api, timeout_s = self._personality.api, self._personality.drain_timeout_s
            logger.warning("%s did not come to its end within %g s", api, timeout_s)
        except FPSKernelsError as exc:
            logger.error("%s", exc.message)

    def _make_server(self, routed: Starlette) -> Server:
        listening = self.settings.listening
        base_url = self.settings.base_url
        inside = BelowBaseUrl(routed, base_url)

        def is_known(scope: Scope) -> bool:
            return inside.reaches(scope["path"]) and any(
                _answers(route, inside.inside(scope)) for route in routed.routes
            )

        app: ASGIApp = AccessControl(inside, self.settings.access, base_url, is_known, self._personality.open_paths)
        if listening.trust_proxy:
            app = TrustedProxy(app)
        return make_server(app, listening.tls, listening.ping_interval_s or None)
