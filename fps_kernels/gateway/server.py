"""The root of the gateway's Asphalt application, and the HTTP server below it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from asphalt.core import Context
from fastapi import FastAPI, Request, Response
from jupyverse_api.app import App
from jupyverse_api.auth import Auth
from jupyverse_api.frontend import FrontendConfig
from jupyverse_api.kernels import Kernels
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import __version__
from ..errors import KernelsError, ServerStopping
from ..http import error_response
from ..http_server import Server, make_server
from ..main import KernelsComponent
from ..policy import StartPolicy
from ..registry import KernelRegistry
from ..routes import FALLBACK, _Kernels
from .access import AccessControl
from .auth import TokenAuth
from .health import add_health
from .logs import boot
from .openapi import add_documents
from .personality import Plugin
from .proxy import TrustedProxy
from .settings import Settings

logger = logging.getLogger(__name__)

DRAIN_TIMEOUT_S = 20
"""For what the personality still does when the server is asked to stop; it answers meanwhile."""


class HeadlessApp(App):
    """What plugins put their routes into: nothing is served of them but what the personality takes."""

    def __init__(self) -> None:
        # Not App.__init__: its middleware hides that a client has gone.
        self._started_time = self._last_activity = datetime.now(UTC)

    def _include_router(self, router: Any, _type: Any, **kwargs: Any) -> None:
        """The personality asks the plugin for it."""


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
    """The application: the kernels component, and FastAPI with the personality's routes, on sockets that listen.

    policy: what is decided about kernels. publish(kernels): called before the personality is.
    """

    def __init__(
        self,
        settings: Settings,
        socks: Sequence[socket.socket],
        policy: StartPolicy,
        personality: Plugin,
        publish: Callable[[_Kernels], None],
    ) -> None:
        self.settings = settings
        self._policy = policy
        self._personality = personality
        self._publish = publish
        self.ready = False
        self._socks = list(socks)
        self._fastapi = FastAPI(
            title="Jupyter Kernel Gateway",
            version=__version__,
            debug=False,
            redirect_slashes=False,
            docs_url=None,
            redoc_url=None,
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Until `stop`; returns when all kernels have ended."""
        async with Context() as ctx:
            kernels = await self._start_kernels(ctx)
            stopping = asyncio.create_task(stop.wait(), name="stop")
            with boot():
                if not await self._begin(kernels.registry, stopping):
                    return
            await self._add_routes()
            server = self._make_server()
            serving = asyncio.create_task(server.serve(self._socks), name="HTTP server")
            self.ready = True
            logger.info("Serving at %s", self.url)
            try:
                await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
                self.ready = False
                await self._end()
                await kernels.registry.stop()  # ends the requests that wait for a kernel, and closes the WebSockets
            finally:
                server.should_exit = True
                stopping.cancel()
                await asyncio.gather(stopping, return_exceptions=True)
                await serving

    @property
    def url(self) -> str:
        """Where it is to be found, on the first of its addresses."""
        host, port = self._socks[0].getsockname()[:2]
        scheme = "https" if self.settings.listening.tls is not None else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{self.settings.base_url}"

    async def _start_kernels(self, ctx: Context) -> _Kernels:
        settings = self.settings
        ctx.add_resource(HeadlessApp(), types=App)
        ctx.add_resource(TokenAuth(), types=Auth)
        ctx.add_resource(FrontendConfig(base_url=settings.base_url))
        component = KernelsComponent(**settings.kernels.model_dump(exclude_unset=True))
        component.policy = self._policy
        await component.start(ctx)
        kernels: Any = await ctx.request_resource(Kernels)
        self._publish(kernels)
        return kernels  # type: ignore[no-any-return]

    async def _add_routes(self) -> None:
        self._fastapi.add_exception_handler(HTTPException, _as_json)
        add_health(self._fastapi, lambda: self.ready)  # first: it needs no token, and a personality's routes do
        self._fastapi.include_router(await self._personality.create_request_handlers())
        add_documents(self._fastapi, self.settings.base_url, await self._personality.describe())

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
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self._personality.shutdown()
        except TimeoutError:
            logger.warning("%s did not come to its end within %d s", self._personality.api, DRAIN_TIMEOUT_S)
        except KernelsError as exc:
            logger.error("%s", exc.message)

    def _make_server(self) -> Server:
        listening = self.settings.listening
        base_url = self.settings.base_url
        inside = BelowBaseUrl(self._fastapi, base_url)

        def is_known(scope: Scope) -> bool:
            return inside.reaches(scope["path"]) and any(
                _answers(route, inside.inside(scope)) for route in self._fastapi.routes
            )

        app: ASGIApp = AccessControl(
            inside, self.settings.access, base_url, is_known, self._personality.open_paths
        )
        if listening.trust_proxy:
            app = TrustedProxy(app)
        return make_server(app, listening.tls, listening.ping_interval_s or None)
