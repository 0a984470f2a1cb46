"""The root component: jupyverse's, with our HTTP server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

from asphalt.core import Context, context_teardown
from asphalt.web.asgi3 import ASGIComponent
from jupyverse_api.kernels import Kernels
from jupyverse_api.main import JupyverseComponent
from starlette.types import ASGIApp

from ....api.metrics_server import MetricsServer
from ....api.unused_server import UnusedServer
from ....serving.head_and_options import HeadAndOptions
from ....serving.http_server import ServingLimits, make_server, url_of
from ....serving.own_redirects import OwnRedirects
from ....serving.unix_socket import is_unix
from ....tasks import cancel_and_wait
from .lab_routes import with_lab_routes
from .pages.plugins_replaced import PluginsReplaced

PING_INTERVAL_S = 20


class _ServerComponent(ASGIComponent[Any]):
    """An HTTP server on sockets that listen already; it writes WebSocket frames in batches."""

    socks: Sequence[socket.socket] = ()
    tls: ssl.SSLContext | None = None
    limits = ServingLimits()
    layer: Callable[[ASGIApp], ASGIApp]
    base_url = "/"
    no_activity_timeout_s = 0.0
    shut_down: Callable[[], None]
    metrics: MetricsServer | None = None

    @context_teardown
    async def start_server(self, ctx: Context) -> AsyncGenerator[None, Exception | None]:
        address = f"{url_of(self.socks[0], self.tls)[:-1]}{self.base_url}"
        replaced = PluginsReplaced(ctx, self.base_url, address, Path.cwd())
        app = with_lab_routes(self.app, self.app.router.routes, self.base_url, self.shut_down, replaced.routes)
        app = OwnRedirects(HeadAndOptions(app))
        unused = None
        kernels: Any = None
        if self.no_activity_timeout_s or self.metrics is not None:
            kernels = await ctx.request_resource(Kernels)
        if self.no_activity_timeout_s:
            unused = UnusedServer(kernels.registry, self.no_activity_timeout_s, self.base_url, replaced.has_terminals)
            app = unused.watch_requests(app)
        server = make_server(self.layer(app), self.tls, PING_INTERVAL_S, self.limits)
        serving = asyncio.create_task(server.serve(list(self.socks)), name="HTTP server")
        if self.metrics is not None:
            self.metrics.start(kernels.metrics_endpoint, kernels.host)
        watching = None if unused is None else asyncio.create_task(self._end(unused), name="unused server")

        yield

        await cancel_and_wait(watching)
        await replaced.close()
        if self.metrics is not None:
            await self.metrics.close()
        server.should_exit = True
        await serving

    async def _end(self, unused: UnusedServer) -> None:
        await unused.wait()
        self.shut_down()


class LabComponent(JupyverseComponent, _ServerComponent):
    """JupyterLab and the other plugins of Jupyverse.

    components: the configuration of the plugins, by name.
    socks: the sockets that the server listens on.
    layer: puts around the application what decides who may come in.
    limits: the bounds on what clients may cost.
    base_url: the path that all paths begin with.
    no_activity_timeout_s: seconds after which the server ends if nobody uses it; 0: never.
    shut_down: called when it is to end, by a client or by that.
    metrics: serves the numbers without a token; None: they need one.
    """

    def __init__(
        self,
        components: dict[str, Any],
        socks: Sequence[socket.socket],
        tls: ssl.SSLContext | None,
        layer: Callable[[ASGIApp], ASGIApp],
        limits: ServingLimits = ServingLimits(),  # noqa: B008 - frozen
        *,
        base_url: str = "/",
        no_activity_timeout_s: float = 0.0,
        shut_down: Callable[[], None] = lambda: None,
        metrics: MetricsServer | None = None,
    ) -> None:
        # jupyverse takes only names and ports
        host, port = ("localhost", 0) if is_unix(socks[0]) else socks[0].getsockname()[:2]
        super().__init__(components, host=host, port=port, debug=False)
        self.socks = socks
        self.tls = tls
        self.limits = limits
        self.layer = layer
        self.base_url = base_url
        self.no_activity_timeout_s = no_activity_timeout_s
        self.shut_down = shut_down
        self.metrics = metrics

    @property
    def url(self) -> str:
        """The address of the server."""
        return url_of(self.socks[0], self.tls)
