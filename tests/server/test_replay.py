"""Clients that go away and return, or read too slowly: what waits for them, and what they are told is missing.

Each test says how its client is lost: by a closing handshake that it reads to its end, by our 1013, or abruptly.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psutil
import pytest
import websockets

from ..support.client import Client, Socket, tidy_client
from ..support.gateways import Gateway, gateways
from ..support.messages import Json, is_status, of_type, text_of
from ..support.processes import ServerProcess
from ..support.servers import Launch, Server, options

SLEEP = "import time; stream('on')\nwhile True: time.sleep(0.05)"
MIB = 1024 * 1024

both = pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps 100 messages for clients that are away, and 8 MiB for those that are slow."""
    server = Server(
        tmp_path_factory.mktemp("small"), *options(buffer_max_messages=100, client_max_bytes=8 * MIB, restart_limit=0)
    )
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def small_client(small: Server) -> AsyncIterator[Client]:
    async with tidy_client(small) as client:
        yield client


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The other host: it writes many messages at once, where jupyverse sends one after the other."""
    with gateways(tmp_path_factory.mktemp("gateways")) as begin:
        yield begin("--JupyterWebsocketPersonality.list_kernels=True")


@pytest.fixture(params=["server", "gateway"], ids=["jupyverse", "gateway"])
def host(request: pytest.FixtureRequest) -> ServerProcess:
    return request.getfixturevalue(request.param)


@pytest.fixture
async def client(host: ServerProcess) -> AsyncIterator[Client]:
    async with tidy_client(host) as client:
        yield client


# --- ways to go, and what was heard ---------------------------------------------------------------


async def leave(socket: Socket) -> None:
    """Close with a handshake, and read all that comes until its end."""
    closing = asyncio.create_task(socket.ws.close())
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await socket.receive()
    await closing


async def leave_and_be_missed(client: Client, kernel_id: str, socket: Socket, left: int = 0) -> None:
    """Leave, and wait until the server knows."""
    await leave(socket)
    await client.until_kernel(kernel_id, lambda model: model["connections"] == left)


async def break_off(client: Client, kernel_id: str, socket: Socket) -> None:
    """Be lost without a word, and wait until the server knows."""
    before = (await client.kernel(kernel_id))["connections"]
    socket.ws.transport.abort()
    await client.until_kernel(kernel_id, lambda model: model["connections"] == before - 1)


async def begin(socket: Socket, code: str, **options: Any) -> str:
    """Execute, and return once the cell runs; returns the msg_id. The code writes something first."""
    msg_id = await socket.execute(code, **options)
    await socket.until(lambda message: message["msg_type"] == "stream")
    return msg_id


async def until_idle(client: Client, kernel_id: str) -> None:
    """Wait until the kernel has ended all that it was asked."""
    await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")


def is_current_status(message: Json) -> bool:
    """The last of what waits for a client that connects. The gateway gives it a parent, as its clients want one."""
    parent = message["parent_header"].get("msg_type", "kernel_info_request")
    return message["msg_type"] == "status" and parent == "kernel_info_request"


async def replay(socket: Socket) -> list[Json]:
    """What waited, and the current status."""
    return await socket.until(is_current_status)


def ids_of(messages: list[Json]) -> list[str]:
    return [message["header"]["msg_id"] for message in messages]


def iopub_of(messages: list[Json], *msg_ids: str) -> list[Json]:
    """The iopub messages of some requests."""
    return [m for m in messages if m["channel"] == "iopub" and m["parent_header"].get("msg_id") in msg_ids]


def reply_to(messages: list[Json], msg_id: str) -> Json:
    [reply] = [m for m in messages if m["parent_header"].get("msg_id") == msg_id and m["msg_type"].endswith("_reply")]
    return reply


def notices_of(messages: list[Json]) -> list[Json]:
    return [m for m in of_type(messages, "stream") if "messages are missing" in m["content"]["text"]]


# A cell that goes on when another client says so: the test decides when, not the clock.
GATE = """
import os, time
stream('on')
while not os.path.exists({path!r}): time.sleep(0.005)
"""


def gated(path: Any, code: str) -> str:
    """Code that writes `on`, then waits until the file is there."""
    return GATE.format(path=str(path)) + code


# --- the same session -----------------------------------------------------------------------------


@both
@pytest.mark.parametrize("others", [0, 1], ids=["alone", "others stay"])
async def test_the_same_session_gets_what_it_missed(client: Client, tmp_path: Any, v1: bool, others: int) -> None:
    kernel_id = await client.start()
    gate = tmp_path / "gate"
    witness = await client.connect(kernel_id) if others else None
    socket = await client.connect(kernel_id, v1=v1, session="mine")
    msg_id = await begin(socket, gated(gate, "for i in range(300): stream(f'{i} ')\npublish('display_data', {'a': 1})"))
    await leave_and_be_missed(client, kernel_id, socket, left=others)
    gate.touch()
    await until_idle(client, kernel_id)
    async with await client.connect(kernel_id, v1=v1, session="mine") as again:
        missed = await replay(again)
        assert text_of(socket.received + missed) == "on" + "".join(f"{i} " for i in range(300))
        assert reply_to(missed, msg_id)["content"]["status"] == "ok"
        assert [m["msg_type"] for m in iopub_of(missed, msg_id)][-2:] == ["display_data", "status"]
        assert is_status(missed[-1], "idle")
        everything = ids_of(socket.received + missed)
        assert len(set(everything)) == len(everything)
        live = await again.run("stream('live')")
        assert text_of(live) == "live"
    if witness is not None:
        seen = await witness.until(lambda m: m["msg_type"] == "stream" and m["content"]["text"] == "live")
        order = [one for one in ids_of(seen) if one in set(ids_of(iopub_of(missed, msg_id)))]
        assert order == ids_of(iopub_of(missed, msg_id))
        await witness.ws.close()


@both
async def test_nothing_waits_twice(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    socket = await client.connect(kernel_id, v1=v1, session="mine")
    await socket.run("stream('heard')")
    for _ in range(3):
        await leave_and_be_missed(client, kernel_id, socket)
        socket = await client.connect(kernel_id, v1=v1, session="mine")
        assert is_status(await socket.receive(), "idle")
        assert text_of(await socket.run("stream('more')")) == "more"
        assert text_of(socket.received) == "more"
    await socket.ws.close()


@both
async def test_a_client_may_close_and_return_in_a_flood(client: Client, v1: bool, tmp_path: Any) -> None:
    """Fifty closing handshakes, read to their ends, in the middle of a flood of lines."""
    kernel_id = await client.start()
    gate = tmp_path / "gate"
    code = f"""import itertools, os, time
for i in itertools.count():
    stream(f'{{i}}\\n')
    if not i % 20:
        time.sleep(0.002)
        if os.path.exists({str(gate)!r}):
            break"""
    socket = await client.connect(kernel_id, v1=v1, session="mine")
    msg_id = await socket.execute(code)
    received: list[Json] = []
    for _ in range(50):
        await socket.until(lambda m: m["msg_type"] == "stream")
        await leave(socket)
        received += socket.received
        socket = await client.connect(kernel_id, v1=v1, session="mine")
    assert not of_type(received, "execute_reply")
    gate.touch()
    await until_idle(client, kernel_id)
    last = int(text_of(await socket.run("stream(str(i))")))  # after all that waited
    received += [m for m in socket.received if m["parent_header"].get("msg_id") in (msg_id, None)]
    await socket.ws.close()
    assert text_of(received) == "".join(f"{i}\n" for i in range(last + 1))
    assert not notices_of(received)
    assert len(of_type(received, "execute_reply")) == 1


async def test_a_client_that_was_replaced_in_a_flood_misses_nothing_that_was_not_sent(client: Client) -> None:
    """The old socket is read to its end; its successor goes on from there."""
    kernel_id = await client.start()
    code = "import time\nfor i in range(5000):\n  stream(f'{i}\\n')\n  if not i % 40: time.sleep(0.002)"
    first = await client.connect(kernel_id, session="mine")
    msg_id = await begin(first, code)
    second = await client.connect(kernel_id, session="mine")
    assert (await first.closed())[0] == 1000
    await second.answers(msg_id)
    assert text_of(first.received + second.received) == "".join(f"{i}\n" for i in range(5000))
    await second.ws.close()


@both
async def test_a_reply_waits_for_its_session(client: Client, tmp_path: Any, v1: bool) -> None:
    kernel_id = await client.start()
    socket = await client.connect(kernel_id, v1=v1, session="mine")
    msg_id = await begin(socket, gated(tmp_path / "gate", ""))
    asked = await socket.send("complete_request", {"code": "ti", "cursor_pos": 2})
    await leave_and_be_missed(client, kernel_id, socket)
    async with await client.connect(kernel_id, v1=v1, session="other") as other:
        await replay(other)
        (tmp_path / "gate").touch()
        await other.run("pass")
        assert {m["parent_header"].get("msg_id") for m in other.received if m["channel"] == "shell"}.isdisjoint(
            {msg_id, asked}
        )
        async with await client.connect(kernel_id, v1=v1, session="mine") as again:
            answers = await replay(again)
    assert reply_to(answers, msg_id)["content"]["status"] == "ok"
    assert reply_to(answers, asked)["content"]["matches"] == ["tiny"]
    order = [m["parent_header"].get("msg_id") for m in answers if m["channel"] == "shell"]
    assert order == [msg_id, asked]


async def test_a_reply_is_kept_longer_than_the_log(launch: Launch, tmp_path: Any) -> None:
    """A closed laptop: what its cell wrote may be too old by now, and is counted; its reply is there."""
    server = launch(*options(buffer_max_age_s=0.1))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        socket = await client.connect(kernel_id, session="mine")
        msg_id = await begin(socket, gated(tmp_path / "gate", "stream('old')"))
        await leave_and_be_missed(client, kernel_id, socket)
        (tmp_path / "gate").touch()
        await until_idle(client, kernel_id)
        async with await client.connect(kernel_id, session="other") as other:
            await other.run("import time; time.sleep(0.2)")
            await other.run("stream('new')")
        async with await client.connect(kernel_id, session="mine") as again:
            answers = await replay(again)
    assert reply_to(answers, msg_id)["content"]["status"] == "ok"
    assert "old" not in text_of(answers)
    assert len(notices_of(answers)) == 1


# --- another session ------------------------------------------------------------------------------


@both
async def test_a_new_session_gets_a_copy_of_what_nobody_heard(client: Client, tmp_path: Any, v1: bool) -> None:
    kernel_id = await client.start()
    socket = await client.connect(kernel_id, session="mine")
    await socket.run("stream('old')")
    msg_id = await begin(socket, gated(tmp_path / "gate", "stream('unheard')"))
    await leave_and_be_missed(client, kernel_id, socket)
    (tmp_path / "gate").touch()
    await until_idle(client, kernel_id)
    async with await client.connect(kernel_id, v1=v1, session="other") as other:
        copy = await replay(other)
        assert {m["channel"] for m in copy} == {"iopub"}
        assert text_of(copy) == "unheard"
        assert is_status(copy[-2], "idle")
        assert copy[-2]["parent_header"]["msg_id"] == msg_id
        assert is_status(copy[-1], "idle")
        async with await client.connect(kernel_id, session="mine") as again:  # it was a copy
            missed = await replay(again)
            assert text_of(missed) == "unheard"
            assert reply_to(missed, msg_id)


async def test_a_new_session_gets_no_copy_when_somebody_listens(client: Client, tmp_path: Any) -> None:
    kernel_id = await client.start()
    socket = await client.connect(kernel_id, session="mine")
    await begin(socket, gated(tmp_path / "gate", "stream('unheard')"))
    await leave_and_be_missed(client, kernel_id, socket)
    (tmp_path / "gate").touch()
    await until_idle(client, kernel_id)
    async with await client.connect(kernel_id, session="first") as first:
        assert text_of(await replay(first)) == "unheard"
        async with await client.connect(kernel_id, session="second") as second:
            assert is_current_status(await second.receive())


@both
async def test_a_new_session_hears_nothing_of_a_death_before_it(host: ServerProcess, client: Client, v1: bool) -> None:
    """JupyterLab takes `restarting` for the death of the kernel that it has just connected to."""
    kernel_id = await client.start()
    socket = await client.connect(kernel_id, session="mine")
    await begin(socket, "stream('on'); import time\nwhile True: time.sleep(0.05)")
    await leave_and_be_missed(client, kernel_id, socket)
    process = host.process_of(kernel_id)
    process.kill()
    await client.until(lambda kernels: len(server_processes(host, kernel_id, process.pid)) == 1)
    await until_idle(client, kernel_id)
    async with await client.connect(kernel_id, v1=v1, session="other") as other:
        await other.run("pass")
    states = {m["content"]["execution_state"] for m in of_type(other.received, "status")}
    assert states <= {"starting", "busy", "idle"}
    assert of_type(other.received, "error") == []


def server_processes(server: ServerProcess, kernel_id: str, besides: int) -> list[psutil.Process]:
    """The processes of a kernel but for an old one."""
    found = []
    for process in server.kernel_processes():
        with contextlib.suppress(psutil.Error):
            if process.pid != besides and any(kernel_id in word for word in process.cmdline()):
                found.append(process)
    return found


# --- input ----------------------------------------------------------------------------------------


@both
async def test_input_is_not_asked_for_again_after_a_return(client: Client, v1: bool) -> None:
    """JupyterLab appends a box each time."""
    kernel_id = await client.start()
    for go in (leave_and_be_missed, break_off):
        socket = await client.connect(kernel_id, v1=v1, session="mine")
        msg_id = await socket.execute("stream('hello ' + reply_input('name?'))", allow_stdin=True)
        request = (await socket.until(lambda m: m["msg_type"] == "input_request"))[-1]
        await go(client, kernel_id, socket)
        async with await client.connect(kernel_id, v1=v1, session="mine") as again:
            await again.send("input_reply", {"value": "ada"}, channel="stdin", parent=request["header"])
            answers = await again.answers(msg_id)
            assert text_of(answers) == "hello ada"
            assert of_type(again.received, "input_request") == []
            await leave_and_be_missed(client, kernel_id, again)


@both
async def test_input_that_is_asked_for_meanwhile_waits_for_its_session(client: Client, tmp_path: Any, v1: bool) -> None:
    kernel_id = await client.start()
    socket = await client.connect(kernel_id, v1=v1, session="mine")
    code = gated(tmp_path / "gate", "publish('asking', {})\nstream('hello ' + reply_input('name?'))")
    msg_id = await begin(socket, code, allow_stdin=True)
    await leave_and_be_missed(client, kernel_id, socket)
    async with await client.connect(kernel_id, session="other") as other:
        (tmp_path / "gate").touch()
        await other.until(lambda m: m["msg_type"] == "asking")
        async with await client.connect(kernel_id, v1=v1, session="mine") as again:
            request = (await again.until(lambda m: m["msg_type"] == "input_request"))[-1]
            await again.send("input_reply", {"value": "ada"}, channel="stdin", parent=request["header"])
            assert text_of(await again.answers(msg_id)) == "hello ada"
            assert len(of_type(again.received, "input_request")) == 1
        await other.until_status("idle")
    assert of_type(other.received, "input_request") == []


# --- bounds ---------------------------------------------------------------------------------------


@both
async def test_a_client_is_told_what_is_missing(small_client: Client, tmp_path: Any, v1: bool) -> None:
    kernel_id = await small_client.start()
    socket = await small_client.connect(kernel_id, v1=v1, session="mine")
    code = gated(tmp_path / "gate", "for i in range(500): publish('display_data', {'i': i})")
    msg_id = await begin(socket, code)
    await leave_and_be_missed(small_client, kernel_id, socket)
    (tmp_path / "gate").touch()
    await until_idle(small_client, kernel_id)
    async with await small_client.connect(kernel_id, v1=v1, session="mine") as again:
        missed = await replay(again)
    [notice] = notices_of(missed)
    kept = [m["content"]["i"] for m in of_type(missed, "display_data")]
    assert kept == list(range(500 - len(kept), 500))
    assert 90 <= len(kept) <= 100
    missing = int(notice["content"]["text"].split()[0].lstrip("["))
    assert missing == 500 - len(kept)
    assert notice["content"]["name"] == "stderr"
    assert notice["parent_header"]["msg_id"] == msg_id
    assert missed.index(notice) < missed.index(of_type(missed, "display_data")[0])
    assert reply_to(missed, msg_id)["content"]["status"] == "ok"
    assert is_status(missed[-1], "idle")


@both
async def test_streams_are_merged_before_anything_is_dropped(small_client: Client, tmp_path: Any, v1: bool) -> None:
    kernel_id = await small_client.start()
    socket = await small_client.connect(kernel_id, v1=v1, session="mine")
    await begin(socket, gated(tmp_path / "gate", "for i in range(5000): stream(f'{i}\\n')"))
    await leave_and_be_missed(small_client, kernel_id, socket)
    (tmp_path / "gate").touch()
    await until_idle(small_client, kernel_id)
    async with await small_client.connect(kernel_id, v1=v1, session="mine") as again:
        missed = await replay(again)
    assert text_of(missed) == "".join(f"{i}\n" for i in range(5000))
    assert len(of_type(missed, "stream")) < 200
    assert not notices_of(missed)


@both
async def test_merging_loses_nothing_of_clients_that_read_meanwhile(small_client: Client, v1: bool) -> None:
    """One is away, so that the log is merged again and again, while two read from the middle of it."""
    kernel_id = await small_client.start()
    away = await small_client.connect(kernel_id, v1=v1, session="away")
    await away.run("pass")
    await leave_and_be_missed(small_client, kernel_id, away)
    async with (
        await small_client.connect(kernel_id, v1=v1, max_queue=4) as one,
        await small_client.connect(kernel_id, v1=v1) as two,
    ):
        msg_id = await one.execute("for i in range(20_000): stream(f'{i}\\n')")
        ended = lambda m: is_status(m, "idle") and m["parent_header"].get("msg_id") == msg_id  # noqa: E731
        seen = await asyncio.gather(one.until(ended), two.until(ended))
    text = "".join(f"{i}\n" for i in range(20_000))
    assert [text_of(messages) == text for messages in seen] == [True, True]
    async with await small_client.connect(kernel_id, v1=v1, session="away") as again:
        assert text_of(await again.until(ended)) == text


async def test_merging_loses_nothing_of_a_client_that_stalls(launch: Launch) -> None:
    """What follows the messages that are just being sent is merged, but not with them."""
    server = launch(*options(buffer_max_messages=100, client_max_bytes=64 * MIB))
    code = "import time\nfor i in range(3000):\n  stream(f'{i}\\n' + 'x' * 8000)\n  time.sleep(0.0005)"
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with (
            await client.connect(kernel_id, max_queue=1, compression=None) as stalled,
            await client.connect(kernel_id, compression=None) as reader,
        ):
            await stalled.receive()
            msg_id = await reader.execute(code)
            await reader.answers(msg_id)
            missed = await stalled.until(lambda m: is_status(m, "idle") and m["parent_header"].get("msg_id") == msg_id)
            await leave(stalled)
    assert len(of_type(missed, "stream")) < 3000  # there was something to merge
    assert text_of(missed) == "".join(f"{i}\n" + "x" * 8000 for i in range(3000))


# --- slow clients ---------------------------------------------------------------------------------

BLOCKS = "import os\nfor i in range({first}, {last}): publish('display_data', {{'i': i}}, buffers=[bytes(1 << 18)])"


@both
async def test_a_slow_client_returns_and_gets_everything(launch: Launch, v1: bool) -> None:
    """It is closed with 1013, which it reads to the end, and the others notice nothing."""
    server = launch(*options(client_max_bytes=8 * MIB))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        slow = await client.connect(kernel_id, v1=v1, session="slow", max_queue=1, compression=None)
        await slow.receive()
        async with await client.connect(kernel_id, v1=v1, compression=None) as reader:
            for first in range(0, 160, 8):
                answers = await reader.run(BLOCKS.format(first=first, last=first + 8))
                assert [m["content"]["i"] for m in of_type(answers, "display_data")] == [*range(first, first + 8)]
            code, reason = await slow.closed()
            assert (code, bool(reason)) == (1013, True)
            assert not notices_of(reader.received)
            async with await client.connect(kernel_id, v1=v1, session="slow", compression=None) as again:
                await replay(again)
        everything = slow.received + again.received
        assert [m["content"]["i"] for m in of_type(everything, "display_data")] == list(range(160))
        assert of_type(again.received, "display_data")  # something had to wait
        assert not notices_of(everything)


@both
async def test_a_slow_client_is_told_what_is_missing_beyond_the_bounds(small_client: Client, v1: bool) -> None:
    kernel_id = await small_client.start()
    slow = await small_client.connect(kernel_id, v1=v1, session="slow", max_queue=1, compression=None)
    await slow.receive()
    async with await small_client.connect(kernel_id, v1=v1, compression=None) as reader:
        for first in range(0, 320, 8):
            await reader.run(BLOCKS.format(first=first, last=first + 8))
    assert (await slow.closed())[0] == 1013
    async with await small_client.connect(kernel_id, v1=v1, session="slow", compression=None) as again:
        missed = await replay(again)
    [notice] = notices_of(missed)
    assert missed[0] is notice
    heard = [m["content"]["i"] for m in of_type(slow.received, "display_data")]
    kept = [m["content"]["i"] for m in of_type(missed, "display_data")]
    assert heard == list(range(len(heard)))
    assert kept == list(range(kept[0], 320))
    assert kept[0] > len(heard)
    assert len(missed) <= 102


async def test_a_client_that_stalls_does_not_delay_others(client: Client) -> None:
    kernel_id = await client.start()
    async with (
        await client.connect(kernel_id, max_queue=1, compression=None) as stalled,
        await client.connect(kernel_id, compression=None) as reader,
    ):
        await stalled.receive()
        await reader.run(BLOCKS.format(first=0, last=80))  # fills what lies between server and client
        for number in range(20):
            answers = await reader.answers(await reader.execute(f"stream('{number}')"), timeout_s=30)
            assert text_of(answers) == str(number)
        # Nor is it given up, within its bound: it only has to read.
        seen = await stalled.until(lambda m: m["msg_type"] == "stream" and m["content"]["text"].endswith("19"))
        await leave(stalled)
    assert [m["content"]["i"] for m in of_type(seen, "display_data")] == list(range(80))


async def test_a_stalled_client_does_not_make_the_server_grow(launch: Launch) -> None:
    server = launch(*options(client_max_bytes=16 * MIB, buffer_max_bytes=16 * MIB))
    process = psutil.Process(server.process.pid)
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with (
            await client.connect(kernel_id, max_queue=1, compression=None) as stalled,
            await client.connect(kernel_id, compression=None) as reader,
        ):
            await stalled.receive()
            await reader.run(BLOCKS.format(first=0, last=4))
            before = peak = process.memory_info().rss
            for first in range(0, 400, 8):
                await reader.run(BLOCKS.format(first=first, last=first + 8))
                reader.received.clear()
                peak = max(peak, process.memory_info().rss)
            assert (await stalled.closed())[0] in (1013, 1006)  # 1006: it did not even read the closing
    assert peak - before < 80 * MIB


# --- restart and death ----------------------------------------------------------------------------


@both
async def test_a_restart_clears_the_log_but_for_answers(client: Client, tmp_path: Any, v1: bool) -> None:
    kernel_id = await client.start()
    socket = await client.connect(kernel_id, v1=v1, session="mine")
    code = gated(tmp_path / "gate", "stream('of no interest'); open({!r}, 'x')\nwhile True: time.sleep(0.05)")
    msg_id = await begin(socket, code.format(str(tmp_path / "written")))
    waiting = await socket.execute("stream('never')")
    await leave_and_be_missed(client, kernel_id, socket)
    async with await client.connect(kernel_id, session="other") as other:
        (tmp_path / "gate").touch()
        await other.until(lambda m: m["msg_type"] == "stream" and m["content"]["text"] == "of no interest")
    assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
    async with await client.connect(kernel_id, v1=v1, session="mine") as again:
        missed = await replay(again)
        while not is_status(missed[-1], "idle"):
            missed += await replay(again)
        assert text_of(missed) == ""
        assert not notices_of(missed)
        for request in (msg_id, waiting):
            assert reply_to(missed, request)["content"]["status"] == "aborted"
            assert is_status(iopub_of(missed, request)[-1], "idle")
        assert text_of(await again.run("stream('alive')")) == "alive"


async def test_a_restart_in_a_flood_leaves_no_notice(client: Client) -> None:
    """The log is cleared while messages are being sent."""
    kernel_id = await client.start()
    async with await client.connect(kernel_id, compression=None) as socket, await client.connect(kernel_id) as other:
        for _ in range(3):
            await begin(socket, "while True: stream('x' * 10_000)")
            restart = asyncio.create_task(client.http.post(f"/api/kernels/{kernel_id}/restart"))
            await socket.until(lambda m: m["msg_type"] == "execute_reply")
            assert (await restart).status_code == 200
            assert text_of(await socket.run("stream('alive')")) == "alive"
        assert not notices_of(socket.received)
        await other.until(lambda m: m["msg_type"] == "stream" and m["content"]["text"] == "alive")
        await leave(other)


async def test_a_restart_while_a_client_stalls_leaves_no_notice(client: Client) -> None:
    """What was being sent to it is sent to the end; the rest is gone, and nobody misses it."""
    kernel_id = await client.start()
    async with (
        await client.connect(kernel_id, max_queue=1, compression=None) as stalled,
        await client.connect(kernel_id, compression=None) as reader,
    ):
        await stalled.receive()
        await reader.run(BLOCKS.format(first=0, last=80))
        assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
        await reader.run("stream('alive')")
        seen = await stalled.until(lambda m: m["msg_type"] == "stream" and m["content"]["text"] == "alive")
        await leave(stalled)
    heard = [m["content"]["i"] for m in of_type(seen, "display_data")]
    assert heard == list(range(len(heard)))
    assert len(heard) < 80  # it had stalled
    assert not notices_of(seen)


@both
async def test_a_death_is_explained_to_who_was_away(small: Server, small_client: Client, v1: bool) -> None:
    kernel_id = await small_client.start()
    socket = await small_client.connect(kernel_id, v1=v1, session="mine")
    msg_id = await begin(socket, SLEEP)
    await leave_and_be_missed(small_client, kernel_id, socket)
    small.process_of(kernel_id).kill()
    await small_client.until_kernel(kernel_id, lambda model: model["execution_state"] == "dead")
    async with await small_client.connect(kernel_id, v1=v1, session="mine") as again:
        missed = await again.until(lambda m: is_status(m, "dead") and "reason" not in m["content"])
    reply = reply_to(missed, msg_id)
    assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "DeadKernelError")
    error, idle = iopub_of(missed, msg_id)
    assert "SIGKILL" in error["content"]["evalue"]
    assert is_status(idle, "idle")
    dead = next(m for m in missed if is_status(m, "dead"))
    assert "SIGKILL" in dead["content"]["reason"]
    assert missed.index(reply) < missed.index(dead)


# --- abrupt losses --------------------------------------------------------------------------------


@both
async def test_after_an_abrupt_loss_status_and_replies_come_again(client: Client, v1: bool) -> None:
    """Nobody knows what a lost client has read, and doubles of these do no harm."""
    kernel_id = await client.start()
    socket = await client.connect(kernel_id, v1=v1, session="mine")
    msg_id = await socket.execute("stream('once')")
    before = await socket.answers(msg_id)
    await break_off(client, kernel_id, socket)
    async with await client.connect(kernel_id, v1=v1, session="mine") as again:
        repeated = await again.until(lambda m: is_current_status(m) and reply_in(again.received, msg_id))
        assert reply_to(repeated, msg_id) == reply_to(before, msg_id)
        assert [m["content"]["execution_state"] for m in iopub_of(repeated, msg_id)] == ["busy", "idle"]
        assert text_of(repeated) == ""
        assert is_status(repeated[-1], "idle")
        await leave_and_be_missed(client, kernel_id, again)
    async with await client.connect(kernel_id, v1=v1, session="mine") as third:  # that was read
        assert is_current_status(await third.receive())


def reply_in(messages: list[Json], msg_id: str) -> bool:
    return any(m["channel"] == "shell" and m["parent_header"].get("msg_id") == msg_id for m in messages)


@both
async def test_a_client_that_returns_before_its_loss_is_noticed(client: Client, v1: bool) -> None:
    """A new network: the old socket is still open for the server."""
    kernel_id = await client.start()
    socket = await client.connect(kernel_id, v1=v1, session="mine")
    msg_id = await socket.execute("stream('once')")
    await socket.answers(msg_id)
    async with await client.connect(kernel_id, v1=v1, session="mine") as again:
        repeated = await again.until(lambda m: is_current_status(m) and reply_in(again.received, msg_id))
        assert reply_to(repeated, msg_id)
        assert is_status(repeated[-1], "idle")
    await socket.ws.close()


@both
async def test_an_abrupt_loss_loses_nothing_that_was_not_sent(client: Client, v1: bool) -> None:
    """The client has stopped reading: most still waits in the server when it is lost."""
    kernel_id = await client.start()
    socket = await client.connect(kernel_id, v1=v1, session="mine", max_queue=1, compression=None)
    await socket.receive()
    async with await client.connect(kernel_id, compression=None) as witness:
        msg_id = await socket.execute(BLOCKS.format(first=0, last=160))
        await witness.until(lambda m: is_status(m, "idle") and m["parent_header"].get("msg_id") == msg_id)
        await break_off(client, kernel_id, socket)
        async with await client.connect(kernel_id, v1=v1, session="mine", compression=None) as again:
            missed = await again.answers(msg_id)
    kept = [m["content"]["i"] for m in of_type(missed, "display_data")]
    assert kept == list(range(160 - len(kept), 160))
    assert len(kept) > 100  # what lies between server and client is a few MiB
    assert reply_to(missed, msg_id)["content"]["status"] == "ok"
    assert not notices_of(missed)
