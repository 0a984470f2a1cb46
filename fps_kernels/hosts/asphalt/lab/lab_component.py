"""The root component: jupyverse's, with our HTTP server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from asphalt.core import Context, context_teardown
from asphalt.web.asgi3 import ASGIComponent
from jupyverse_api.main import JupyverseComponent
from starlette.types import ASGIApp

from ....serving.head_and_options import HeadAndOptions
from ....serving.http_server import ServingLimits, make_server, url_of
from ....serving.own_redirects import OwnRedirects
from ....serving.unix_socket import is_unix

PING_INTERVAL_S = 20


class _ServerComponent(ASGIComponent[Any]):
    """An HTTP server on sockets that listen already; it writes WebSocket frames in batches."""

    socks: Sequence[socket.socket] = ()
    tls: ssl.SSLContext | None = None
    limits = ServingLimits()
    layer: Callable[[ASGIApp], ASGIApp]

    @context_teardown
    async def start_server(self, ctx: Context) -> AsyncGenerator[None, Exception | None]:
        server = make_server(self.layer(OwnRedirects(HeadAndOptions(self.app))), self.tls, PING_INTERVAL_S, self.limits)
        serving = asyncio.create_task(server.serve(list(self.socks)), name="HTTP server")

        yield

        server.should_exit = True
        await serving


class LabComponent(JupyverseComponent, _ServerComponent):
    """JupyterLab and the other plugins of Jupyverse.

    components: the configuration of the plugins, by name.
    socks: the sockets that the server listens on.
    layer: puts around the application what decides who may come in.
    limits: the bounds on what clients may cost.
    """

    def __init__(
        self,
        components: dict[str, Any],
        socks: Sequence[socket.socket],
        tls: ssl.SSLContext | None,
        layer: Callable[[ASGIApp], ASGIApp],
        limits: ServingLimits = ServingLimits(),  # noqa: B008 - frozen
    ) -> None:
        # jupyverse takes only names and ports
        host, port = ("localhost", 0) if is_unix(socks[0]) else socks[0].getsockname()[:2]
        super().__init__(components, host=host, port=port, debug=False)
        self.socks = socks
        self.tls = tls
        self.limits = limits
        self.layer = layer

    @property
    def url(self) -> str:
        """The address of the server."""
        return url_of(self.socks[0], self.tls)
