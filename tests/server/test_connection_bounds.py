"""What clients may cost a server that send nothing, too little, too slowly or too much: also with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from fps_kernels.gateway.app import KernelGatewayApp
from fps_kernels.gateway.config.read_settings import read
from fps_kernels.hosts.asphalt.lab.lab_options import read_options, serving_limits
from fps_kernels.serving import acceptor
from fps_kernels.serving.event_loop import new_loop
from fps_kernels.serving.http_server import ServingLimits
from fps_kernels.serving.tls import tls_context

from ..support.gateways import make_certificate
from ..support.serving import serving
from ..support.waits import until

Scope = dict[str, Any]
LOOPS = {"asyncio": asyncio.new_event_loop, "default": new_loop}
REQUEST = b"GET /x HTTP/1.1\r\nHost: here\r\n\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
WEBSOCKET = b"GET /ws HTTP/1.1\r\nHost: here\r\nSec-WebSocket-Version: 13\r\n" + UPGRADE + b"\r\n"
HURRY = ServingLimits(head_timeout_s=0.4, keep_alive_s=0.4, body_window_s=0.4, body_min_bytes=100, stuck_s=0.4)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest, certificate: tuple[str, str]) -> ssl.SSLContext | None:
    return tls_context(*certificate) if request.param else None


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine on one of the loops that servers run on."""

    def run(test: Coroutine[Any, Any, None]) -> None:
        async def in_time() -> None:
            async with asyncio.timeout(40):
                await test

        with asyncio.Runner(loop_factory=LOOPS[request.param], debug=True) as runner:
            runner.run(in_time())

    return run


class App:
    """An application: /x answers, /wait when it may, /body has read everything, /stream never ends; a WebSocket."""

    def __init__(self) -> None:
        self.may_go_on = asyncio.Event()
        self.asked = 0
        self.ended: list[str] = []

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] == "websocket.receive":
                continue
            return
        self.asked += 1
        try:
            await self.answer(scope["path"], receive, send)
        finally:
            self.ended.append(scope["path"])

    async def answer(self, path: str, receive: Any, send: Any) -> None:
        size = 0
        if path == "/wait":
            await self.may_go_on.wait()
        elif path in ("/body", "/late-body"):
            if path == "/late-body":
                await self.may_go_on.wait()
            while (event := await receive())["type"] == "http.request":
                size += len(event["body"])
                if not event["more_body"]:
                    break
            else:
                return
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")][: path == "/x"]}
        )
        while path == "/stream":
            disconnected = asyncio.create_task(receive())
            sending = asyncio.create_task(send({"type": "http.response.body", "body": bytes(10**6), "more_body": True}))
            await asyncio.wait([disconnected, sending], return_when=asyncio.FIRST_COMPLETED)
            if disconnected.done():
                sending.cancel()
                return
            disconnected.cancel()
        await send({"type": "http.response.body", "body": b"%8d" % size})


class Client:
    """A client that sends and reads what the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of a response that has a length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        return int(head.split()[1]), await self.reader.readexactly(int(fields.get(b"content-length", 0)))

    async def rest(self) -> bytes:
        """What comes until the server closes the connection."""
        got = bytearray()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await self.reader.read(65536):
                got += data
        return bytes(got)

    async def drip(self, byte: bytes = b"x") -> bytes:
        """Send a byte at a time until the server closes the connection; what it answered."""

        async def send() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await self.send(byte)
                    await asyncio.sleep(0.01)

        dripping = asyncio.create_task(send())
        try:
            return await self.rest()
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)


Connect = Callable[..., Awaitable[Client]]


@asynccontextmanager
async def served(app: Any, limits: ServingLimits, tls: ssl.SSLContext | None) -> AsyncIterator[tuple[Any, Connect]]:
    """The server, and connect(plain=False), which opens a connection to it."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    writers: list[asyncio.StreamWriter] = []
    async with serving(app, limits=limits, tls=tls) as (server, port):

        async def connect(plain: bool = False) -> Client:
            context = trusting if tls is not None and not plain else None
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writers.append(writer)
            return Client(reader, writer)

        try:
            yield server, connect
        finally:
            app.may_go_on.set()
            for writer in writers:
                writer.close()
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    await writer.wait_closed()


def message_of(answer: bytes) -> tuple[int, str]:
    """Status and message of an error."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head.lower()
    return int(head.split()[1]), json.loads(body)["message"]


Run = Callable[[Coroutine[Any, Any, None]], None]


def test_a_connection_that_says_nothing_is_closed(run: Run, tls: ssl.SSLContext | None) -> None:
    async def test() -> None:
        async with served(App(), HURRY, tls) as (server, connect):
            clients = [await connect(), await connect(plain=True)]  # with TLS, the second begins no handshake
            assert [await client.rest() for client in clients] == [b"", b""]
            await until(lambda: not server.server_state.connections)

    run(test())


@pytest.mark.parametrize("begun", [b"GET /x HTTP/1.1\r\nX-Slow: ", b"G", WEBSOCKET[:-10]])
def test_a_head_that_drips_is_refused(run: Run, tls: ssl.SSLContext | None, begun: bytes) -> None:
    async def test() -> None:
        app = App()
        async with served(app, HURRY, tls) as (_, connect):
            client = await connect()
            await client.send(begun)
            status, message = message_of(await client.drip())
            assert status == 408
            assert "0.4 s" in message
            later = await connect()
            await later.send(REQUEST)
            assert await later.answer() == (200, b"       0")
            await later.send(begun)
            assert message_of(await later.drip())[0] == 408
        assert app.asked == 1

    run(test())


def test_a_connection_between_two_requests_is_closed_without_an_answer(run: Run, tls: ssl.SSLContext | None) -> None:
    async def test() -> None:
        async with served(App(), HURRY, tls) as (_, connect):
            client = await connect()
            await client.send(REQUEST + REQUEST)
            assert [(await client.answer())[0] for _ in range(2)] == [200, 200]
            assert await client.rest() == b""

    run(test())


LENGTH = b"Host: here\r\nContent-Length: 100000\r\n\r\n"
CHUNKS = b"Host: here\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n"


@pytest.mark.parametrize("head", [LENGTH, CHUNKS], ids=["length", "chunks"])
def test_a_body_that_drips_is_refused(run: Run, tls: ssl.SSLContext | None, head: bytes) -> None:
    async def test() -> None:
        app = App()
        async with served(app, HURRY, tls) as (_, connect):
            client = await connect()
            await client.send(b"POST /body HTTP/1.1\r\n" + head)
            status, message = message_of(await client.drip())
            assert status == 408
            assert "body" in message
            await until(lambda: app.ended == ["/body"])
            answered = await connect()  # the application did not want the body, and has answered already
            await answered.send(b"POST /x HTTP/1.1\r\n" + head)
            assert (await answered.answer())[0] == 200
            assert await answered.drip() == b""

    run(test())


@pytest.mark.parametrize("leaves", [False, True], ids=["drips", "leaves"])
def test_a_body_that_breaks_off_is_no_error_in_the_log(
    run: Run, caplog: pytest.LogCaptureFixture, leaves: bool
) -> None:
    reading, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            async for _ in Request(scope, receive).stream():
                reading.set()
        finally:
            ended.set()

    async def test() -> None:
        async with serving(app, limits=HURRY) as (server, port):
            client = Client(*await asyncio.open_connection("127.0.0.1", port))
            await client.send(b"POST /body HTTP/1.1\r\n" + LENGTH + b"x")
            await reading.wait()
            if leaves:
                client.writer.close()
            else:
                assert message_of(await client.drip())[0] == 408
            await ended.wait()
            await until(lambda: not server.server_state.tasks)
            client.writer.close()

    run(test())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_a_body_that_the_application_does_not_want_yet_is_not_late(run: Run, expect: bytes) -> None:
    async def test() -> None:
        app = App()
        async with served(app, HURRY, None) as (_, connect):
            client = await connect()
            size = 20 * 1024 * 1024
            await client.send(
                b"POST /late-body HTTP/1.1\r\nContent-Length: %d\r\nHost: here\r\n%b\r\n" % (size, expect)
            )
            uploading = asyncio.create_task(client.send(bytes(size)))
            for _ in range(3):  # windows of others, which begin later
                other = await connect()
                await other.send(b"POST /body HTTP/1.1\r\n" + LENGTH)
                assert message_of(await other.drip())[0] == 408
            app.may_go_on.set()
            got = await client.reader.readuntil(b"%8d" % size)
            assert b" 200 OK" in got
            await uploading

    run(test())


def test_a_client_that_does_not_read_is_cut_off(run: Run, tls: ssl.SSLContext | None) -> None:
    async def test() -> None:
        app = App()
        async with served(app, HURRY, tls) as (server, connect):
            client = await connect()
            await client.send(b"GET /stream HTTP/1.1\r\nHost: here\r\n\r\n")
            await until(lambda: app.ended == ["/stream"] and not server.server_state.connections)
            await client.rest()

    run(test())


HEADS = {
    "one line": b"GET /x HTTP/1.1\r\nHost: here\r\nCookie: " + b"x" * 70_000 + b"\r\n\r\n",
    "many lines": b"GET /x HTTP/1.1\r\nHost: here\r\n" + b"X-Y: z\r\n" * 10_000 + b"\r\n",
    "more headers than anybody needs": b"GET /x HTTP/1.1\r\nHost: here\r\n" + b"A: b\r\n" * 1001 + b"\r\n",
    "a path": b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: here\r\n\r\n",
    "much more than is read at a time": b"GET /x HTTP/1.1\r\nHost: here\r\nCookie: " + b"x" * 2_000_000 + b"\r\n\r\n",
    "without an end": b"GET /x HTTP/1.1\r\nCookie: " + b"x" * 70_000,
    "after another": REQUEST.replace(b"/x", b"/wait")
    + b"GET /x HTTP/1.1\r\nHost: here\r\nCookie: "
    + b"x" * 70_000
    + b"\r\n\r\n",
}


@pytest.mark.parametrize("what", HEADS)
def test_a_head_that_is_too_large_is_refused(run: Run, tls: ssl.SSLContext | None, what: str) -> None:
    async def test() -> None:
        app = App()
        app.may_go_on.set()
        async with served(app, ServingLimits(), tls) as (_, connect):
            client = await connect()
            await client.send(HEADS[what])
            if what == "after another":
                assert b"200 OK" in await client.reader.readuntil(b"0\r\n\r\n")
            status, message = message_of(await client.rest())
            assert status == 431
            assert "65536 bytes" in message
            assert app.asked == (what == "after another")
            client = await connect()
            await client.send(HEADS["one line"].replace(b"x" * 6000, b""))
            assert (await client.answer())[0] == 200

    run(test())


NO_REQUESTS = {
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
}


@pytest.mark.parametrize("what", NO_REQUESTS)
def test_what_is_no_request_is_told_so_and_not_logged_each_time(
    run: Run, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    async def test() -> None:
        app = App()
        async with served(app, ServingLimits(), None) as (_, connect):
            for _ in range(30):
                client = await connect()
                await client.send(NO_REQUESTS[what])
                assert message_of(await client.rest())[0] == 400
        assert not app.asked

    run(test())
    assert 0 < len([record for record in caplog.records if record.levelno >= logging.WARNING]) < 15


def test_connections_outlast_those_of_proxies_unless_an_option_says_otherwise(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxies keep theirs for 60 s; if the server closes first, it loses the request that is on its way."""

    async def test() -> None:
        async with served(App(), ServingLimits(), None) as (server, connect):
            client = await connect()
            await client.send(REQUEST)
            assert (await client.answer())[0] == 200
            [protocol] = server.server_state.connections
            timer = await until(lambda: getattr(protocol, "timeout_keep_alive_task", None))
            assert 60 < timer.when() - asyncio.get_running_loop().time() < 75.1  # floats, of whole milliseconds

    run(test())
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    app = KernelGatewayApp()
    app.initialize([])
    assert read(app).serving == serving_limits(read_options([])) == ServingLimits()


FEW = ServingLimits(max_connections=4, reserved_connections=2, always_answered=frozenset({"/health"}))


def test_those_that_say_nothing_make_room_for_those_that_do(run: Run, tls: ssl.SSLContext | None) -> None:
    async def test() -> None:
        async with served(App(), FEW, tls) as (_, connect):
            idle = await connect()
            await idle.send(REQUEST)
            assert (await idle.answer())[0] == 200
            silent = [await connect(plain=number % 2 == 1) for number in range(3)]
            for _ in range(10):
                client = await connect()
                await client.send(REQUEST)
                assert (await client.answer())[0] == 200
            for client in silent:
                assert await client.rest() == b""
            # The silent ones were the first to go, and then the one that had been idle for longest.
            assert await idle.rest() == b""

    run(test())


@pytest.mark.parametrize("busy", [REQUEST.replace(b"/x", b"/wait"), WEBSOCKET], ids=["requests", "websockets"])
def test_health_checks_are_answered_when_all_are_busy(run: Run, tls: ssl.SSLContext | None, busy: bytes) -> None:
    async def test() -> None:
        async with served(App(), FEW, tls) as (server, connect):
            clients = [await connect() for _ in range(4)]
            for client in clients:
                await client.send(busy)
                if busy is WEBSOCKET:
                    assert (await client.answer())[0] == 101
            await until(lambda: len(server.server_state.tasks) == 4)
            silent = [await connect(plain=True) for _ in range(2)]  # they use up the reserve
            for _ in range(5):
                check = await connect()
                await check.send(REQUEST.replace(b"/x", b"/health"))
                answer = await check.rest()  # it is closed
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert b"connection: close" in answer
            for request in (REQUEST, WEBSOCKET):
                other = await connect()
                await other.send(request)
                status, message = message_of(await other.rest())
                assert status == 503
                assert "max_connections" in message
            for client in silent:
                assert await client.rest() == b""
            assert len(server.server_state.tasks) == 4

    run(test())


def test_a_flood_of_connections_is_one_line_in_the_log_and_its_end_another(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "CALM_S", 0.2)

    def ours() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name.startswith("fps_kernels")]

    async def test() -> None:
        app = App()
        async with served(app, FEW, None) as (_, connect):
            clients = []
            for _ in range(100):
                clients.append(await connect())
                await clients[-1].send(REQUEST)
                await clients[-1].answer()
            assert [message[:28] for message in ours()] == ["All 4 connections are in use"]
            for client in clients:
                client.writer.close()
            await until(lambda: "room for connections again; 96 idle ones were closed, 0" in caplog.text)
            assert len(ours()) == 2

    with caplog.at_level(logging.WARNING, "fps_kernels"):
        run(test())


def test_the_server_stops_in_the_middle_of_everything(run: Run, tls: ssl.SSLContext | None) -> None:
    async def test() -> None:
        app = App()
        async with served(app, ServingLimits(body_window_s=0.4), tls) as (server, connect):
            await connect(plain=True)
            await connect()
            for begun in (WEBSOCKET, REQUEST, REQUEST[:-1], b"POST /body HTTP/1.1\r\n" + LENGTH, HEADS["one line"]):
                await (await connect()).send(begun)
            await until(lambda: app.asked == 2)
            server.should_exit = True
            await until(lambda: not server.server_state.connections and not server.server_state.tasks)

    run(test())
