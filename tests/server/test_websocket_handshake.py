"""Handshake, denial and close of a WebSocket: to applications and clients, ours is what uvicorn's own is."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from websockets.frames import Frame, Opcode

from fps_kernels.serving.http_server import Server
from fps_kernels.websocket.protocol import WebSocketProtocol

App = Callable[[Any, Any], Awaitable[object]]

REQUEST = (
    b"GET /a%20b/%C3%A4?x=%20y&z HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: one, two\r\nSec-WebSocket-Protocol: three\r\nX-Name: J\xfcrgen\r\nCookie: a=b\r\n\r\n"
)


@dataclass
class Seen:
    """What application, client and log see of one connection."""

    scope: dict[str, Any] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    answer: bytes = b""
    log: list[str] = field(default_factory=list)


async def run(ws: Any, app: App, opening: bytes, frames: bytes, caplog: pytest.LogCaptureFixture) -> Seen:
    """Serve one connection to its end. The client's frames are sent once its request is answered."""
    seen = Seen()

    async def recorded(scope: Any, receive: Any, send: Any) -> object:
        seen.scope = dict(scope)

        async def recorded_receive() -> Any:
            seen.events.append(await receive())
            return seen.events[-1]

        async def recorded_send(message: Any) -> None:
            try:
                await send(message)
            except Exception as exc:
                seen.events.append(OSError if isinstance(exc, OSError) else (type(exc), str(exc)))
                raise

        return await app(recorded_receive, recorded_send)

    config = uvicorn.Config(
        recorded,
        ws=ws,
        log_config=None,
        lifespan="off",
        root_path="/root",
        headers=[("X-Served", "yes")],
        ws_per_message_deflate=False,
        log_level="debug",
    )
    server = Server(config)
    caplog.clear()
    with socket.create_server(("127.0.0.1", 0)) as listening, caplog.at_level(logging.INFO, "uvicorn.error"):
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        async with asyncio.timeout(30):
            writer.write(opening)
            if frames:
                seen.answer = await reader.readuntil(b"\r\n\r\n")
                writer.write(frames)
            seen.answer += await reader.read()
        writer.close()
        while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        server.should_exit = True
        await serving
    client = re.compile(r"127\.0\.0\.1:\d+")
    seen.log = [
        client.sub("CLIENT", f"{record.levelname} {record.getMessage()}")
        for record in caplog.records
        if record.name == "uvicorn.error" and "server process" not in record.getMessage()
    ]
    return seen


def without_date(answer: bytes) -> bytes:
    return re.sub(rb"(?i)date: [^\r]*\r\n", b"Date\r\n", answer)


async def accept(receive: Any, send: Any, **more: Any) -> None:
    await receive()
    await send({"type": "websocket.accept", **more})


async def accepts_and_closes(receive: Any, send: Any) -> None:
    await accept(receive, send, subprotocol="two", headers=[(b"X-Own", b"\xfc"), (b"x-own", b"b")])
    await send({"type": "websocket.send", "text": "ä"})
    await send({"type": "websocket.send", "bytes": b"\0", "text": None})
    await send({"type": "websocket.close", "code": 3001, "reason": "bye"})
    await receive()


async def refuses(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close"})
    await receive()


async def denies(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.http.response.start", "status": 418, "headers": [(b"x-why", b"tea")]})
    await send({"type": "websocket.http.response.body", "body": b"no ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"coffee"})
    await receive()


async def denies_in_its_own_words(receive: Any, send: Any) -> None:
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2"), (b"date", b"today")]
    await send({"type": "websocket.http.response.start", "status": 599, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"{}"})


async def denies_without_a_status(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.http.response.start", "status": 99, "headers": []})


async def breaks_off_a_denial(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b"no", "more_body": True})


async def fails(receive: Any, send: Any) -> None:
    await receive()
    raise ValueError("a bug")


async def returns(receive: Any, send: Any) -> None:
    await receive()


async def returns_something(receive: Any, send: Any) -> object:
    await accept(receive, send)
    return "something"


async def fails_later(receive: Any, send: Any) -> None:
    await accept(receive, send)
    raise ValueError("a bug")


async def sends_before_it_accepts(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.send", "text": "x"})


async def sends_after_it_closed(receive: Any, send: Any) -> None:
    await accept(receive, send)
    await send({"type": "websocket.close"})
    await send({"type": "websocket.send", "text": "x"})


async def accepts_twice(receive: Any, send: Any) -> None:
    await accept(receive, send)
    await send({"type": "websocket.accept"})


async def listens(receive: Any, send: Any) -> None:
    await accept(receive, send)
    while (await receive())["type"] == "websocket.receive":
        continue


async def answers_after_the_end(receive: Any, send: Any) -> None:
    await listens(receive, send)
    await send({"type": "websocket.close"})
    await send({"type": "websocket.send", "text": "x"})


def frame(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


CLOSE = frame(Opcode.CLOSE, b"\x0f\xa0why")
WITHOUT_KEY = re.sub(rb"Sec-WebSocket-Key[^\r]*\r\n", b"", REQUEST)

CASES: dict[str, tuple[App, bytes, bytes]] = {
    "accepted, then closed by the application": (accepts_and_closes, REQUEST, CLOSE),
    "refused": (refuses, REQUEST, b""),
    "denied": (denies, REQUEST, b""),
    "denied with headers": (denies_in_its_own_words, REQUEST, b""),
    "denied without a status": (denies_without_a_status, REQUEST, b""),
    "failure": (fails, REQUEST, b""),
    "no answer": (returns, REQUEST, b""),
    "a result": (returns_something, REQUEST, b""),
    "failure after accepting": (fails_later, REQUEST, b""),
    "message before accepting": (sends_before_it_accepts, REQUEST, b""),
    "message after closing": (sends_after_it_closed, REQUEST, CLOSE),
    "accepted twice": (accepts_twice, REQUEST, b""),
    "no key": (listens, WITHOUT_KEY, b""),
    "another version": (listens, REQUEST.replace(b"Version: 13", b"Version: 12"), b""),
    "closed by the client": (listens, REQUEST, frame(Opcode.TEXT, b"x") + CLOSE),
    "closed without a code": (listens, REQUEST, frame(Opcode.CLOSE, b"")),
    "answers after the end": (answers_after_the_end, REQUEST, CLOSE),
    "close frame that is too short": (listens, REQUEST, b"\x88\x81masku"),
    "close frame amid fragments": (listens, REQUEST, frame(Opcode.TEXT, b"x", fin=False) + CLOSE),
    "fragments": (
        listens,
        REQUEST,
        frame(Opcode.TEXT, b"\xc3", fin=False)
        + frame(Opcode.PING, b"between")
        + frame(Opcode.CONT, b"\xa4", fin=False)
        + frame(Opcode.CONT, b"")
        + CLOSE,
    ),
    "invalid UTF-8": (listens, REQUEST, frame(Opcode.TEXT, b"\xff")),
    "unmasked": (listens, REQUEST, b"\x81\x01x"),
}


FORGOTTEN = "ERROR ASGI callable returned without completing handshake."


@pytest.mark.parametrize("name", CASES)
async def test_a_connection_is_what_it_is_with_uvicorns_own_protocol(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, opening, frames = CASES[name]
    theirs = await run("websockets-sansio", app, opening, frames, caplog)
    ours = await run(WebSocketProtocol, app, opening, frames, caplog)
    if name in ("denied", "denied with headers"):  # uvicorn forgets that a response is an answer
        theirs.log = [line for line in theirs.log if line != FORGOTTEN]
    for seen in (theirs, ours):
        seen.scope.pop("client", None)
        seen.scope.pop("server", None)
        seen.scope.pop("extensions", None)
        seen.answer = without_date(seen.answer)
    assert ours == theirs
    assert ours.answer


async def test_a_denial_that_breaks_off_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    assert not (await run(WebSocketProtocol, breaks_off_a_denial, REQUEST, b"", caplog)).answer


async def test_a_request_that_the_state_machine_does_not_take_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    seen = await run(WebSocketProtocol, listens, REQUEST.replace(b"a=b", b"a" * 10_000), b"", caplog)
    assert seen.answer.startswith(b"HTTP/1.1 431 ")
    assert not seen.scope


async def test_the_scope_names_both_ends(caplog: pytest.LogCaptureFixture) -> None:
    seen = await run(WebSocketProtocol, refuses, REQUEST, b"", caplog)
    assert seen.scope["client"][0] == seen.scope["server"][0] == "127.0.0.1"
    assert isinstance(seen.scope["client"][1], int)
    assert (seen.scope["scheme"], seen.scope["path"]) == ("ws", "/root/a b/ä")
