"""What many WebSockets and restarts leave behind in a stock Jupyter Server whose kernels are ours: nothing."""

from __future__ import annotations

import asyncio
import re
import signal
from dataclasses import dataclass

import psutil
import pytest

from ..support.client import Client
from ..support.messages import text_of
from ..support.stock import BeginStock, StockServer
from ..support.waits import until
from .conftest import READY

MIB = 1024 * 1024
SLACK = 5
"""Descriptors and tasks that come and go with a server's own chores."""

TELL = """
import asyncio, gc, os, signal

def tell(*_):
    gc.collect()
    os.write(2, f"it has {len(asyncio.all_tasks())} tasks\\n".encode())

signal.signal(signal.SIGUSR2, tell)
"""


@dataclass
class Holdings:
    """What a server has: descriptors, asyncio's tasks, bytes of memory."""

    descriptors: int
    tasks: int
    memory: int


@pytest.fixture(scope="module")
def server(begin_shared: BeginStock, tmp_path_factory: pytest.TempPathFactory) -> StockServer:
    """One that tells how many tasks it has."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "jupyter_server_config.py").write_text(TELL)
    return begin_shared(*READY, env={"JUPYTER_CONFIG_DIR": str(folder)})


async def holdings(server: StockServer) -> Holdings:
    def told() -> list[str]:
        return re.findall(r"it has (\d+) tasks", server.log.read_text())

    before = len(told())
    server.process.send_signal(signal.SIGUSR2)
    counts = await until(lambda: told()[before:])
    process = psutil.Process(server.process.pid)
    return Holdings(process.num_fds(), int(counts[0]), process.memory_info().rss)


async def settled(server: StockServer, before: Holdings) -> Holdings:
    """What it has when it has no more than before. Raises TimeoutError."""

    async def as_before() -> Holdings | None:
        now = await holdings(server)
        within = now.descriptors <= before.descriptors + SLACK and now.tasks <= before.tasks + SLACK
        return now if within else None

    return await until(as_before, every_s=0.2)


async def test_websockets_leave_nothing(server: StockServer, client: Client) -> None:
    kernel_id = await client.start()

    async def visit(number: int) -> None:
        async with await client.connect(kernel_id, v1=number % 2 == 0) as socket:
            assert text_of(await socket.run(f"stream('{number}')")) == str(number)
            if number % 3 == 0:
                socket.ws.transport.abort()

    async def visits(count: int) -> None:
        for first in range(0, count, 10):
            await asyncio.gather(*(visit(number) for number in range(first, first + 10)))
        await client.until_kernel(kernel_id, lambda model: model["connections"] == 0)

    await visits(30)
    before = await holdings(server)
    await visits(60)
    after = await settled(server, before)
    assert after.memory < before.memory + 16 * MIB


async def test_restarts_leave_nothing(server: StockServer, client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:

        async def restarts(count: int) -> None:
            for number in range(count):
                assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
                assert text_of(await socket.run(f"stream('{number}')")) == str(number)

        await restarts(5)
        before = await holdings(server)
        await restarts(20)
        after = await settled(server, before)
    assert after.memory < before.memory + 16 * MIB
    assert len(server.kernel_processes()) == 1


async def test_kernels_leave_nothing(server: StockServer, client: Client) -> None:
    async def lives(count: int) -> None:
        for _ in range(0, count, 5):
            kernels = await asyncio.gather(*(client.start() for _ in range(5)))
            await asyncio.gather(*(client.http.delete(f"/api/kernels/{kernel_id}") for kernel_id in kernels))

    await lives(10)
    before = await holdings(server)
    await lives(20)
    after = await settled(server, before)
    assert after.memory < before.memory + 16 * MIB
    assert server.kernel_processes() == []
    assert [name for name in server.connection_files() if name.startswith("kernel-")] == []
