"""Walks every route, mount and WebSocket path of an application that is served, and tells which of them answer."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpx
from starlette.types import ASGIApp

from fps_kernels.serving.http_server import make_server

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REFUSED = (401, 403)


def paths(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Kind (a method, or WS) and path of all that the routes can answer, with `x` for each parameter."""
    for route in routes:
        route = getattr(route, "_route", route)  # a guarded one
        if (included := getattr(route, "original_router", None)) is not None:  # by FastAPI, which does so lazily
            yield from paths(included.routes, prefix + getattr(route.include_context, "prefix", ""))
            continue
        path = prefix + re.sub(r"{[^}]*}", "x", getattr(route, "path", ""))
        inner = getattr(route, "routes", None)
        if inner:
            yield from paths(inner, path)
        elif hasattr(route, "methods"):
            yield from ((method, path) for method in METHODS if method in (route.methods or METHODS))
        elif type(route).__name__.endswith("WebSocketRoute"):
            yield "WS", path
        else:  # a mount of files, or of another application
            yield from ((method, f"{path}/x") for method in METHODS)
            yield "WS", f"{path}/x"


@contextlib.asynccontextmanager
async def served(app: ASGIApp, sock: socket.socket) -> AsyncIterator[str]:
    """An application on a socket that listens; yields its URL."""
    server = make_server(app, None, None)
    serving = asyncio.create_task(server.serve([sock]))
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def open_doors(url: str, kinds: Iterable[tuple[str, str]], **headers: str) -> set[str]:
    """Those of the kinds and paths that do not refuse a request with these headers, with their status."""
    found = set()
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30) as client:
        for kind, path in sorted(set(kinds)):
            if kind == "WS":
                status = await websocket_status(url, path, headers)
            else:
                status = (await client.request(kind, path)).status_code
            if status not in REFUSED:
                found.add(f"{kind} {path} {status}")
    return found


async def websocket_status(url: str, path: str, headers: dict[str, str]) -> int:
    """The status that answers a request for a WebSocket."""
    host = headers.get("Host", url.removeprefix("http://"))
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        *(f"{name}: {value}" for name, value in headers.items() if name != "Host"),
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    address, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(address, int(port))
    try:
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        async with asyncio.timeout(60):
            line = await reader.readline()
        return int(line.split()[1])
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
