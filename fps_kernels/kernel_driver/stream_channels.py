"""The channels to a kernel that is no process: streams of anyio, which its maker hands out.

Whoever made the kernel forwards what is sent, to a web worker or another thread, say. A stream takes a message when its
other side reads, so that each channel has a task that sends, and a bounded queue before it; another one reads.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import anyio

from ..errors import KernelNotConnected, QueueFull
from ..tasks import TaskSet
from .channels import SEND_QUEUE_MESSAGES, TALKING, OnBatch
from .header import Buffer

logger = logging.getLogger(__name__)

BATCH_MESSAGES = 64
"""Messages of one channel that are taken before others get their turn."""

GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)
"""What a stream raises whose other side is gone."""


class ReceiveStream(Protocol):
    """A stream of messages, each a list of frames as they go over ZMQ: identities, delimiter, signature and parts."""

    async def receive(self) -> list[bytes]: ...


class Stream(ReceiveStream, Protocol):
    """The same in both directions."""

    async def send(self, item: list[bytes]) -> None: ...


class StreamChannels:
    """The streams of one kernel.

    talking: those of shell, control and stdin, by name. iopub: which is only read.
    on_batch: called with what arrives.
    """

    def __init__(self, talking: Mapping[str, Stream], iopub: ReceiveStream, on_batch: OnBatch) -> None:
        self._on_batch = on_batch
        self._waiting: dict[str, deque[list[bytes]]] = {channel: deque() for channel in TALKING}
        self._wake = {channel: asyncio.Event() for channel in TALKING}
        self._tasks = TaskSet()
        self._closed = False
        self._tasks.start(self._read("iopub", iopub), name="reader of iopub")
        for channel in TALKING:
            self._tasks.start(self._read(channel, talking[channel]), name=f"reader of {channel}")
            self._tasks.start(self._write(channel, talking[channel]), name=f"writer of {channel}")

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def send(self, channel: str, frames: Sequence[Buffer]) -> None:
        """Queue a message.

        Raises QueueFull beyond SEND_QUEUE_MESSAGES, KernelNotConnected after `close`.
        """
        if self._closed:
            raise KernelNotConnected("the connection to the kernel is closed")
        waiting = self._waiting[channel]
        if len(waiting) >= SEND_QUEUE_MESSAGES:
            raise QueueFull(f"the kernel does not read: {len(waiting)} messages wait on {channel}")
        waiting.append([bytes(frame) for frame in frames])
        self._wake[channel].set()

    def connected(self, channel: str) -> bool:
        """True: a stream is there from the beginning."""
        return True

    def reopen_lost(self) -> None:
        """Nothing: a stream is not lost before its kernel is."""

    def reopen(self, channel: str) -> None:
        """Nothing, likewise."""

    def close(self) -> None:
        """Read and send no more. The streams are their kernel's to close."""
        self._closed = True
        for task in self._tasks:
            task.cancel()

    async def _read(self, channel: str, stream: ReceiveStream) -> None:
        # An anyio memory stream tells without waiting what it has; of others only one message is taken at a time.
        receiver = getattr(stream, "receive_stream", stream)
        receive_nowait: Callable[[], list[bytes]] | None = getattr(receiver, "receive_nowait", None)
        while True:
            try:
                batch = [await stream.receive()]
            except GONE:
                return
            while receive_nowait is not None and len(batch) < BATCH_MESSAGES:
                try:
                    batch.append(receive_nowait())
                except (anyio.WouldBlock, *GONE):
                    break
            self._on_batch(channel, batch)
            await asyncio.sleep(0)  # a kernel that never pauses must not keep others from their turn

    async def _write(self, channel: str, stream: Stream) -> None:
        waiting, wake = self._waiting[channel], self._wake[channel]
        while True:
            await wake.wait()
            wake.clear()
            while waiting:
                try:
                    await stream.send(waiting[0])
                except GONE:
                    logger.debug("%s is gone; what waits for it is dropped", channel)
                    return
                waiting.popleft()
