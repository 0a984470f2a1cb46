"""Messages as kernels send them, for all benchmarks of this folder."""

from __future__ import annotations

from collections.abc import Sequence

from fps_kernels.kernel_driver.message import DELIMITER, Message, dump_json, make_frames, make_header
from fps_kernels.kernel_driver.signer import Signer

KEY = b"0123456789abcdef0123456789abcdef"
SIGNER = Signer(KEY)
PARENT = dump_json(make_header("execute_request", "client", "user"))
BATCH = 1_000
"""Messages of one round, where a single one is too short to be measured."""


def stream(text: str = "x" * 100) -> list[bytes]:
    """The frames of what a cell prints; 100 characters is a long line."""
    return make_frames("stream", {"name": "stdout", "text": text}, "kernel", PARENT)


def with_buffer(size: int) -> list[bytes]:
    """The frames of a widget's message, and one buffer."""
    return [*make_frames("comm_msg", {"comm_id": "c", "data": {"method": "update"}}, "kernel", PARENT), bytes(size)]


def on_the_wire(frames: Sequence[bytes]) -> list[bytes]:
    """The frames that a kernel's PUB socket sends."""
    return [b"topic", DELIMITER, SIGNER.sign(frames), *frames]


def batch() -> list[Message]:
    """What drains bring: each message an object of its own, with bytes of its own."""
    return [Message("iopub", stream(f"{number:0100d}")) for number in range(BATCH)]
