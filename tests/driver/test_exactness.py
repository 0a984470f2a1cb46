"""Servers that are killed: what each of their clients hears of the next one is what it has not heard yet."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from fps_kernels.kernel_server.outbox import READ_MESSAGES

from ..support.client import Client, Socket
from ..support.keepers import Keepers
from ..support.messages import Json, is_status, of_type
from ..support.ports import free_port
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("keepers")

REPOSITORY = Path(__file__).parents[2]
LINES = 20_000
FLOOD = "for n in range({lines}): stream(str(n) + ' ' * {width} + '\\n')"
WAIT = "import os, time\nstream('0\\n')\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
TIMEOUT_S = 120


class Server:
    """The program of support/kept_web_server.py, which is killed and started again."""

    def __init__(self, keepers: Keepers) -> None:
        self.port = free_port()
        self._keepers = keepers
        self._process: asyncio.subprocess.Process | None = None
        self.readers: list[Reader] = []

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.kept_web_server"),
            *(str(self._keepers.state.path), str(self._keepers.connection_dir), str(self.port)),
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
        )

    async def ready(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(TIMEOUT_S):
            assert await self._process.stdout.readline() == b"ready\n"
        self._keepers.note_processes()

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)

    async def replace(self) -> None:
        """Kill it in the midst of whatever it does, and start another one."""
        self.kill()
        await self.renew()

    async def renew(self) -> None:
        """Start another one once the one that was killed is gone."""
        assert self._process is not None
        await self._process.wait()
        await self.start()
        await self.ready()

    async def close(self) -> None:
        for reader in self.readers:
            reader.close()
        if self._process is not None and self._process.returncode is None:
            self.kill()
            await self._process.wait()

    async def state(self) -> Json:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://127.0.0.1:{self.port}/state")).json()


class Reader:
    """A client that connects again, with the same session, whenever its connection has ended.

    pause_s: how long it waits after each message. receive_bytes: the size of its socket's buffer; None for the usual.
    """

    def __init__(
        self, server: Server, session: str, *, v1: bool = True, pause_s: float = 0, receive_bytes: int | None = None
    ) -> None:
        self.received: list[Json] = []
        self.lines: list[int] = []
        self.connections = 0
        self._server = server
        self._session = session
        self._v1 = v1
        self.pause_s = pause_s
        self._receive_bytes = receive_bytes
        self.socket: Socket | None = None
        server.readers.append(self)

    async def connect(self) -> Socket:
        async with asyncio.timeout(TIMEOUT_S), Client(f"http://127.0.0.1:{self._server.port}") as client:
            while True:
                sock = socket.socket()
                options: dict[str, Any] = {"sock": sock}
                if self._receive_bytes is not None:
                    options["max_queue"] = 4
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
                try:
                    sock.connect(("127.0.0.1", self._server.port))
                    self.socket = await client.connect("k", v1=self._v1, session=self._session, **options)
                except (OSError, websockets.InvalidHandshake, websockets.InvalidMessage):  # it is not there yet
                    sock.close()
                    await asyncio.sleep(0.02)
                else:
                    self.connections += 1
                    return self.socket

    async def leave(self) -> None:
        assert self.socket is not None
        await self.socket.ws.close()
        self.socket = None

    def close(self) -> None:
        if self.socket is not None:
            self.socket.ws.transport.abort()
            self.socket = None

    async def until(self, condition: Callable[[Json], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                if self.socket is None:
                    await self.connect()
                assert self.socket is not None
                try:
                    message = await self.socket.receive()
                except websockets.ConnectionClosed:
                    self.close()
                    continue
                self.received.append(message)
                for one in of_type([message], "stream"):
                    self.lines += map(int, one["content"]["text"].split())
                if condition(message):
                    return
                if self.pause_s:
                    await asyncio.sleep(self.pause_s)

    async def until_line(self, line: int) -> None:
        if line not in self.lines:
            await self.until(lambda _: line in self.lines[-100:] or (bool(self.lines) and self.lines[-1] > line))

    async def until_answered(self, msg_id: str) -> None:
        def answered() -> bool:
            mine = self.answers(msg_id)
            return bool(of_type(mine, "execute_reply")) and any(is_status(one, "idle") for one in mine)

        if not answered():
            await self.until(lambda one: one["msg_type"] in ("execute_reply", "status") and answered())

    def answers(self, msg_id: str) -> list[Json]:
        return [one for one in self.received if one["parent_header"].get("msg_id") == msg_id]

    def check(self, msg_id: str, lines: int = LINES, kills: int = 1) -> None:
        """Everything was heard, in order, and nothing twice but what was being written at the moment of a kill."""
        assert missing_in(self.lines, lines) == 0
        assert doubled_in(self.lines) <= kills * READ_MESSAGES
        steps = [b - a for a, b in itertools.pairwise(self.lines)]
        assert sum(step != 1 for step in steps) <= kills
        answers = self.answers(msg_id)
        assert len(of_type(answers, "execute_reply")) == 1
        states = [one["content"]["execution_state"] for one in of_type(answers, "status")]
        assert states == ["busy", "idle"]


def missing_in(lines: list[int], count: int) -> int:
    return len(set(range(count)) - set(lines))


def doubled_in(lines: list[int]) -> int:
    return len(lines) - len(set(lines))


@pytest.fixture
async def server(keepers: Keepers) -> AsyncIterator[Server]:
    server = Server(keepers)
    await server.start()
    await server.ready()
    yield server
    await server.close()


@pytest.mark.parametrize("v1", [True, False])
async def test_a_client_that_keeps_up_hears_each_line_once(server: Server, v1: bool) -> None:
    reader = Reader(server, "s1", v1=v1)
    lines = 4 * LINES  # so many that the kill comes before the end
    msg_id = await (await reader.connect()).execute(FLOOD.format(lines=lines, width=0))
    await reader.until_line(LINES // 3)
    server.kill()
    restarted = asyncio.create_task(server.renew())
    await reader.until_answered(msg_id)
    await restarted
    assert reader.connections == 2
    reader.check(msg_id, lines)
    assert await until(lambda: is_idle(server))


async def is_idle(server: Server) -> bool:
    return await server.state() == {"state": "idle", "pending": 0}


async def test_a_server_that_is_killed_five_times_loses_and_doubles_nothing(server: Server) -> None:
    reader = Reader(server, "s1")
    lines = 2 * LINES
    msg_id = await (await reader.connect()).execute(FLOOD.format(lines=lines, width=0))
    answered = asyncio.create_task(reader.until_answered(msg_id))
    for kill in range(5):
        begun = len(reader.lines)
        await until(lambda: len(reader.lines) >= min(lines, begun + 2_000) or answered.done())  # noqa: B023
        await server.replace()
        await until(lambda: reader.connections == kill + 2 or answered.done())  # noqa: B023
    await answered
    reader.check(msg_id, lines, kills=5)
    assert await until(lambda: is_idle(server))


async def test_a_client_that_is_slow_to_read_hears_each_line(server: Server) -> None:
    reader = Reader(server, "s1", pause_s=0.0005, receive_bytes=8_192)
    msg_id = await (await reader.connect()).execute(FLOOD.format(lines=LINES, width=600))
    await reader.until_line(LINES // 10)
    server.kill()
    restarted = asyncio.create_task(server.renew())
    await reader.until_line(LINES // 8)
    reader.pause_s = 0
    await reader.until_answered(msg_id)
    await restarted
    reader.check(msg_id)


@pytest.mark.parametrize("interval_s", [0.001, 0.03, 0.3], ids=["all the time", "often", "now and then"])
async def test_a_client_that_lags_and_sends_hears_each_line_once(server: Server, interval_s: float) -> None:
    reader = Reader(server, "s1", pause_s=0.0005, receive_bytes=8_192)
    msg_id = await (await reader.connect()).execute(FLOOD.format(lines=LINES, width=600))

    async def send() -> None:
        while True:
            with contextlib.suppress(websockets.ConnectionClosed):
                if reader.socket is not None:
                    await reader.socket.send("comm_msg", {"comm_id": "none", "data": {}})
            await asyncio.sleep(interval_s)

    sending = asyncio.create_task(send())
    await reader.until_line(LINES // 10)
    server.kill()
    restarted = asyncio.create_task(server.renew())
    await reader.until_line(LINES // 8)
    reader.pause_s = 0
    await reader.until_answered(msg_id)
    await restarted
    sending.cancel()
    assert missing_in(reader.lines, LINES) == 0
    assert doubled_in(reader.lines) <= READ_MESSAGES


async def test_two_sessions_hear_each_line_once_and_their_own_replies(server: Server) -> None:
    one, other = Reader(server, "s1"), Reader(server, "s2", v1=False)
    await other.connect()
    msg_id = await (await one.connect()).execute(FLOOD.format(lines=LINES, width=0))
    await other.until_line(10)
    assert other.socket is not None
    other_id = await other.socket.execute(f"stream('{LINES}\\n')")
    both = asyncio.gather(one.until_line(LINES), other.until_answered(other_id))
    await until(lambda: len(one.lines) > LINES // 3)
    await server.replace()
    await both
    await one.until_answered(msg_id)
    await other.until_line(LINES)
    for reader in one, other:
        assert missing_in(reader.lines, LINES + 1) == 0
        assert doubled_in(reader.lines) <= READ_MESSAGES
    assert len(of_type(one.received, "execute_reply")) == len(of_type(other.received, "execute_reply")) == 1
    assert of_type(one.received, "execute_reply")[0]["parent_header"]["msg_id"] == msg_id
    assert await until(lambda: is_idle(server))


async def test_a_client_that_was_away_at_the_kill_hears_what_it_has_missed(server: Server, keepers: Keepers) -> None:
    reader, other = Reader(server, "s1"), Reader(server, "s2")
    await other.connect()
    flood = FLOOD.format(lines=LINES, width=0).replace("range(", "range(1, ")
    msg_id = await (await reader.connect()).execute(WAIT + flood)
    await reader.until_line(0)
    await reader.leave()
    (keepers.state.path / "go").touch()
    await other.until_line(LINES // 2)
    await server.replace()
    await reader.until_answered(msg_id)
    reader.check(msg_id)


async def test_a_cell_that_waits_for_input_is_answered_after_the_kill(server: Server) -> None:
    reader = Reader(server, "s1")
    msg_id = await (await reader.connect()).execute("stream(reply_input('name? '))", allow_stdin=True)
    await reader.until(lambda one: one["msg_type"] == "input_request")
    asked = reader.received[-1]
    await server.replace()
    reader.socket = None
    assert (await server.state())["state"] == "busy"
    socket = await reader.connect()
    await socket.send("input_reply", {"value": "7"}, channel="stdin", parent=asked["header"])
    await reader.until_answered(msg_id)
    assert reader.lines == [7]
    assert len(of_type(reader.received, "input_request")) == 1
    assert await until(lambda: is_idle(server))


async def test_an_input_request_of_a_client_that_was_away_waits_for_it(server: Server, keepers: Keepers) -> None:
    reader = Reader(server, "s1")
    msg_id = await (await reader.connect()).execute(WAIT + "stream(reply_input('name? '))", allow_stdin=True)
    await reader.until_line(0)
    await reader.leave()
    await server.replace()
    (keepers.state.path / "go").touch()
    await reader.until(lambda one: one["msg_type"] == "input_request")
    assert reader.socket is not None
    await reader.socket.send("input_reply", {"value": "7"}, channel="stdin", parent=reader.received[-1]["header"])
    await reader.until_answered(msg_id)
    assert reader.lines == [0, 7]


async def test_output_of_before_a_restart_does_not_come_back(server: Server) -> None:
    reader = Reader(server, "s1")
    await (await reader.connect()).execute(FLOOD.format(lines=100, width=0))
    await reader.until_line(10)
    await reader.leave()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        await client.get(f"http://127.0.0.1:{server.port}/restart")
    await server.replace()
    heard = len(reader.lines)
    msg_id = await (await reader.connect()).execute("stream('1000\\n')")
    await reader.until_answered(msg_id)
    assert reader.lines[heard:] == [1000]
    assert await until(lambda: is_idle(server))
