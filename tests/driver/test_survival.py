"""Servers that are killed: the kernels go on, and the next server hears all that the first one did not."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fps_kernels.kept.kept_channels import RecordListener
from fps_kernels.kept.kept_process import KeptProcess
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.message import peek_msg_id

from ..support.drivers import Inbox, run
from ..support.keepers import Keepers, summary_of, until_summary
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("bounded")

FLOOD = "for n in range({lines}): stream(str(n))"
WAIT = "import os, sys, time\nstream('0')\nwhile not os.path.exists('go'): time.sleep(0.01)"
"""Waits until there is a file in the working directory, which is the state folder."""
REPOSITORY = Path(__file__).parents[2]


class Server:
    """A program of support/kept_server.py, and what it has written down."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.kernel_id = self.request = ""
        self.end = 0
        self.heard: list[list[str]] = []

    @classmethod
    async def run(cls, keepers: Keepers, code: str) -> Server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.kept_server"),
            *(str(keepers.state.path), str(keepers.connection_dir), code),
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        return cls(process)

    async def read(self) -> bool:
        """Read what was written next; returns whether there was anything."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            return False
        facts: dict[str, Any] = json.loads(line)
        self.kernel_id = facts.get("kernel", self.kernel_id)
        self.request = facts.get("request", self.request)
        self.end = facts.get("end", self.end)
        self.heard += facts.get("heard", [])
        return True

    async def until_lines(self, count: int) -> None:
        while len(self.lines) < count:
            assert await self.read()

    @property
    def lines(self) -> list[int]:
        return lines_of(self.heard)

    async def kill(self) -> None:
        """Kill it in the midst of whatever it does, and read what it had written down."""
        self._process.send_signal(signal.SIGKILL)
        while await self.read():
            pass
        await self._process.wait()


def lines_of(heard: list[list[str]]) -> list[int]:
    return [int(text) for msg_type, text in heard if msg_type == "stream"]


class Heard(RecordListener):
    """What a second server is told of the record."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.marks: list[bytes] = []
        self.gaps: list[int | None] = []

    def on_sent(self, channel: str, note: bytes, header: bytes, parent_header: bytes) -> None:
        self.sent.append((channel, peek_msg_id(header)))

    def on_mark(self, note: bytes) -> None:
        self.marks.append(note)

    def on_gap(self, messages: int | None) -> None:
        self.gaps.append(messages)


class Successor:
    """A second server, which goes on with the kernel of the first one."""

    def __init__(self, driver: KernelDriver, process: KeptProcess) -> None:
        self.driver = driver
        self.process = process
        self.inbox = Inbox(driver.client)
        process.listener = self.heard = Heard()

    @classmethod
    async def make(cls, keepers: Keepers, kernel_id: str, from_seq: int) -> Successor:
        keeper = await keepers.connect()
        process = await KeptProcess.adopt(keeper, await summary_of(keeper, kernel_id), from_seq)
        return cls(keepers.make(keeper, adopted=process), process)

    @property
    def lines(self) -> list[int]:
        return [int(text) for text in self.inbox.texts()]


@pytest.fixture
async def servers(keepers: Keepers) -> AsyncIterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        if server._process.returncode is None:
            await server.kill()


async def first(keepers: Keepers, servers: list[Server], code: str) -> Server:
    servers.append(await Server.run(keepers, code))
    return servers[-1]


@pytest.mark.parametrize("killed_after", [1, 3_000])
async def test_a_server_that_is_killed_in_a_flood_loses_no_line(
    keepers: Keepers, servers: list[Server], killed_after: int
) -> None:
    count = 20_000
    server = await first(keepers, servers, FLOOD.format(lines=count))
    await server.until_lines(killed_after)
    await server.kill()
    assert len(server.lines) < count
    successor = await Successor.make(keepers, server.kernel_id, server.end)
    pid = successor.process.pid
    await successor.driver.start()
    reply = await successor.inbox.until_reply(server.request)
    await successor.inbox.until_idle(server.request)
    assert reply.content["status"] == "ok"
    assert server.lines + successor.lines == list(range(count))
    assert successor.heard.gaps == []
    assert ("shell", server.request) in successor.heard.sent
    assert successor.driver.pid == pid
    assert await run(successor.driver.client, "stream('well')") == "well"


async def test_a_cell_that_waits_for_input_is_answered_by_the_next_server(
    keepers: Keepers, servers: list[Server]
) -> None:
    server = await first(keepers, servers, "stream('0'); stream(reply_input('name?'))")
    await server.until_lines(1)
    while not any(msg_type == "input_request" for msg_type, _ in server.heard):
        assert await server.read()
    await server.kill()
    successor = await Successor.make(keepers, server.kernel_id, 0)
    await successor.driver.start()
    client = successor.driver.client
    request = await successor.inbox.until_type("input_request")
    client.send("stdin", client.make_frames("input_reply", {"value": "1815"}, request.frames[0]))
    reply = await successor.inbox.until_reply(server.request)
    await successor.inbox.until_idle(server.request)
    assert reply.content["status"] == "ok"
    assert successor.lines == [0, 1815]


async def test_what_a_kernel_said_while_no_server_was_there_is_heard(keepers: Keepers, servers: list[Server]) -> None:
    code = f"{WAIT}\nfor n in range(1, 5000): stream(str(n))"
    server = await first(keepers, servers, code)
    await server.until_lines(1)
    await server.kill()
    (keepers.state.path / "go").touch()
    watcher = await keepers.connect()
    await until_summary(watcher, server.kernel_id, lambda summary: not summary["unfinished"])
    successor = await Successor.make(keepers, server.kernel_id, server.end)
    await successor.driver.start()
    await successor.inbox.until_idle(server.request)
    assert server.lines + successor.lines == list(range(5000))
    assert await successor.inbox.until_reply(server.request)


async def test_a_kernel_that_died_while_no_server_was_there_is_explained(
    keepers: Keepers, servers: list[Server]
) -> None:
    code = f"{WAIT}\nprint('alas', file=sys.stderr, flush=True); os._exit(7)"
    server = await first(keepers, servers, code)
    await server.until_lines(1)
    await server.kill()
    (keepers.state.path / "go").touch()
    watcher = await keepers.connect()
    await until_summary(watcher, server.kernel_id, lambda summary: not summary["running"])
    successor = await Successor.make(keepers, server.kernel_id, server.end)
    status = successor.process.exited.result()
    assert status.reason == "exited with code 7: alas"
    successor.process.open(b"identity", lambda channel, messages: None)
    await until(lambda: ("shell", server.request) in successor.heard.sent)
    await successor.process.clean_up()
    summary = await until_summary(watcher, server.kernel_id, lambda summary: not summary["exited"])
    assert summary["unfinished"] == 0


async def test_what_was_seen_is_not_told_again(keepers: Keepers, servers: list[Server]) -> None:
    server = await first(keepers, servers, FLOOD.format(lines=100))
    await server.until_lines(100)
    while not any(msg_type == "execute_reply" for msg_type, _ in server.heard):
        assert await server.read()
    await server.kill()
    watcher = await keepers.connect()
    await watcher.call("seen", kernel=server.kernel_id, seq=server.end)
    summary = await summary_of(watcher, server.kernel_id)
    assert summary["seen"] == server.end
    successor = await Successor.make(keepers, server.kernel_id, 0)
    await successor.driver.start()
    assert await run(successor.driver.client, "stream('1815')") == "1815"
    assert successor.lines == [1815]
    assert ("shell", server.request) not in successor.heard.sent


async def test_a_mark_is_found_by_the_next_server(keepers: Keepers, servers: list[Server]) -> None:
    server = await first(keepers, servers, "stream('0')")
    await server.until_lines(1)
    await server.kill()
    for expected in ([b"note"], [b"note", b"note"]):
        successor = await Successor.make(keepers, server.kernel_id, 0)
        await successor.driver.start()
        heard = successor.heard
        assert successor.process.channels is not None
        successor.process.channels.mark(b"note")
        async with asyncio.timeout(60):
            while heard.marks != expected:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
        await successor.process.keeper.leave()
