"""Handshake, denial and close of a WebSocket, as application, client and log see them.

Everything here is what uvicorn 0.54 does with its own protocol, except that it logs two lines for each request that is
refused, and an error after a denial.
"""

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
from fps_kernels.websocket.asgi import DELIVER_EXTENSION, WRITE_EXTENSION
from fps_kernels.websocket.protocol import WebSocketProtocol

App = Callable[[Any, Any], Awaitable[object]]

REQUEST = (
    b"GET /a%20b/%C3%A4?x=%20y&z HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: one, two\r\nSec-WebSocket-Protocol: three\r\nX-Name: J\xfcrgen\r\nCookie: a=b\r\n\r\n"
)


SERVER = re.compile("server process|Shutting down")
"""What uvicorn logs of itself."""


@dataclass
class Seen:
    """What application, client and log see of one connection."""

    scope: dict[str, Any] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    answer: bytes = b""
    log: list[str] = field(default_factory=list)


async def run(app: App, opening: bytes, frames: bytes, caplog: pytest.LogCaptureFixture) -> Seen:
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
        ws=WebSocketProtocol,
        log_config=None,
        lifespan="off",
        root_path="/root",
        headers=[("X-Served", "yes")],
        ws_per_message_deflate=False,
    )
    server = Server(config)
    caplog.clear()
    with socket.create_server(("127.0.0.1", 0)) as listening, caplog.at_level(logging.INFO, "uvicorn.error"):
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        async with asyncio.timeout(60):
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
        if record.name == "uvicorn.error" and not SERVER.search(record.getMessage())
    ]
    return seen


def without_date(answer: bytes) -> bytes:
    return re.sub(rb"(?i)date: [^\r]*\r\n", b"Date\r\n", answer)


async def accept(receive: Any, send: Any, **more: Any) -> None:
    await receive()
    await send({"type": "websocket.accept", **more})


async def accepts_and_closes(receive: Any, send: Any) -> None:
    await accept(receive, send, subprotocol="two", headers=[(b"X-Own", b"a"), (b"x-own", b"b")])
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

PATH = '"WebSocket /root/a%20b/%C3%A4?x=%20y&z"'
OPENED = [f"INFO CLIENT - {PATH} [accepted]", "INFO connection open"]
FAILED = ["ERROR Exception in ASGI application\n"]


def disconnect(code: int, reason: str | None = None) -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code} | ({} if reason is None else {"reason": reason})


def opened(frames: bytes, headers: bytes = b"") -> bytes:
    """The answer that accepts, and what follows it."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nDate\r\nserver: uvicorn\r\nx-served: yes\r\n"
        + headers
        + b"\r\n"
        + frames
    )


def rejected(status: bytes, text: bytes = b"") -> bytes:
    return (
        b"HTTP/1.1 %b\r\nDate\r\nConnection: close\r\nContent-Length: %d\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n%b" % (status, len(text), text)
    )


ERROR_500 = rejected(b"500 Internal Server Error", b"Internal Server Error")


@dataclass
class Case:
    """An application and its client; `events` are what the application sees after `websocket.connect`."""

    app: App
    answer: bytes
    log: list[str]
    events: list[Any] = field(default_factory=list)
    opening: bytes = REQUEST
    frames: bytes = b""


CASES = {
    "accepted, then closed by the application": Case(
        accepts_and_closes,
        opened(
            b"\x81\x02\xc3\xa4\x82\x01\0\x88\x05\x0b\xb9bye",
            b"x-own: a\r\nx-own: b\r\nSec-WebSocket-Protocol: two\r\n",
        ),
        OPENED,
        [disconnect(3001, "bye")],
        frames=CLOSE,
    ),
    "refused": Case(
        refuses,
        rejected(b"403 Forbidden"),
        [],
        [disconnect(1006)],
    ),
    "denied": Case(
        denies,
        rejected(b"418 I'm a Teapot", b"no coffee").replace(b"Date", b"x-why: tea\r\nDate"),
        [],
        [disconnect(1006)],
    ),
    "denied with headers": Case(
        denies_in_its_own_words,
        b"HTTP/1.1 599 \r\ncontent-type: application/json\r\ncontent-length: 2\r\nDate\r\nConnection: close\r\n\r\n{}",
        [],
    ),
    "denied without a status": Case(
        denies_without_a_status,
        ERROR_500,
        FAILED,
        [(RuntimeError, "Invalid HTTP status code '99' in response.")],
    ),
    "failure": Case(fails, ERROR_500, FAILED),
    "no answer": Case(returns, ERROR_500, ["ERROR ASGI callable returned without completing handshake."]),
    "a result": Case(
        returns_something,
        opened(b""),
        [*OPENED, "ERROR ASGI callable should return None, but returned 'something'."],
    ),
    "failure after accepting": Case(fails_later, opened(b""), OPENED + FAILED),
    "message before accepting": Case(
        sends_before_it_accepts,
        ERROR_500,
        FAILED,
        [
            (
                RuntimeError,
                "Expected ASGI message 'websocket.accept', 'websocket.close' or 'websocket.http.response.start' "
                "but got 'websocket.send'.",
            )
        ],
    ),
    "message after closing": Case(
        sends_after_it_closed,
        opened(b"\x88\x02\x03\xe8"),
        OPENED + FAILED,
        [(RuntimeError, "Unexpected ASGI message 'websocket.send', after sending 'websocket.close'.")],
        frames=CLOSE,
    ),
    "accepted twice": Case(
        accepts_twice,
        opened(b""),
        OPENED + FAILED,
        [
            (
                RuntimeError,
                "Expected ASGI message 'websocket.send' or 'websocket.close', but got 'websocket.accept'.",
            )
        ],
    ),
    "closed by the client": Case(
        listens,
        opened(b"\x88\x05\x0f\xa0why"),
        OPENED,
        [{"type": "websocket.receive", "text": "x"}, disconnect(4000, "why")],
        frames=frame(Opcode.TEXT, b"x") + CLOSE,
    ),
    "closed without a code": Case(
        listens, opened(b"\x88\0"), OPENED, [disconnect(1005, "")], frames=frame(Opcode.CLOSE, b"")
    ),
    "answers after the end": Case(
        answers_after_the_end,
        opened(b"\x88\x05\x0f\xa0why"),
        OPENED,
        [disconnect(4000, "why"), OSError],
        frames=CLOSE,
    ),
    "close frame that is too short": Case(
        listens,
        opened(b"\x88\x17\x03\xeaclose frame too short"),
        OPENED,
        [disconnect(1002, "close frame too short")],
        frames=b"\x88\x81masku",
    ),
    "close frame amid fragments": Case(
        listens,
        opened(b"\x88\x1f\x03\xeaincomplete fragmented message"),
        OPENED,
        [disconnect(1002, "incomplete fragmented message")],
        frames=frame(Opcode.TEXT, b"x", fin=False) + CLOSE,
    ),
    "fragments": Case(
        listens,
        opened(b"\x8a\x07between\x88\x05\x0f\xa0why"),
        OPENED,
        [{"type": "websocket.receive", "text": "ä"}, disconnect(4000, "why")],
        frames=frame(Opcode.TEXT, b"\xc3", fin=False)
        + frame(Opcode.PING, b"between")
        + frame(Opcode.CONT, b"\xa4", fin=False)
        + frame(Opcode.CONT, b"")
        + CLOSE,
    ),
    "invalid UTF-8": Case(
        listens,
        opened(b"\x88\x02\x03\xef"),
        [*OPENED, "ERROR Invalid UTF-8 sequence received from client."],
        [disconnect(1007, "")],
        frames=frame(Opcode.TEXT, b"\xff"),
    ),
    "unmasked": Case(
        listens,
        opened(b"\x88\x13\x03\xeaincorrect masking"),
        OPENED,
        [disconnect(1002, "incorrect masking")],
        frames=b"\x81\x01x",
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_what_application_client_and_log_see(name: str, caplog: pytest.LogCaptureFixture) -> None:
    case = CASES[name]
    seen = await run(case.app, case.opening, case.frames, caplog)
    assert seen.events == [{"type": "websocket.connect"}, *case.events]
    assert without_date(seen.answer) == case.answer
    assert seen.log == case.log


INVALID = {
    "no key": (WITHOUT_KEY, b"missing Sec-WebSocket-Key header"),
    "another version": (REQUEST.replace(b"Version: 13", b"Version: 12"), b"invalid Sec-WebSocket-Version header: 12"),
}


@pytest.mark.parametrize("name", INVALID)
async def test_an_invalid_request_is_rejected(name: str, caplog: pytest.LogCaptureFixture) -> None:
    opening, reason = INVALID[name]
    seen = await run(listens, opening, b"", caplog)
    text = b"Failed to open a WebSocket connection: %b.\n" % reason
    assert without_date(seen.answer) == rejected(b"400 Bad Request", text)
    assert not seen.log
    assert not seen.scope


async def test_a_denial_that_breaks_off_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    assert not (await run(breaks_off_a_denial, REQUEST, b"", caplog)).answer


LARGE = {
    "cookie": REQUEST.replace(b"a=b", b"a=" + b"x" * 60_000),
    "path": REQUEST.replace(b"/a%20b", b"/" + b"a" * 60_000),
    "number of headers": REQUEST.replace(b"Cookie", b"X-More: 1\r\n" * 900 + b"Cookie"),
}
TOO_LARGE = {
    "cookie": REQUEST.replace(b"a=b", b"a=" + b"x" * 66_000),
    "path": REQUEST.replace(b"/a%20b", b"/" + b"a" * 66_000),
    "number of headers": REQUEST.replace(b"Cookie", b"X-More: 1\r\n" * 1000 + b"Cookie"),
}


@pytest.mark.parametrize("what", LARGE)
async def test_a_request_may_be_as_large_as_any_other(what: str, caplog: pytest.LogCaptureFixture) -> None:
    seen = await run(accepts_and_closes, LARGE[what], CLOSE, caplog)
    assert seen.answer.startswith(b"HTTP/1.1 101 ")
    lines = LARGE[what].split(b"\r\n")[1:-2]
    pairs = [line.split(b": ", 1) for line in lines]
    assert seen.scope["headers"] == [(name.lower(), value) for name, value in pairs]
    target = LARGE[what].split(b" ")[1]
    assert seen.scope["raw_path"] + b"?" + seen.scope["query_string"] == b"/root" + target


@pytest.mark.parametrize("what", TOO_LARGE)
async def test_a_request_that_is_too_large_is_told_so(what: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        seen = await run(accepts_and_closes, TOO_LARGE[what], b"", caplog)
    assert seen.answer.startswith(b"HTTP/1.1 431 ")
    assert not seen.scope
    assert "headers have more than 65536 bytes" in caplog.text


NOT_UPGRADES = {
    "another method": (REQUEST.replace(b"GET", b"POST"), b"405 ", b"opened with GET"),
    "a body": (REQUEST.replace(b"Cookie", b"Content-Length: 5\r\nCookie") + b"12345", b"400 ", b"has a body"),
    "chunks": (REQUEST.replace(b"Cookie", b"Transfer-Encoding: chunked\r\nCookie"), b"400 ", b"has a body"),
}


@pytest.mark.parametrize("what", NOT_UPGRADES)
async def test_a_request_that_cannot_open_a_websocket_is_told_so(what: str, caplog: pytest.LogCaptureFixture) -> None:
    opening, status, why = NOT_UPGRADES[what]
    seen = await run(accepts_and_closes, opening, b"", caplog)
    assert seen.answer.startswith(b"HTTP/1.1 " + status)
    assert why in seen.answer
    assert not seen.scope


async def test_the_scope_tells_all_of_the_request(caplog: pytest.LogCaptureFixture) -> None:
    scope = (await run(refuses, REQUEST, b"", caplog)).scope
    client, server, extensions = scope.pop("client"), scope.pop("server"), scope.pop("extensions")
    assert client[0] == server[0] == "127.0.0.1"
    assert client[1] != server[1] > 0
    assert extensions.keys() == {"websocket.http.response", WRITE_EXTENSION, DELIVER_EXTENSION}
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "root_path": "/root",
        "path": "/root/a b/ä",
        "raw_path": b"/root/a%20b/%C3%A4",
        "query_string": b"x=%20y&z",
        "headers": [
            (b"host", b"here"),
            (b"upgrade", b"websocket"),
            (b"connection", b"keep-alive, Upgrade"),
            (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-protocol", b"one, two"),
            (b"sec-websocket-protocol", b"three"),
            (b"x-name", b"J\xfcrgen"),
            (b"cookie", b"a=b"),
        ],
        "subprotocols": ["one", "two", "three"],
        "state": {},
    }
