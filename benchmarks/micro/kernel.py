"""The other end of a kernel's ZMQ sockets, in the benchmark's own process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
import uvloop
import zmq

from fps_kernels.kernel_driver.connection_file import CHANNEL_NAMES, ConnectionInfo

from .messages import BATCH, KEY, on_the_wire, stream

ARRIVAL_S = 0.05
"""In which a batch that was sent is sure to wait in libzmq on the other side; nothing tells when it does."""
SUBSCRIPTION_S = 0.2
TIMEOUT_S = 10


class Kernel:
    """Sockets that listen, and nothing behind them.

    loop: for whoever reads, runs only in `read`. all_read: set when all that was published was counted.
    """

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.context: zmq.Context = zmq.Context()
        kinds = {"iopub": zmq.PUB, "hb": zmq.REP}
        self._sockets = {name: self.context.socket(kinds.get(name, zmq.ROUTER)) for name in CHANNEL_NAMES}
        self._sockets["iopub"].sndhwm = 0
        ports = {name: socket.bind_to_random_port("tcp://127.0.0.1") for name, socket in self._sockets.items()}
        self.info = ConnectionInfo("tcp", "127.0.0.1", ports, KEY, "hmac-sha256")
        self._frames = on_the_wire(stream())
        self._left = 0
        self.all_read = asyncio.Event()

    def run(self, function: Callable[[], object]) -> None:
        """Call it where there is a running loop, and give the sockets that it opens time to subscribe."""

        async def call() -> None:
            function()
            await asyncio.sleep(SUBSCRIPTION_S)

        self.loop.run_until_complete(call())

    def publish(self, messages: int = BATCH) -> None:
        """Send a batch, and wait until it is there."""
        for _ in range(messages):
            self._sockets["iopub"].send_multipart(self._frames)
        time.sleep(ARRIVAL_S)
        self._left = messages
        self.all_read.clear()

    def count(self, messages: int) -> None:
        """To be called by whoever reads."""
        self._left -= messages
        if self._left <= 0:
            self.all_read.set()

    def read(self) -> None:
        """Run the loop until all that was published is read."""
        self.loop.run_until_complete(asyncio.wait_for(self.all_read.wait(), TIMEOUT_S))

    def close(self) -> None:
        self.loop.close()
        self.context.destroy(0)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    one = Kernel()
    yield one
    one.close()
