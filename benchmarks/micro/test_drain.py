"""From a real kernel socket to lists of frames. One round is messages.BATCH messages."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from fps_kernels.kernel_driver.channels import ZMQChannels

from .kernel import Kernel


def test_drain(benchmark: BenchmarkFixture, kernel: Kernel) -> None:
    opened: list[ZMQChannels] = []

    def connect() -> None:
        opened.append(ZMQChannels(kernel.context, kernel.info, b"us", lambda _, batch: kernel.count(len(batch))))

    kernel.run(connect)
    benchmark.pedantic(kernel.read, setup=kernel.publish, rounds=20, warmup_rounds=2)
    kernel.run(opened[0].close)
