"""uvicorn, configured for the servers of our own commands: the gateway's and JupyterLab's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from typing import cast

import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from ..websocket.message_budget import MessageBudget
from ..websocket.protocol import WebSocketProtocol
from .acceptor import Acceptor, default_max_connections
from .access.refusal_log import RefusalLog
from .connection_table import ConnectionTable, Slot
from .failure_log import FailureLog
from .http_protocol import HTTPProtocol
from .request_ids import RequestIds
from .serving_limits import ServingLimits
from .unix_socket import host_of, is_unix

__all__ = ["Server", "ServingLimits", "make_server", "url_of"]

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 15
"""Seconds that open requests and WebSockets have to end when the server stops."""
REUSED_BYTES = 4 * 1024 * 1024
"""Freeing one block this large raises glibc's mmap threshold, so smaller buffers are reused instead of unmapped."""


class LeavingClients:
    """An application without an error for each client that leaves, or is cut off, in the middle of its request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            logger.debug("A client left in the middle of its request")


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to its application, and has bounds.

    limits: the bounds on what clients may cost.
    """

    def __init__(self, config: uvicorn.Config, limits: ServingLimits = ServingLimits()) -> None:  # noqa: B008 - frozen
        super().__init__(config)
        self._limits = limits
        self._acceptor: Acceptor | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections on sockets that listen already. Called by uvicorn, in place of its own method."""
        assert sockets is not None
        limits = self._limits
        refusals = RefusalLog()
        await self.lifespan.startup()

        def make_protocol(slot: Slot) -> asyncio.Protocol:
            return HTTPProtocol(self.config, self.server_state, self.lifespan.state, limits, slot, refusals)

        bound = default_max_connections() if limits.max_connections is None else limits.max_connections
        table = ConnectionTable(bound, limits.reserved_connections)
        self.servers = []  # of the event loop
        self._acceptor = Acceptor(table, make_protocol, self.config.ssl, limits.head_timeout_s)
        self._acceptor.start(sockets)
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._acceptor is not None:
            await self._acceptor.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_server(
    app: ASGIApp,
    tls: ssl.SSLContext | None,
    ping_interval_s: float | None,
    limits: ServingLimits = ServingLimits(),  # noqa: B008 - frozen
) -> Server:
    """A server that has not started.

    tls: None to serve without TLS.
    ping_interval_s: seconds between the pings of a WebSocket, and seconds to wait for each pong; None or 0: no pings.
    limits: the bounds on what clients may cost.
    """
    bytes(REUSED_BYTES)  # freed immediately; see mallopt(3), M_MMAP_THRESHOLD
    refusals = RefusalLog()
    websocket = partial(
        WebSocketProtocol,
        limits=limits.websocket,
        budget=MessageBudget(limits.held_max_bytes, limits.held_max_bytes),
        size_option="ws_max_message_bytes",
        on_invalid=lambda client, status, why: refusals.refused({"client": client, "path": "a WebSocket"}, status, why),
    )
    config = uvicorn.Config(
        RequestIds(LeavingClients(FailureLog(app))),
        interface="asgi3",
        http="h11",
        access_log=False,
        log_config=None,
        lifespan="off",
        proxy_headers=False,  # TrustedProxy does that
        server_header=False,
        ws=cast(type[asyncio.Protocol], websocket),
        ws_max_size=limits.max_message_bytes,
        ws_per_message_deflate=False,  # the client is near, or a proxy compresses
        ws_ping_interval=ping_interval_s,
        ws_ping_timeout=ping_interval_s,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    config.load()
    config.ssl = tls
    return Server(config, limits)


def url_of(sock: socket.socket, tls: ssl.SSLContext | None) -> str:
    """The URL of a server that listens on a socket, with a slash at the end; of a Unix socket as Jupyter writes it."""
    if is_unix(sock):
        return f"{'https' if tls is not None else 'http'}+unix://{host_of(sock.getsockname())}/"
    host, port = sock.getsockname()[:2]
    return f"{'https' if tls is not None else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"
