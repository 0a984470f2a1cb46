"""Memory that a burst of messages took is given back to the system."""

from __future__ import annotations

import asyncio

import pytest
import zmq

from fps_kernels.serving.malloc_trim import GROWN_BYTES, find_malloc_trim, give_back, resident_bytes

from ..support.waits import until

MESSAGE = [b"x" * 100] * 7
BACKLOG = 30_000
"""Messages that wait in libzmq, in memory of its own thread: some 100 MiB."""

pytestmark = pytest.mark.skipif(find_malloc_trim() is None, reason="the C library is not glibc")


def burst(sender: zmq.Socket, receiver: zmq.Socket) -> None:
    """Have libzmq queue messages, and read them."""
    for _ in range(BACKLOG):
        sender.send_multipart(MESSAGE)
    for _ in range(BACKLOG):
        receiver.recv_multipart()


async def test_memory_of_a_burst_is_given_back() -> None:
    task = asyncio.create_task(give_back(check_s=0.05))
    await asyncio.sleep(0)  # it remembers how large the process is
    before = resident_bytes()
    with zmq.Context() as context, context.socket(zmq.PUSH) as sender, context.socket(zmq.PULL) as receiver:
        sender.sndhwm = receiver.rcvhwm = 0
        receiver.connect(f"tcp://127.0.0.1:{sender.bind_to_random_port('tcp://127.0.0.1')}")
        for _ in range(10):  # what waits on either side is a matter of pace
            burst(sender, receiver)
            grown = resident_bytes() - before
            if grown > 2 * GROWN_BYTES:
                break
        else:
            pytest.skip("this C library keeps nothing")
        await until(lambda: resident_bytes() - before <= grown / 2, 20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
