"""How long one message waits for its write while another kernel floods: from its arrival to the client's socket.

Both kernels are real ZMQ sockets, and their clients take all at once. Where all that has arrived is 1,000 messages of
the other kernel and this one, it should wait for one turn of the flood. Look at the median, and at p99 in extra_info.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fps_kernels.kernel_driver.channels import ZMQChannels
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.heartbeat import HeartbeatOptions
from fps_kernels.kernel_driver.turns import Turns
from fps_kernels.kernel_server.server import KernelServer

from .kernel import Kernel

ROUNDS = 200


class Sink:
    """A WebSocket whose client reads at once, and sends nothing. on_write: called at each write."""

    closed_cleanly = True
    deliver = None

    def __init__(self, on_write: Callable[[], None]) -> None:
        self._on_write = on_write

    async def write(self, buffers: Sequence[bytes]) -> None:
        self._on_write()

    def write_now(self, buffers: Sequence[bytes]) -> bool:
        self._on_write()
        return True

    async def receive(self) -> None:
        await asyncio.Event().wait()

    async def send(self, frame: object) -> None:
        raise NotImplementedError

    async def close(self, code: int, reason: str) -> None:
        pass


@pytest.mark.parametrize("flooding", [False, True], ids=["alone", "beside a flood"])
def test_arrival_to_write(benchmark: BenchmarkFixture, kernel: Kernel, flooding: bool) -> None:
    loop, busy = kernel.loop, Kernel()
    open_channels = partial(ZMQChannels, turns=Turns())
    clients = [
        KernelClient(name, kernel.context, heartbeat=HeartbeatOptions(interval_s=0), open_channels=open_channels)
        for name in ("quiet", "busy")
    ]
    written = asyncio.Event()

    async def begin() -> list[asyncio.Task[None]]:
        sinks = (Sink(written.set), Sink(lambda: None))
        tasks = [
            asyncio.create_task(KernelServer(client).serve(sink, "session", v1=True))
            for client, sink in zip(clients, sinks, strict=True)
        ]
        for client, one in zip(clients, (kernel, busy), strict=True):
            client.connect(one.info)
        clients[1].add_batch_listener(lambda _, messages: busy.count(len(messages)))
        await asyncio.sleep(0.5)  # until both are subscribed to
        return tasks

    def publish() -> None:
        if flooding:
            loop.run_until_complete(asyncio.wait_for(busy.all_read.wait(), 10))
            busy.publish()
        kernel.publish(1)
        written.clear()

    busy.all_read.set()
    serving = loop.run_until_complete(begin())
    benchmark.pedantic(lambda: loop.run_until_complete(written.wait()), setup=publish, rounds=ROUNDS, warmup_rounds=5)
    times = sorted(benchmark.stats.stats.data)
    benchmark.extra_info["p99 ms"] = round(times[int(0.99 * len(times))] * 1000, 2)

    async def end() -> None:
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for client in clients:
            await client.close()

    loop.run_until_complete(end())
    busy.close()
