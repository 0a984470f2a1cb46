"""Which listener gets which message: the filters alone, and a whole client on a real kernel socket.

A round of the latter is messages.BATCH messages; what it costs more than test_drain is signatures, headers and
routes.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.heartbeat import HeartbeatOptions
from fps_kernels.kernel_driver.listener import Listener

from .kernel import Kernel

OTHERS = ["display_data", ("comm_msg", "iopub"), "execute_result"]


def test_filter(benchmark: BenchmarkFixture) -> None:
    listener = Listener(lambda *_: None, ["stream", *OTHERS], ["status"], channels=["iopub", "shell"])
    assert benchmark(listener.wants, "iopub", "stream")


@pytest.mark.parametrize(("hearing", "others"), [(0, 0), (1, 0), (1, 20), (20, 0)])
def test_client(benchmark: BenchmarkFixture, kernel: Kernel, hearing: int, others: int) -> None:
    """hearing: listeners that get each message; others: listeners whose filters keep it from them."""
    client = KernelClient("benchmark", kernel.context, heartbeat=HeartbeatOptions(interval_s=0))
    client.add_batch_listener(lambda _, messages: kernel.count(len(messages)))
    for _ in range(hearing):
        client.add_listener(lambda *_: None, ["stream"], channels=["iopub"])
    for _ in range(others):
        client.add_listener(lambda *_: None, OTHERS)
    kernel.run(lambda: client.connect(kernel.info))
    benchmark.pedantic(kernel.read, setup=kernel.publish, rounds=10, warmup_rounds=2)
    kernel.loop.run_until_complete(client.close())
    assert not client.rejected
