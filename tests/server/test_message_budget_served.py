"""Large WebSocket messages: too large ones, too many at the same time, and ones that never come to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from fps_kernels.serving.http_server import Server, ServingLimits
from fps_kernels.websocket import flow_control, message_budget
from fps_kernels.websocket.asgi import DELIVER_EXTENSION
from fps_kernels.websocket.protocol import WebSocketProtocol

from ..support.serving import serving
from ..support.waits import until

MIB = 1024 * 1024
LIMITS = ServingLimits(max_message_bytes=MIB)
LARGE = 8 * MIB
MORE = ServingLimits(max_message_bytes=LARGE)
"""So large that one read of each connection is little beside it."""


class Receiver:
    """An application that is called with what comes: the path says whether it keeps it, or takes it from a queue."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.sizes: list[int] = []
        self.may_take = asyncio.Event()

    def take(self, message: Any) -> None:
        self.sizes.append(len(message))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        if scope["path"] == "/keep":
            scope["extensions"][DELIVER_EXTENSION]["deliver"](self.kept.append)
        elif scope["path"] == "/take":
            scope["extensions"][DELIVER_EXTENSION]["deliver"](self.take)
        else:
            await self.may_take.wait()
        while (event := await receive())["type"] == "websocket.receive":
            self.take(event.get("text") or event["bytes"])


def connect(port: int, path: str = "take") -> websockets.connect:
    return websockets.connect(f"ws://127.0.0.1:{port}/{path}", proxy=None, compression=None, ping_interval=None)


def connections(server: Server) -> list[WebSocketProtocol]:
    return [one for one in server.server_state.connections if isinstance(one, WebSocketProtocol)]


def held_bytes(server: Server) -> int:
    found = [connection.statistics() for connection in connections(server)]
    return sum(one.held_bytes + one.partial_bytes + one.unread_bytes for one in found)


BEGUN = LARGE * 9 // 10


def begin(client: ClientConnection) -> None:
    """Send the beginning of a message, past the client's library."""
    client.transport.write(Frame(Opcode.BINARY, bytes(LARGE)).serialize(mask=True)[:BEGUN])


def go_on(client: ClientConnection) -> None:
    """Send the rest. It is masked differently, but only its length counts."""
    client.transport.write(bytes(LARGE + 14 - BEGUN))


TOO_LARGE: dict[str, Callable[[], Any]] = {
    "binary": lambda: bytes(MIB + 1),
    "text": lambda: "x" * (MIB + 1),
    "fragments": lambda: [bytes(MIB // 2)] * 3,
    "much more than is read at a time": lambda: bytes(40 * MIB),
    "much more, in fragments": lambda: [bytes(MIB // 2)] * 80,
}


@pytest.mark.parametrize("what", TOO_LARGE)
async def test_a_message_that_is_too_large_is_refused_by_name(what: str) -> None:
    app = Receiver()
    async with serving(app, limits=LIMITS) as (server, port), connect(port) as other:
        client = await connect(port)
        with suppress(ConnectionClosed):
            await client.send(TOO_LARGE[what]())
        await client.wait_closed()
        assert client.close_code == 1009
        assert client.close_reason == f"a message has more than {MIB} bytes (ws_max_message_bytes)"
        await until(lambda: len(connections(server)) == 1)
        await other.send(bytes(MIB))
        await until(lambda: app.sizes == [MIB])


async def test_many_that_upload_at_the_same_time_are_served_one_after_the_other() -> None:
    app = Receiver()
    most = 2 * MORE.held_max_bytes
    async with serving(app, limits=MORE) as (server, port):
        clients = [await connect(port) for _ in range(10)]
        for client in clients:
            begin(client)
        await until(lambda: held_bytes(server) > MORE.held_max_bytes)
        small = await connect(port)
        await small.send(b"small")  # goes on as ever
        await until(lambda: 5 in app.sizes)
        for client in reversed(clients):
            go_on(client)
            assert held_bytes(server) < most
        await until(lambda: len(app.sizes) == 11 or held_bytes(server) > most, every_s=0)
        await until(lambda: held_bytes(server) == 0)
        assert sorted(app.sizes) == [5, *[LARGE] * 10]
        for client in (*clients, small):
            await client.close()
            assert client.close_code == 1000


async def test_those_that_stop_in_the_middle_of_a_message_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_budget, "PATIENCE_S", 0.5)
    monkeypatch.setattr(flow_control, "BUDGET_CHECK_S", 0.05)
    app = Receiver()
    async with serving(app, limits=MORE) as (server, port):
        stopped = [await connect(port) for _ in range(10)]
        for client in stopped:
            begin(client)
        await until(lambda: held_bytes(server) > MORE.held_max_bytes)
        async with connect(port) as other:
            for count in range(1, 4):
                await other.send(bytes(LARGE))
                await until(lambda count=count: app.sizes == [LARGE] * count)  # type: ignore[misc]
        codes = []
        for client in stopped:
            await client.close()
            codes.append(client.close_code)
        assert 1013 in codes
        await until(lambda: not connections(server))


async def test_messages_that_are_not_taken_do_not_stop_small_ones() -> None:
    app = Receiver()
    async with serving(app, limits=LIMITS) as (_, port):
        keepers = [await connect(port, "keep") for _ in range(3)]
        for number, client in enumerate(keepers, 1):
            await client.send("x" * (MIB - 1) if number == 1 else bytes(MIB - 1))
            await until(lambda number=number: len(app.kept) == number)  # type: ignore[misc]
        async with connect(port) as other:
            await other.send(b"small")
            await until(lambda: app.sizes == [5])
            app.kept.clear()
            await other.send(bytes(MIB))
            await until(lambda: app.sizes == [5, MIB])
        for client in keepers:
            await client.close()


@pytest.mark.parametrize("message", ["x" * 500_000, bytes(500_000), "ä" * 250_000])
@pytest.mark.parametrize("path", ["keep", "queue"])
async def test_large_messages_count_until_they_are_taken(message: str | bytes, path: str) -> None:
    app = Receiver()
    async with serving(app, limits=LIMITS) as (server, port), connect(port, path) as client:
        await client.send(message)
        await until(lambda: held_bytes(server) >= 500_000)
        [connection] = connections(server)
        await until(lambda: connection.statistics().held_bytes == 500_000)
        app.may_take.set()
        app.kept.clear()
        await until(lambda: connection.statistics().held_bytes == 0)
