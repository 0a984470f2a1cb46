"""Walks every route, mount and WebSocket path of an application that is served, and tells which of them answer."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.types import ASGIApp

from fps_kernels.serving.http_server import make_server
from fps_kernels.serving.json_responses import error_response

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REFUSED = (401, 403)


@dataclass(frozen=True)
class Answer:
    """What answers a request: to HEAD, only the length of what GET would get."""

    status: int
    body: bytes
    length: int

    def says(self, *messages: str) -> bool:
        """Whether it is an error of ours with one of these messages."""
        bodies = [bytes(error_response(self.status, message).body) for message in messages]
        return self.body in bodies if self.body else self.length in map(len, bodies)


IsRefusal = Callable[[str, Answer], bool]
"""Says of a path's answer whether it is a refusal."""


def is_refused(path: str, answer: Answer) -> bool:
    return answer.status in REFUSED


def routes_within(app: Any) -> Iterator[Any]:
    """The routes of an application: of each of our middlewares, routers and what they hand the rest to."""
    yield from getattr(app, "routes", ())
    for name in ("_app", "app", "default"):
        inner = vars(app).get(name) if hasattr(app, "__dict__") else None
        if inner is not None:
            yield from routes_within(inner)


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


def listener() -> socket.socket:
    """A socket that listens, as servers have it: asyncio sets TCP_NODELAY only where the protocol is named."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


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


async def open_doors(
    url: str, kinds: Iterable[tuple[str, str]], is_refusal: IsRefusal = is_refused, /, **headers: str
) -> set[str]:
    """Those of the kinds and paths that do not refuse a request with these headers, with their status."""
    found = set()
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30) as client:
        for kind, path in sorted(set(kinds)):
            if kind == "WS":
                answer = await websocket_answer(url, path, headers)
            else:
                response = await client.request(kind, path)
                length = int(response.headers.get("content-length", 0))
                answer = Answer(response.status_code, response.content, length)
            if not is_refusal(path, answer):
                found.add(f"{kind} {path} {answer.status}")
    return found


async def websocket_answer(url: str, path: str, headers: dict[str, str]) -> Answer:
    """What answers a request for a WebSocket."""
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
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int((re.findall(r"^content-length: (\d+)", head, re.MULTILINE) or [0])[0])
            return Answer(int(head.split()[1]), await reader.readexactly(length), length)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def websocket_status(url: str, path: str, headers: dict[str, str]) -> int:
    """The status that answers a request for a WebSocket."""
    return (await websocket_answer(url, path, headers)).status
