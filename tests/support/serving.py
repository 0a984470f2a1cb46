"""An application, served in the test's own process as our servers serve theirs."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fps_kernels.serving.http_server import Server, ServingLimits, make_server


@asynccontextmanager
async def serving(
    app: Any,
    ping_interval_s: float = 20,
    limits: ServingLimits = ServingLimits(),  # noqa: B008 - frozen
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[Server, int]]:
    server = make_server(app, tls, ping_interval_s, limits)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield server, listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task
