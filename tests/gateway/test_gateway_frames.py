"""WebSocket frames as clients may send them, and may not, to our own server, in the clear and over TLS."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ..support.client import Client
from ..support.gateways import Begin, Gateway, gateways, option
from ..support.messages import V1, Json, header, pack_default, pack_v1, unpack_default, unpack_v1

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def clear(begin_shared: Begin) -> Gateway:
    return begin_shared()


@pytest.fixture(scope="module")
def secured(begin_shared: Begin, certificate: tuple[str, str]) -> Gateway:
    return begin_shared(option("certfile", certificate[0]), option("keyfile", certificate[1]))


class Raw:
    """A WebSocket whose frames the test makes itself."""

    def __init__(self, gateway: Gateway, v1: bool) -> None:
        self.gateway = gateway
        self.v1 = v1
        self.session = uuid.uuid4().hex
        self.messages: list[dict[str, Any]] = []
        self.frames: list[Frame] = []

    async def open(self, kernel_id: str, tls: ssl.SSLContext | None) -> None:
        path = f"/api/kernels/{kernel_id}/channels?session_id={self.session}"
        uri = parse_uri(self.gateway.url.replace("http", "ws", 1) + path)
        self.protocol = ClientProtocol(uri, subprotocols=[Subprotocol(V1)] if self.v1 else None, max_size=None)
        self.reader, self.writer = await asyncio.open_connection(uri.host, uri.port, ssl=tls, limit=MIB)
        self.protocol.send_request(self.protocol.connect())
        await self.write(b"".join(self.protocol.data_to_send()))
        while self.protocol.state.name == "CONNECTING":
            await self._receive()
        assert self.protocol.handshake_exc is None
        await self.until(lambda message: message["msg_type"] == "status")

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def _receive(self) -> bool:
        async with asyncio.timeout(60):
            try:
                data = await self.reader.read(MIB)
            except ConnectionResetError:
                data = b""
        if not data:
            return False
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self.frames.append(event)
                if event.opcode in (Opcode.TEXT, Opcode.BINARY):
                    whole = bytes(event.data)
                    text = event.opcode is Opcode.TEXT
                    unpack: Callable[[Any], Json] = unpack_v1 if self.v1 else unpack_default
                    self.messages.append(unpack(whole.decode() if text else whole))
        return True

    async def until(self, wanted: Any, count: int = 1) -> list[dict[str, Any]]:
        """The first messages that are wanted."""
        while len(found := [one for one in self.messages if wanted(one)]) < count:
            assert await self._receive(), f"closed: {self.protocol.close_rcvd}"
        return found

    async def closed(self) -> int | None:
        """With which code the server closes."""
        while self.protocol.close_rcvd is None and await self._receive():
            pass
        close = self.protocol.close_rcvd
        return None if close is None else close.code

    async def close(self) -> None:
        """To the end: TLS says goodbye, and waits for the answer, after the writer's close()."""
        self.writer.close()
        with suppress(ConnectionError):  # the server may have gone first
            await self.writer.wait_closed()

    def comm(self, number: int, buffers: list[bytes] | None = None) -> bytes:
        """A message that the kernel sends back, buffers reversed."""
        message = {
            "channel": "shell",
            "header": header("comm_msg", self.session),
            "parent_header": {},
            "metadata": {},
            "content": {"comm_id": "c", "data": {"number": number}},
            "buffers": buffers or [],
        }
        packed = pack_v1(message) if self.v1 else pack_default(message)
        return packed.encode() if isinstance(packed, str) else packed

    def frame(self, data: bytes, fin: bool = True, opcode: Opcode | None = None, **more: Any) -> bytes:
        whole = Frame(opcode if opcode is not None else Opcode.BINARY if self.v1 else Opcode.TEXT, data, fin, **more)
        whole.check = lambda: None  # type: ignore[method-assign]  # it is the server that is tested
        return whole.serialize(mask=True)


def is_echo(message: dict[str, Any]) -> bool:
    return message["msg_type"] == "comm_msg"


def numbers(messages: list[dict[str, Any]]) -> list[int]:
    return [message["content"]["data"]["number"] for message in messages]


@asynccontextmanager
async def connected(gateway: Gateway, v1: bool = True, ca: str | None = None) -> AsyncIterator[Raw]:
    tls = ssl.create_default_context(cafile=ca) if ca else None
    raw = Raw(gateway, v1)
    async with Client(gateway.url) as client:
        if tls is not None:
            client.http = httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False, verify=tls)
        kernel_id = await client.start()
        await raw.open(kernel_id, tls)
        try:
            yield raw
        finally:
            await raw.close()


both = pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])


@both
async def test_a_ping_between_fragments_is_answered_before_the_message(clear: Gateway, v1: bool) -> None:
    async with connected(clear, v1) as raw:
        data = raw.comm(1)
        await raw.write(
            raw.frame(data[:10], fin=False)
            + raw.frame(b"hello", opcode=Opcode.PING)
            + raw.frame(data[10:30], fin=False, opcode=Opcode.CONT)
            + raw.frame(data[30:], opcode=Opcode.CONT)
            + raw.frame(raw.comm(2))
        )
        assert numbers(await raw.until(is_echo, 2)) == [1, 2]
        assert [bytes(one.data) for one in raw.frames if one.opcode is Opcode.PONG] == [b"hello"]


@both
async def test_messages_in_any_pieces_arrive_in_order(clear: Gateway, v1: bool) -> None:
    async with connected(clear, v1) as raw:
        stream = b"".join(raw.frame(raw.comm(number)) for number in range(5))
        for start in range(0, len(stream), 7):
            await raw.write(stream[start : start + 7])
            await asyncio.sleep(0)
        await raw.write(b"".join(raw.frame(raw.comm(number)) for number in range(5, 300)))
        assert numbers(await raw.until(is_echo, 300)) == list(range(300))


@both
async def test_what_was_sent_right_before_closing_reaches_the_kernel(clear: Gateway, v1: bool) -> None:
    async with Client(clear.url) as client:
        kernel_id = await client.start()
        raw = Raw(clear, v1)
        await raw.open(kernel_id, None)
        async with await client.connect(kernel_id) as other:
            frames = [raw.frame(raw.comm(number)) for number in range(100)]
            await raw.write(b"".join([*frames, raw.frame(b"\x03\xe8", opcode=Opcode.CLOSE)]))
            assert await raw.closed() == 1000
            heard = await other.until(lambda message: is_echo(message) and numbers([message]) == [99])
        assert numbers([message for message in heard if is_echo(message)]) == list(range(100))
        await raw.close()


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
async def test_a_large_message_passes_both_ways(
    clear: Gateway, secured: Gateway, certificate: tuple[str, str], tls: bool
) -> None:
    data = os.urandom(16 * MIB)
    async with connected(secured if tls else clear, ca=certificate[0] if tls else None) as raw:
        await raw.write(raw.frame(raw.comm(1, [b"small", data])) + raw.frame(raw.comm(2)))
        first, second = await raw.until(is_echo, 2)
        assert first["buffers"] == [b"llams", data[::-1]]
        assert numbers([second]) == [2]


ERRORS = {
    "unmasked": (True, lambda raw: b"\x82\x01x", 1002),
    "reserved bit": (True, lambda raw: raw.frame(b"x", rsv1=True), 1002),
    "reserved opcode": (True, lambda raw: b"\x83\x80mask", 1002),
    "continuation of nothing": (True, lambda raw: raw.frame(b"x", opcode=Opcode.CONT), 1002),
    "message in a message": (True, lambda raw: raw.frame(b"x", fin=False) + raw.frame(raw.comm(1)), 1002),
    "long ping": (True, lambda raw: raw.frame(bytes(126), opcode=Opcode.PING), 1002),
    "fragmented ping": (True, lambda raw: raw.frame(b"x", fin=False, opcode=Opcode.PING), 1002),
    "too large": (True, lambda raw: b"\x82\xff" + (1 << 30 | 1).to_bytes(8) + b"mask", 1009),
    "invalid UTF-8": (False, lambda raw: raw.frame(b"\xff"), 1007),
    "invalid UTF-8 in fragments": (
        False,
        lambda raw: raw.frame(b"\xc3", fin=False) + raw.frame(b"x", opcode=Opcode.CONT),
        1007,
    ),
    "close with an invalid code": (True, lambda raw: raw.frame(b"\x00\x01", opcode=Opcode.CLOSE), 1002),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_of_the_protocol_closes_after_what_came_before(clear: Gateway, name: str) -> None:
    v1, make, code = ERRORS[name]
    async with connected(clear, v1) as raw:
        await raw.write(raw.frame(raw.comm(0)))
        await raw.until(is_echo)
        await raw.write(make(raw) + raw.frame(raw.comm(1)))
        assert await raw.closed() == code
        assert numbers([message for message in raw.messages if is_echo(message)]) == [0]


async def test_a_message_of_a_gibibyte_that_does_not_come_takes_no_memory(clear: Gateway) -> None:
    async with connected(clear) as raw:
        before = psutil.Process(clear.process.pid).memory_info()
        await raw.write(b"\x82\xff" + (1 << 30).to_bytes(8) + b"mask" + bytes(1000))
        async with Client(clear.url) as client:
            await client.start()
        after = psutil.Process(clear.process.pid).memory_info()
        assert after.rss - before.rss < 100 * MIB
        assert after.vms - before.vms < 500 * MIB


@both
async def test_a_client_waits_for_a_kernel_that_does_not_take_its_large_messages(tmp_path: Path, v1: bool) -> None:
    count = 16
    with gateways(tmp_path) as begin:
        gateway = begin()
        server = psutil.Process(gateway.process.pid)
        async with connected(gateway, v1) as raw:
            [kernel] = gateway.kernel_processes()
            sent = 0

            async def send() -> None:
                nonlocal sent
                for number in range(count):
                    await raw.write(raw.frame(raw.comm(number, [bytes(16 * MIB)]), opcode=Opcode.BINARY))
                    sent += 1

            before = server.memory_info().rss
            kernel.send_signal(signal.SIGSTOP)
            sending = asyncio.create_task(send())
            last = -1
            while last != sent or not sent:  # until it waits, of which nobody tells
                last = sent
                await asyncio.sleep(2)
            assert sent < 10
            assert server.memory_info().rss - before < 160 * MIB
            kernel.send_signal(signal.SIGCONT)
            echoes = await raw.until(is_echo, count)
            await sending
            assert numbers(echoes) == list(range(count))
