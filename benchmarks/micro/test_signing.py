"""The HMAC of messages: made for what goes to kernels, checked for what comes from them."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .messages import SIGNER, stream

sizes = pytest.mark.parametrize("size", [100, 10_000, 1_000_000])


@sizes
def test_sign(benchmark: BenchmarkFixture, size: int) -> None:
    assert benchmark(SIGNER.sign, stream("x" * size))


@sizes
def test_verify(benchmark: BenchmarkFixture, size: int) -> None:
    frames = stream("x" * size)
    benchmark(SIGNER.verify, SIGNER.sign(frames), frames)
