"""Clients that do not read, die or dawdle, and what our server does about them."""

from __future__ import annotations

import asyncio
import gc
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from fps_kernels.serving.http_server import Server, ServingLimits
from fps_kernels.websocket.asgi import DELIVER_EXTENSION, WRITE_EXTENSION
from fps_kernels.websocket.flow_control import WebSocketLimits
from fps_kernels.websocket.frames import frame_header
from fps_kernels.websocket.protocol import WebSocketProtocol

from ..support import waits
from ..support.serving import serving

MIB = 1024 * 1024
MUCH = 16 * MIB
"""More than the system takes of what nobody reads."""
until = waits.until


class Peer:
    """A WebSocket client that reads only when the test does."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    async def open(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}"))
        protocol.send_request(protocol.connect())
        await loop.sock_connect(self.socket, ("127.0.0.1", port))
        await self.write(b"".join(protocol.data_to_send()))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await self.read(1)
        assert answer.startswith(b"HTTP/1.1 101 ")

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(60):
            return await asyncio.get_running_loop().sock_recv(self.socket, size)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Peer]:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        peer = Peer(connection)
        await peer.open(port)
        yield peer


def frame(data: bytes, opcode: Opcode = Opcode.BINARY, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


class Talker:
    """An application that writes for ever, or once and then leaves."""

    def __init__(self, leaves: bool = False) -> None:
        self.leaves = leaves
        self.wrote = asyncio.Event()
        self.heard = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        scope["extensions"][DELIVER_EXTENSION]["deliver"](lambda message: self.heard.set())
        try:
            while True:
                await scope["extensions"][WRITE_EXTENSION]["write"]([frame_header(False, MUCH), bytes(MUCH)])
                self.wrote.set()
                if self.leaves:
                    break
        except ConnectionResetError:
            pass
        finally:
            self.ended.set()


class Listener:
    """An application that is called with what comes."""

    def __init__(self, deliver: Callable[[Any], None] = lambda message: None) -> None:
        self.deliver = deliver
        self.got: list[Any] = []
        self.ended: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def take(self, message: Any) -> None:
        self.got.append(message)
        self.deliver(message)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        scope["extensions"][DELIVER_EXTENSION]["deliver"](self.take)
        self.ended.set_result(await receive())


CLOSING: dict[str, Callable[[Server, Peer], Any]] = {
    "answers no ping": lambda server, peer: nothing(),
    "was left by the application": lambda server, peer: nothing(),
    "closed": lambda server, peer: peer.write(frame(b"\x03\xe8", Opcode.CLOSE)),
    "sent nonsense": lambda server, peer: peer.write(b"\xff\xff"),
    "sends no more": lambda server, peer: half_close(peer),
    "is there when the server stops": lambda server, peer: stop(server),
}


async def nothing() -> None:
    """The test need not do more."""


async def half_close(peer: Peer) -> None:
    peer.socket.shutdown(socket.SHUT_WR)


async def stop(server: Server) -> None:
    server.should_exit = True


@pytest.mark.parametrize("name", CLOSING)
async def test_a_connection_ends_although_its_client_reads_nothing(name: str) -> None:
    app = Talker(leaves="left" in name)
    async with (
        serving(app, 0.2 if "ping" in name else 20, ServingLimits(websocket=WebSocketLimits(stuck_s=0.1))) as (
            server,
            port,
        ),
        connected(port) as peer,
    ):
        await app.wrote.wait()
        await CLOSING[name](server, peer)
        await until(lambda: app.ended.is_set() and not server.server_state.connections)


async def test_the_server_stops_although_a_client_that_closed_reads_nothing() -> None:
    limits = WebSocketLimits(stuck_s=0.5)  # not before the server sees that it is to stop
    app = Talker()
    async with serving(app, limits=ServingLimits(websocket=limits)) as (server, port), connected(port) as peer:
        await app.wrote.wait()
        connection = the_connection(server)
        await peer.write(frame(b"\x03\xe8", Opcode.CLOSE))
        await until(connection.transport.is_closing)
        server.should_exit = True
        await until(lambda: app.ended.is_set() and not server.server_state.connections)


async def test_a_client_that_reads_slowly_gets_all_that_was_written() -> None:
    limits = WebSocketLimits(stuck_s=1.5)  # longer than a busy machine keeps this process waiting
    app = Talker(leaves=True)
    async with serving(app, limits=ServingLimits(websocket=limits)) as (server, port), connected(port) as peer:
        await app.wrote.wait()
        got, wanted = 0, len(frame_header(False, MUCH)) + MUCH
        began = asyncio.get_running_loop().time()
        while got < wanted:
            data = await peer.read(MIB)
            assert data, got
            got += len(data)
            if asyncio.get_running_loop().time() < began + 2 * limits.stuck_s:
                await asyncio.sleep(0.01)
        await until(lambda: not server.server_state.connections)


async def test_invalid_text_that_waits_when_the_server_stops_changes_nothing() -> None:
    def deliver(message: Any) -> None:
        if len(app.got) == 1:
            connection = the_connection(server)
            connection.loop.call_soon(connection.shutdown)

    app = Listener(deliver)
    async with serving(app) as (server, port), connected(port) as peer:
        await peer.write(frame(b"x") * 40 + frame(b"\xff", Opcode.TEXT))
        assert (await app.ended)["code"] == 1012
        await until(lambda: not server.server_state.connections)
    assert len(app.got) == 40


async def test_a_connection_is_gone_although_a_message_that_waited_fails() -> None:
    def deliver(message: Any) -> None:
        if len(app.got) == 1:
            connection = the_connection(server)
            connection.loop.call_soon(connection.shutdown)
        if len(app.got) == 40:
            raise ValueError("a bug")

    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    app = Listener(deliver)
    async with serving(app) as (server, port), connected(port) as peer:
        await peer.write(frame(b"x") * 40)
        await until(lambda: not server.server_state.connections)
        assert (await app.ended)["code"] == 1012
    assert [type(error["exception"]) for error in errors] == [ValueError]


BEGUN = {
    "whole": lambda: frame(bytes(MUCH))[:-1],
    "fragment": lambda: frame(bytes(MUCH), fin=False)[:-1],
    "fragments": lambda: frame(bytes(MUCH), fin=False),
}


@pytest.mark.parametrize("name", BEGUN)
async def test_nothing_is_kept_of_a_message_that_broke_off(name: str) -> None:
    app = Listener()
    data = BEGUN[name]()
    async with serving(app) as (server, port):
        async with connected(port) as peer:
            connection = the_connection(server)
            gc.collect()
            gc.disable()  # nothing may wait for the collector
            tracemalloc.start()
            try:
                await peer.write(data)
                await until(lambda: connection.statistics().partial_bytes >= MUCH - 1)
                assert tracemalloc.get_traced_memory()[0] >= MUCH - 1
                peer.socket.close()
                await app.ended
                assert connection.statistics().partial_bytes == 0
                assert tracemalloc.get_traced_memory()[0] < MIB
            finally:
                tracemalloc.stop()
                gc.enable()
        assert not app.got


def the_connection(server: Server) -> WebSocketProtocol:
    """The only one that is open."""
    [connection] = server.server_state.connections
    assert isinstance(connection, WebSocketProtocol)
    return connection


async def test_a_client_lives_while_it_uploads_and_cannot_answer_pings() -> None:
    app = Listener()
    async with serving(app, 1.5) as (server, port), connected(port) as peer:
        connection = the_connection(server)
        data = frame(bytes(MUCH))
        sent = 0
        while connection.statistics().pings < 2:  # the answer to the first has not come in time
            await peer.write(data[sent : sent + 1000])
            sent += 1000
            await asyncio.sleep(0.01)
            assert not connection.transport.is_closing()
        await peer.write(data[sent:])
        await until(lambda: app.got)
    assert app.got == [bytes(MUCH)]


async def test_a_client_lives_while_an_application_takes_no_messages() -> None:
    may_go_on = asyncio.Event()
    got = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await may_go_on.wait()
        while (message := await receive())["type"] == "websocket.receive":
            got.append(message["text"])

    async with (
        serving(app, 1.5) as (server, port),
        websockets.connect(f"ws://127.0.0.1:{port}", proxy=None, compression=None) as client,
    ):
        connection = the_connection(server)
        await client.send("first")
        await until(lambda: connection.statistics().pings >= 2)
        await client.send("second")
        may_go_on.set()
        await until(lambda: got == ["first", "second"])


async def test_a_client_that_reads_late_gets_the_answer_to_its_last_ping_only() -> None:
    app = Talker()
    async with serving(app) as (_, port), connected(port) as peer:
        await app.wrote.wait()
        for number in range(1000):
            await peer.write(frame(b"%03d" % number, Opcode.PING))
        await peer.write(frame(b"read this"))
        await app.heard.wait()
        header = frame_header(False, MUCH)
        written = header + bytes(MUCH) + b"\x8a\x03999" + header
        got = bytearray()
        while len(got) < len(written):
            got += await peer.read(MIB)
        assert got.startswith(written)


async def test_large_messages_in_fragments_that_nobody_takes_stop_the_reading() -> None:
    limits = WebSocketLimits(held_max_bytes=3 * MIB)
    app = Listener()
    half = bytes(MIB // 2)
    message = frame(half, fin=False) + frame(b"", Opcode.CONT, fin=False) + frame(half, Opcode.CONT)
    async with serving(app, limits=ServingLimits(websocket=limits)) as (server, port), connected(port) as peer:
        connection = the_connection(server)
        sending = asyncio.create_task(peer.write(message * 20))
        await until(lambda: connection.statistics().paused and connection.statistics().held_bytes > 3 * MIB)
        assert app.got == [bytes(MIB)] * 4
        taken = 0
        while taken < 20:
            await until(lambda: app.got)
            taken += len(app.got)
            app.got.clear()
        await sending


async def test_a_message_of_many_fragments_takes_no_more_than_its_bytes() -> None:
    app = Listener()
    async with serving(app) as (_, port), connected(port) as peer:
        await peer.write(frame(b"x", fin=False))
        fragments = (frame(b"", Opcode.CONT, fin=False) + frame(b"x", Opcode.CONT, fin=False)) * 1000
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(10):
            await peer.write(fragments)
        await peer.write(frame(b"", Opcode.CONT))
        await until(lambda: app.got)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert app.got == [b"x" * 10_001]
        assert most - before < MIB


async def test_nothing_is_written_to_a_connection_that_is_closing() -> None:
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        opened.set_result(scope["extensions"][WRITE_EXTENSION]["write"])
        await receive()

    async with serving(app) as (server, port), connected(port) as peer:
        write = await opened
        connection = the_connection(server)
        connection.transport.set_write_buffer_limits(2 * MUCH)  # write() must not wait
        message = frame_header(False, MUCH) + bytes(MUCH)
        await write([message])
        await half_close(peer)
        await until(connection.transport.is_closing)
        with pytest.raises(ConnectionResetError):
            await write([message])
        got = bytearray()
        while data := await peer.read(MIB):
            got += data
        assert got == message
