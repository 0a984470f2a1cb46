"""uvicorn as our servers want it, for applications that speak nothing but ASGI."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import websockets
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from fps_kernels.websocket.protocol import WebSocketProtocol

from ..support.serving import serving
from ..support.waits import until


class Echo:
    """An application that sends back what it gets, once it may accept."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_accept = asyncio.Event()
        self.may_accept.set()
        self.ended: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        self.asked.set()
        await self.may_accept.wait()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            data, text = message.get("bytes"), message.get("text")
            assert type(data) is bytes if text is None else type(text) is str
            await send({"type": "websocket.send", "bytes": data, "text": text})
        self.ended.set_result(message)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000, 5_000_000])
async def test_messages_of_any_size_come_back(size: int) -> None:
    async with (
        serving(Echo()) as (_, port),
        websockets.connect(f"ws://127.0.0.1:{port}", max_size=None, proxy=None, compression=None) as client,
    ):
        for message in (bytes(size), "x" * size):
            await client.send(message)
            assert await client.recv() == message


async def test_many_messages_whole_and_in_fragments_come_back_in_order() -> None:
    app = Echo()
    messages = [b"x" * (number * 37 % 1000) if number % 3 else f"ä{number}" for number in range(500)]
    async with serving(app) as (_, port):
        async with websockets.connect(f"ws://127.0.0.1:{port}", proxy=None, compression=None) as client:

            async def send() -> None:
                for number, message in enumerate(messages):
                    await client.send([message[:7], message[7:]] if number % 5 == 0 else message)

            sending = asyncio.create_task(send())
            assert [await client.recv() for _ in messages] == messages
            await sending
        assert (await app.ended)["code"] == 1000


async def test_frames_that_come_before_the_answer_are_not_lost() -> None:
    app = Echo()
    app.may_accept.clear()
    async with serving(app) as (server, port):
        protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        protocol.send_request(protocol.connect())
        writer.writelines(protocol.data_to_send())
        await app.asked.wait()
        [connection] = server.server_state.connections
        frames = b"".join(Frame(Opcode.BINARY, data).serialize(mask=True) for data in (b"early", b"late"))
        writer.write(frames[:2])  # the server is in the middle of a frame now
        assert isinstance(connection, WebSocketProtocol)
        await until(lambda: connection.statistics().unread_bytes)
        app.may_accept.set()
        got: list[bytes] = []
        while len(got) < 2:
            async with asyncio.timeout(60):
                protocol.receive_data(await reader.read(1000))
            if protocol.state.name == "OPEN" and frames:
                writer.write(frames[2:])
                frames = b""
            got += [bytes(event.data) for event in protocol.events_received() if isinstance(event, Frame)]
        assert got == [b"early", b"late"]
        writer.close()
        await writer.wait_closed()
