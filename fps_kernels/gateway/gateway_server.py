"""The gateway: kernels, a personality's routes, and the HTTP server before them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..api.metrics_server import MetricsServer
from ..api.responses import error_response
from ..api.starlette_router import EndpointRoute
from ..api.table import METRICS_PATH, PAGE_PATH
from ..api.unused_server import UnusedServer
from ..errors import FPSKernelsError, ServerStopping
from ..kernels.keeping.opening import open_kernels
from ..serving.access.access_layer import AccessLayer
from ..serving.access.browser_login import PageLogin
from ..serving.access.login_cookie import LoginCookies, signing_key
from ..serving.access.reach import warn_of_reach
from ..serving.access.refusal_log import RefusalLog
from ..serving.access.secret_file import COOKIE_SECRET_FILE, cookie_secret
from ..serving.head_and_options import HeadAndOptions
from ..serving.http_server import Server, make_server, url_of
from ..serving.logs import quiet_start
from ..serving.own_redirects import OwnRedirects
from ..serving.page_headers import PageHeaders
from ..serving.trusted_proxy import TrustedProxy
from ..serving.unix_socket import is_unix
from ..tasks import cancel_and_wait
from .api_docs import document_routes
from .base_url import BelowBaseUrl
from .context import GatewayContext
from .cors import CORSHeaders, Preflights
from .guarded_routes import guarded
from .health import HEALTH_PATHS, health_routes
from .openapi_document import openapi
from .personality_loader import LoadedPersonality

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
    """A server of kernels and of a personality's routes.

    context: what the personality has got, too.
    socks: the sockets to serve on, which listen already.
    personality: what is served.
    metrics_socks: those on which only the numbers are served, without a token.
    on_serving: called with the URL once it serves, and the log says so.
    """

    def __init__(
        self,
        context: GatewayContext,
        socks: Sequence[socket.socket],
        personality: LoadedPersonality,
        metrics_socks: Sequence[socket.socket] = (),
        on_serving: Callable[[str], None] = lambda url: None,
    ) -> None:
        self._on_serving = on_serving
        self._settings = context.settings
        self._registry = context.kernels.registry
        self._sessions = context.kernels.sessions
        self._host = context.kernels.host
        self._metrics = context.kernels.metrics_endpoint
        self._socks = list(socks)
        self._metrics_server = MetricsServer(metrics_socks, context.settings.metrics_ip)
        self._personality = personality
        self._refusals = RefusalLog()
        self._ready = False
        self._has_page = False  # of kernels

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; return when all kernels have ended."""
        await open_kernels(self._registry, self._sessions)
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            with quiet_start():
                if not await self._start_personality(stopping):
                    return
            app: ASGIApp = await self.make_app()
            ends: list[asyncio.Task[Any]] = [stopping]
            if timeout_s := self._settings.no_activity_timeout_s:
                unused = UnusedServer(self._registry, timeout_s, unquote(self._settings.base_url))
                app = unused.watch_requests(app)
                ends.append(asyncio.create_task(unused.wait(), name="unused server"))
            server = self._make_server(self.guard(app))
            serving = asyncio.create_task(server.serve(self._socks), name="HTTP server")
            self._ready = True
            listening = self._settings.listening
            url = url_of(self._socks[0], listening.tls)
            if not listening.private:
                warn_of_reach(self._settings.access.policy, listening.ip, public=listening.public)
            self._metrics_server.start(self._metrics, self._host)
            url += self._settings.base_url[1:]
            logger.info("Serving at %s", url)
            self._on_serving(url)
            try:
                await asyncio.wait([serving, *ends], return_when=asyncio.FIRST_COMPLETED)
                self._ready = False
                await self._shut_down_personality()
                await self._registry.stop()  # ends the requests that wait for a kernel, and closes the WebSockets
            finally:
                await cancel_and_wait(*ends)
                await self._metrics_server.close()
                server.should_exit = True
                await serving
        finally:
            await cancel_and_wait(stopping)
            await self._registry.stop()

    async def _start_personality(self, stopping: asyncio.Task[Any]) -> bool:
        """Whether the personality has started before the server was asked to stop.

        Raises what the personality raises, after all kernels have been stopped.
        """
        starting = asyncio.create_task(self._personality.init_configurables(), name="personality")
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and starting.exception() is None:
            return True
        was_asked = stopping.done()
        await self._registry.stop()  # kernels that it waits for raise ServerStopping
        await cancel_and_wait(starting)
        if was_asked:
            return False
        with contextlib.suppress(ServerStopping):
            starting.result()
        return False

    async def _shut_down_personality(self) -> None:
        timeout_s = self._personality.shutdown_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._personality.shutdown()
        except TimeoutError:
            logger.warning("api=%s: shutdown did not finish within %g s", self._personality.api, timeout_s)
        except FPSKernelsError as exc:
            logger.error("%s", exc.message)

    async def make_app(self) -> Starlette:
        """The application with all routes, each behind the token."""
        personality, access, base_url = self._personality, self._settings.access, self._settings.base_url
        routes = await personality.create_routes()
        described = await personality.describe()

        def document() -> dict[str, Any]:
            if described is not None:
                return described
            if personality.uses_fastapi:
                from .fastapi_app import fastapi_openapi

                return fastapi_openapi(routes, needs_token=access.policy.closed)
            return openapi(routes, needs_token=access.policy.closed)

        paths = (*HEALTH_PATHS, *personality.open_paths)
        open_paths = [unquote(base_url) + path for path in paths]
        keepsake = self._registry.factory.keepsake
        health = health_routes(lambda: keepsake.trouble if self._ready else "Not ready")
        openapi_json, *pages = document_routes(document, base_url)
        self._has_page = any(getattr(route, "path", None) == PAGE_PATH for route in routes)
        has_metrics = any(getattr(route, "path", None) == METRICS_PATH for route in routes)
        metrics = [] if has_metrics else [EndpointRoute(self._metrics, self._host)]
        # A personality's routes may match any path; /openapi.json stays the server's own.
        served = guarded([*health, openapi_json, *routes, *metrics, *pages], open_paths, self._refusals)
        if personality.uses_fastapi:
            from .fastapi_app import make_fastapi

            app: Starlette = make_fastapi(served)
        else:
            app = Starlette(routes=served)
            app.router.redirect_slashes = False
        app.router.default = _not_found
        app.add_exception_handler(HTTPException, _as_json)
        return app

    def guard(self, app: ASGIApp) -> ASGIApp:
        """The layers around the application that decide who may come in, and what browsers may do with the answers."""
        access, base_url = self._settings.access, self._settings.base_url
        app = BelowBaseUrl(OwnRedirects(HeadAndOptions(app)), base_url)
        app = AccessLayer(app, access.policy, self._login(), enforce=False, log=self._refusals)
        app = PageHeaders(Preflights(app, base_url), base_url, referrer="no-referrer")
        app = CORSHeaders(app, access.cors, access.policy.origins)
        return TrustedProxy(app) if self._settings.listening.trust_proxy else app

    def _login(self) -> PageLogin | None:
        """The login for the page of kernels, where there is one, and a token."""
        from jupyter_core.paths import jupyter_runtime_dir

        policy, base_url = self._settings.access.policy, self._settings.base_url
        if not (self._has_page and self._settings.list_kernels and policy.token):
            return None
        sock = self._socks[0]
        key = signing_key(
            cookie_secret(Path(jupyter_runtime_dir()) / COOKIE_SECRET_FILE),
            policy.token,
            policy.password_hash,
            policy.proxy_secret,
        )
        cookies = LoginCookies(key, 0 if is_unix(sock) else sock.getsockname()[1], base_url)
        return PageLogin(policy, cookies, base_url, f"{base_url}{PAGE_PATH[1:]}", "Kernels")

    def _make_server(self, app: ASGIApp) -> Server:
        listening = self._settings.listening
        health = frozenset(unquote(self._settings.base_url) + path for path in HEALTH_PATHS)
        limits = replace(self._settings.serving, always_answered=health)
        return make_server(app, listening.tls, listening.ping_interval_s or None, limits)
