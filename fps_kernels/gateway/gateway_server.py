"""The gateway: kernels, a personality's routes, and the HTTP server before them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..api.responses import error_response
from ..api.routes import KernelRoutes
from ..errors import FPSKernelsError, ServerStopping
from ..kernel_driver.kernelspec import Kernelspecs
from ..kernels.registry import KernelRegistry
from ..kernels.start_policy import StartPolicy
from ..serving.http_server import Server, make_server, url_of
from ..serving.logs import boot
from ..serving.trusted_proxy import TrustedProxy
from .api_docs import document_routes
from .base_url import BelowBaseUrl
from .config.settings import Settings
from .content_security import SecurityHeaders
from .cors import CORSHeaders, OriginCheck
from .health import HEALTH_PATHS, health_routes
from .openapi_document import openapi
from .personality_loader import Plugin
from .token_check import TokenCheck, guarded

logger = logging.getLogger(__name__)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a path that no route has; Starlette itself would close a WebSocket with 403."""
    message = "Not Found" if scope["type"] == "http" else f"Not found: {scope['path']}"
    await error_response(404, message)(scope, receive, send)


async def _as_json(request: Request, exc: Exception) -> Response:
    """The answer to an error of the framework's own, such as a wrong method."""
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
        kernels.registry.prewarm()
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
        kernels = KernelRoutes(KernelRegistry(options, specs, self._policy), base_url, options.allow_origin)
        self._publish(kernels)
        return kernels

    async def _make_app(self) -> Starlette:
        """The application with all routes, each behind the token."""
        personality, access, base_url = self._personality, self.settings.access, self.settings.base_url
        routes = await personality.create_routes()
        described = await personality.describe()

        def document() -> dict[str, Any]:
            if described is not None:
                return described
            if personality.uses_fastapi:
                from .fastapi_app import fastapi_openapi

                return fastapi_openapi(routes, needs_token=bool(access.token))
            return openapi(routes, needs_token=bool(access.token))

        paths = (*HEALTH_PATHS, *personality.open_paths)
        check = TokenCheck(access.token, [unquote(base_url) + path for path in paths])
        served = guarded([*health_routes(self._is_ready), *routes, *document_routes(document, base_url)], check)
        if personality.uses_fastapi:
            from .fastapi_app import make_fastapi

            app: Starlette = make_fastapi(served)
        else:
            app = Starlette(routes=served)
            app.router.redirect_slashes = False
        app.router.default = _not_found
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
        timeout_s = self._personality.shutdown_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._personality.shutdown()
        except TimeoutError:
            logger.warning("api=%s: shutdown did not finish within %g s", self._personality.api, timeout_s)
        except FPSKernelsError as exc:
            logger.error("%s", exc.message)

    def _make_server(self, app: ASGIApp) -> Server:
        access, base_url, listening = self.settings.access, self.settings.base_url, self.settings.listening
        app = OriginCheck(BelowBaseUrl(app, base_url), access.allow_origin, base_url)
        app = CORSHeaders(SecurityHeaders(app, base_url), access.cors)
        if listening.trust_proxy:
            app = TrustedProxy(app)
        return make_server(app, listening.tls, listening.ping_interval_s or None)
