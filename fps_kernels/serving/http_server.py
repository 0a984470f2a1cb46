"""uvicorn as our own servers want it: the gateway's, and JupyterLab's."""

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
"""For requests and WebSockets that are open when the server is asked to stop."""
MAX_MESSAGE_BYTES = 1024 * 1024 * 1024
"""Of a WebSocket; the original has no bound, as Tornado's is raised by jupyter_server."""
REUSED_BYTES = 4 * 1024 * 1024
"""Memory up to this size is used again instead of being given back to the system and faulted in anew."""


class Server(uvicorn.Server):
    """Signals are the application's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_server(
    app: ASGIApp,
    tls: ssl.SSLContext | None,
    ping_interval_s: float | None,
    limits: WebSocketLimits = WebSocketLimits(),  # noqa: B008 - frozen
) -> Server:
    """tls: None to serve in the clear. ping_interval_s: between pings of a WebSocket, and for their answers."""
    bytes(REUSED_BYTES)  # glibc keeps what is no larger than what was freed once: mallopt(3), M_MMAP_THRESHOLD
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        lifespan="off",
        proxy_headers=False,  # TrustedProxy is ours
        server_header=False,
        ws=cast(type[asyncio.Protocol], partial(WebSocketProtocol, limits=limits)),
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # the client is near, or a proxy before it compresses
        ws_ping_interval=ping_interval_s,
        ws_ping_timeout=ping_interval_s,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    config.load()
    config.ssl = tls
    return Server(config)


def url_of(host: str, port: int, tls: ssl.SSLContext | None) -> str:
    """With a slash at its end. host: an IPv6 address without brackets."""
    return f"{'https' if tls is not None else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"
