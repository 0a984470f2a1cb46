"""uvicorn, configured for the servers of our own commands: the gateway's and JupyterLab's."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from functools import partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from ..websocket.flow_control import WebSocketLimits
from ..websocket.protocol import WebSocketProtocol

STOP_TIMEOUT_S = 15
"""Seconds that open requests and WebSockets have to end when the server stops."""
MAX_MESSAGE_BYTES = 1024 * 1024 * 1024
"""Size of the largest WebSocket message. Kernel Gateway has no bound, as jupyter_server lifts Tornado's."""
REUSED_BYTES = 4 * 1024 * 1024
"""Freeing one block this large raises glibc's mmap threshold, so smaller buffers are reused instead of unmapped."""


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to its application."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_server(
    app: ASGIApp,
    tls: ssl.SSLContext | None,
    ping_interval_s: float | None,
    limits: WebSocketLimits = WebSocketLimits(),  # noqa: B008 - frozen
) -> Server:
    """A server that has not started.

    tls: None to serve without TLS.
    ping_interval_s: seconds between the pings of a WebSocket, and seconds to wait for each pong; None or 0: no pings.
    limits: the bounds of each WebSocket connection.
    """
    bytes(REUSED_BYTES)  # freed immediately; see mallopt(3), M_MMAP_THRESHOLD
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        lifespan="off",
        proxy_headers=False,  # TrustedProxy does that
        server_header=False,
        ws=cast(type[asyncio.Protocol], partial(WebSocketProtocol, limits=limits)),
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # the client is near, or a proxy compresses
        ws_ping_interval=ping_interval_s,
        ws_ping_timeout=ping_interval_s,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    config.load()
    config.ssl = tls
    return Server(config)


def url_of(host: str, port: int, tls: ssl.SSLContext | None) -> str:
    """The server's URL, with a slash at the end. host: a name or an address, IPv6 without brackets."""
    return f"{'https' if tls is not None else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"
