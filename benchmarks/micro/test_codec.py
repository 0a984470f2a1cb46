"""From the frames of a message to WebSocket frames, and back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fps_kernels.kernel_driver.message import peek_msg_type
from fps_kernels.kernel_server import wire
from fps_kernels.websocket.frame_batch import Run

from .messages import stream, with_buffer

messages = pytest.mark.parametrize(
    "frames", [stream(), stream("ü" * 100), with_buffer(1 << 20)], ids=["line", "not_ascii", "1_MiB_buffer"]
)
A_RUN = 24
"""Messages that a writer takes at a time."""


@messages
def test_v1_pieces(benchmark: BenchmarkFixture, frames: Sequence[bytes]) -> None:
    assert benchmark(wire.v1_pieces, b"iopub", frames)


@messages
def test_v1_encode(benchmark: BenchmarkFixture, frames: Sequence[bytes]) -> None:
    assert benchmark(wire.encode_v1, b"iopub", frames)


@messages
def test_v1_decode(benchmark: BenchmarkFixture, frames: Sequence[bytes]) -> None:
    assert benchmark(wire.decode_v1, wire.encode_v1(b"shell", frames)) == ("shell", list(frames))


@messages
def test_default_encode(benchmark: BenchmarkFixture, frames: Sequence[bytes]) -> None:
    assert benchmark(wire.encode_default, "iopub", frames)


@messages
def test_default_decode(benchmark: BenchmarkFixture, frames: Sequence[bytes]) -> None:
    channel, *_ = benchmark(wire.decode_default, wire.encode_default("shell", frames))
    assert channel == "shell"


@pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])
def test_decode_request(benchmark: BenchmarkFixture, v1: bool) -> None:
    """All that is read of a message of a client on its way in."""
    data = wire.encode_v1(b"shell", stream()) if v1 else wire.encode_default("shell", stream())
    channel, _, header = benchmark(wire.decode_request, data, v1=v1)
    assert (channel, header.msg_type) == ("shell", "stream")


def test_header_peek(benchmark: BenchmarkFixture) -> None:
    assert benchmark(peek_msg_type, stream()[0]) == "stream"


def test_run_of_v1_frames(benchmark: BenchmarkFixture) -> None:
    """A whole run, as a writer hands it to the transport."""
    lines = [stream() for _ in range(A_RUN)]
    assert benchmark(lambda: Run([(False, wire.v1_pieces(b"iopub", frames)) for frames in lines]).buffers())
