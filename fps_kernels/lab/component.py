"""The root of the application: jupyverse's, with another HTTP server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from asphalt.core import Context, context_teardown
from asphalt.web.asgi3 import ASGIComponent
from jupyverse_api.main import JupyverseComponent
from uvicorn import Config

from ..batching import BatchingProtocol
from ..gateway.server import MAX_MESSAGE_BYTES, STOP_TIMEOUT_S, Server

PING_INTERVAL_S = 20


class _ServerComponent(ASGIComponent[Any]):
    """Serves on sockets that listen already, and writes WebSocket frames in batches."""

    socks: Sequence[socket.socket] = ()
    tls: ssl.SSLContext | None = None

    @context_teardown
    async def start_server(self, ctx: Context) -> AsyncGenerator[None, Exception | None]:
        config = Config(
            self.app,
            access_log=False,
            log_config=None,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            ws=BatchingProtocol,
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,  # the browser is near, or a proxy before it compresses
            ws_ping_interval=PING_INTERVAL_S,
            ws_ping_timeout=PING_INTERVAL_S,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
        )
        config.load()
        config.ssl = self.tls
        server = Server(config)
        serving = asyncio.create_task(server.serve(list(self.socks)), name="HTTP server")

        yield

        server.should_exit = True
        await serving


class LabComponent(JupyverseComponent, _ServerComponent):
    """components: as of jupyverse. socks: where it listens."""

    def __init__(
        self, components: dict[str, Any], socks: Sequence[socket.socket], tls: ssl.SSLContext | None, **options: Any
    ) -> None:
        host, port = socks[0].getsockname()[:2]
        super().__init__(components, host=host, port=port, debug=False, **options)
        self.socks = socks
        self.tls = tls

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls is not None else 'http'}://{host}:{self.port}/"
