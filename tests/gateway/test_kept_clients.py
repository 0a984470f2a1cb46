"""Clients of a gateway that is killed: what each hears of the next one is what it has not heard yet."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
import websockets

from fps_kernels.keeper.keeper_folder import KeeperFolder
from fps_kernels.kept.keeper_client import KeeperClient

from ..support.client import Client
from ..support.keepers import is_running
from ..support.kept_gateways import KeptGateways
from ..support.messages import is_end_of, of_type, text_of
from ..support.waits import until

LINES = 5_000


@pytest.mark.parametrize("v1", [True, False])
async def test_a_client_hears_each_line_of_a_flood_once(kept_gateways: KeptGateways, v1: bool) -> None:
    first = kept_gateways.begin()
    async with Client(first.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id, v1=v1, session="page") as socket:
            await socket.run("x = 1")
            msg_id = await socket.execute(f"for n in range({LINES}): stream(str(n) + '\\n')")
            heard = await socket.until(lambda one: one["msg_type"] == "stream")
            kept_gateways.kill(first)
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:  # what the system had of it arrives
                    heard.append(await socket.receive())
    second = kept_gateways.begin()
    async with Client(second.url) as client, await client.connect(kernel_id, v1=v1, session="page") as socket:
        rest = await socket.until(is_end_of(msg_id))
    lines = text_of([*heard, *rest]).splitlines()
    assert list(dict.fromkeys(lines)) == [str(n) for n in range(LINES)]
    # A kill in the one moment between a write and its note repeats what was in that write.
    assert len(lines) - LINES <= 64
    [reply] = of_type([*heard, *rest], "execute_reply")
    assert reply["content"]["status"] == "ok"


async def test_a_cell_that_waits_for_input_is_answered(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin()
    async with Client(first.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id, session="page") as socket:
            msg_id = await socket.execute("stream(reply_input('name?'))", allow_stdin=True)
            [asked] = of_type(await socket.until(lambda one: one["msg_type"] == "input_request"), "input_request")
            kept_gateways.kill(first)
    second = kept_gateways.begin()
    async with Client(second.url) as client, await client.connect(kernel_id, session="page") as socket:
        await socket.send("input_reply", {"value": "ada"}, channel="stdin", parent=asked["header"])
        answers = await socket.until(is_end_of(msg_id))
        assert text_of(answers) == "ada"
        assert of_type(answers, "input_request") == []  # the page has its box still


async def test_a_client_that_was_away_hears_what_was_said_with_and_without_a_server(
    kept_gateways: KeptGateways,
) -> None:
    first = kept_gateways.begin()
    async with Client(first.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id, session="laptop") as socket:
            await socket.run("import time")
            msg_id = await socket.execute("stream('0\\n'); time.sleep(0.5)\nfor n in range(1, 100): stream(f'{n}\\n')")
            await socket.until(lambda one: one["msg_type"] == "stream")
    kept_gateways.kill(first)
    second = kept_gateways.begin()
    async with Client(second.url) as client, await client.connect(kernel_id, session="laptop") as socket:
        answers = await socket.until(is_end_of(msg_id))
    assert [line for line in text_of(answers).splitlines() if line != "0"] == [str(n) for n in range(1, 100)]


async def test_a_stop_that_leaves_kernels_leaves_clients_where_they_are(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin(keep="always")
    async with Client(first.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id, session="page") as socket:
            await socket.run("import time")
            msg_id = await socket.execute("for n in range(300): stream(f'{n}\\n'); time.sleep(0.005)")
            heard = await socket.until(lambda one: one["msg_type"] == "stream")
            first.stop()
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    heard.append(await socket.receive())
    second = kept_gateways.begin(keep="always")
    async with Client(second.url) as client, await client.connect(kernel_id, session="page") as socket:
        rest = await socket.until(is_end_of(msg_id))
    assert text_of([*heard, *rest]).splitlines() == [str(n) for n in range(300)]


LAST_WORDS = """\
stream('begins\\n')
while not os.path.exists({go!r}): time.sleep(0.01)
stream('last words\\n')
time.sleep(0.2)
os._exit(7)
"""


@pytest.mark.parametrize("page", [True, False])
@pytest.mark.parametrize("restarts", [True, False])
async def test_the_last_words_of_a_kernel_that_died_without_a_server_are_heard(
    kept_gateways: KeptGateways, tmp_path: Path, restarts: bool, page: bool
) -> None:
    options = [] if restarts else ["--KernelManager.autorestart=False"]
    first = kept_gateways.begin(*options)
    go = tmp_path / "go"
    async with Client(first.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id, session="page") as socket:
            await socket.run("import os, time")
            msg_id = await socket.execute(LAST_WORDS.format(go=str(go)))
            await socket.until(lambda one: one["msg_type"] == "stream")
    [process] = first.kernel_processes()
    kept_gateways.kill(first)
    go.touch()
    await until(lambda: not is_running(process))
    second = kept_gateways.begin(*options)
    headers = {"Origin": second.url} if page else {}
    async with (
        Client(second.url) as client,
        await client.connect(kernel_id, session="page", additional_headers=headers) as socket,
    ):
        heard = await socket.until(
            lambda one: one["msg_type"] == "execute_reply" and one["parent_header"]["msg_id"] == msg_id
        )
        [reply] = of_type(heard, "execute_reply")
        assert reply["content"]["status"] == "error"
        state = "restarting" if restarts else "dead"
        if not any(one["content"] == {"execution_state": state} for one in of_type(heard, "status")):
            heard += await socket.until(lambda one: one["content"].get("execution_state") == state)
    assert "last words\n" in text_of(heard)
    assert reply["content"]["evalue"] == "The kernel died while no server was running: exited with code 7"


@pytest.mark.parametrize("v1", [True, False])
async def test_a_client_waits_for_a_kernel_that_does_not_take_its_large_messages(
    kept_gateways: KeptGateways, v1: bool
) -> None:
    """The keeper has what it does not take, and holds no more of it than a server would."""
    gateway = kept_gateways.begin()
    count, size = 16, 16 << 20
    async with Client(gateway.url) as client:
        kernel_id, other_id = await client.start(), await client.start()
        async with await client.connect(kernel_id, v1=v1) as socket, await client.connect(other_id) as other:
            await socket.run("x = 1")
            kernel, keeper = gateway.process_of(kernel_id), kept_gateways.keeper()
            before, sent = keeper.memory_info().rss, 0

            async def send() -> None:
                nonlocal sent
                for number in range(count):
                    content = {"comm_id": "c", "data": {"number": number}}
                    await socket.send("comm_msg", content, buffers=[bytes(size)])
                    sent += 1

            kernel.suspend()
            sending = asyncio.create_task(send())
            last = -1
            while last != sent or not sent:  # until it waits, of which nobody tells
                last = sent
                await asyncio.sleep(2)
            assert sent < count
            assert keeper.memory_info().rss - before < 200 << 20
            assert text_of(await other.run("stream('well')")) == "well"
            kernel.resume()
            heard = await socket.until(lambda one: one["content"].get("data") == {"number": count - 1})
            await sending
            assert [one["content"]["data"]["number"] for one in of_type(heard, "comm_msg")] == list(range(count))


@pytest.mark.parametrize(("size", "count"), [(10_000_000, 12), (64 << 20, 3)])
async def test_large_outputs_arrive_and_are_not_kept_once_they_were_heard(
    kept_gateways: KeptGateways, size: int, count: int
) -> None:
    """More bytes than are kept of a kernel, in fewer messages than a server lets pass before it looks what it needs."""
    gateway = kept_gateways.begin()
    loop = f"data = bytes({size})\nfor n in range({count}): "
    publish = loop + "publish('display_data', {'data': {}, 'metadata': {}}, [data])"
    keeper = KeeperClient(KeeperFolder(kept_gateways.state))
    async with Client(gateway.url) as client, await client.connect(await client.start(), session="page") as socket:
        for _ in range(2):
            heard = await socket.run(publish)
            assert [len(one["buffers"][0]) for one in of_type(heard, "display_data")] == [size] * count
        await keeper.start()

        async def is_kept_no_more() -> bool:
            (summary,) = (await keeper.call("kernels"))["kernels"]
            return bool(summary["bytes"] < count * size)

        try:
            await until(is_kept_no_more)
        finally:
            await keeper.leave()
