"""The channels to a kernel of a server: one WebSocket, in the place of the kernel's ZMQ sockets.

What comes is handed on in the form that it has on ZMQ, so that all above it, the connection that all share and the
queue of cells, is what a server itself uses. When the WebSocket breaks, it is opened again with the same session, for
which servers keep what was missed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ..errors import KernelNotConnected, MalformedMessage, QueueFull
from ..kernel_driver.channels import OnBatch
from ..kernel_driver.header import DELIMITER, Buffer
from ..kernel_server.wire import V1_PROTOCOL, decode_default, decode_v1, encode_default, encode_v1
from ..tasks import TaskSet

logger = logging.getLogger(__name__)

SEND_QUEUE_MESSAGES = 10_000
"""Messages that may wait for a server that reads too slowly."""
RETRY_DELAYS_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses between attempts to reach a server that was lost; it is given up after the last one."""
ENDS = ("restarting", "autorestarting", "dead", "terminating")
"""What a server says of a kernel that has lost what the notebook has done so far."""


class ServerChannels:
    """The WebSocket to one kernel: Channels, see there.

    url, headers: where it is opened, and how.
    on_batch: called with what arrives.
    exists(): whether the server still has the kernel.
    on_lost: called with the reason when there is nothing more to expect of it.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        on_batch: OnBatch,
        exists: Callable[[], Awaitable[bool]],
        on_lost: Callable[[str], None],
    ) -> None:
        self._url = url
        self._headers = headers
        self._on_batch = on_batch
        self._exists = exists
        self._on_lost = on_lost
        self._sending: asyncio.Queue[tuple[str, Sequence[Buffer]]] = asyncio.Queue(SEND_QUEUE_MESSAGES)
        self._unsent: tuple[str, Sequence[Buffer]] | None = None
        self._open = self._closed = False
        self._tasks = TaskSet()
        self._tasks.start(self._run(), name="WebSocket of a kernel")

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def send(self, channel: str, frames: Sequence[Buffer]) -> None:
        """Send a message as soon as there is a connection. Raises QueueFull, KernelNotConnected after `close`."""
        if self._closed:
            raise KernelNotConnected("the connection to the kernel is closed")
        try:
            self._sending.put_nowait((channel, frames))
        except asyncio.QueueFull:
            raise QueueFull("the server does not read its messages, and the queue for it is full") from None

    def connected(self, channel: str) -> bool:
        """Whether there is a connection; all channels have the same."""
        return self._open

    def reopen_lost(self) -> None:
        """Nothing: a lost connection is opened again by itself."""

    def reopen(self, channel: str) -> None:
        """Nothing, as there is no channel that could be lost alone."""

    def close(self) -> None:
        """Close the connection; what was not sent is dropped."""
        self._closed = True
        for task in self._tasks:
            task.cancel()

    async def _run(self) -> None:
        """Keep a connection until `close`, or until the kernel or its server is gone."""
        from websockets.exceptions import WebSocketException

        failures = 0
        while True:
            try:
                await self._serve_connection()
                reason = "the server has closed the connection"
            except (OSError, TimeoutError, WebSocketException) as exc:
                reason = str(exc) or type(exc).__name__
            if self._open:
                self._open, failures = False, 0
            if failures == len(RETRY_DELAYS_S):
                self._on_lost(f"the connection to the server is lost ({reason})")
                return
            logger.info("the connection to the kernel is lost: %s", reason)
            await asyncio.sleep(RETRY_DELAYS_S[failures])
            failures += 1
            if not await self._exists():
                self._on_lost("the server does not have it any more")
                return

    async def _serve_connection(self) -> None:
        from websockets.asyncio.client import connect
        from websockets.typing import Subprotocol

        async with connect(
            self._url,
            additional_headers=dict(self._headers),
            subprotocols=[Subprotocol(V1_PROTOCOL)],
            max_size=None,
            compression=None,
        ) as socket:
            v1 = socket.subprotocol == V1_PROTOCOL
            self._open = True
            sending = self._tasks.start(self._send_all(socket, v1=v1), name="sending", log_failure=False)
            try:
                async for data in socket:
                    self._take(data, v1=v1)
            finally:
                sending.cancel()

    async def _send_all(self, socket: Any, *, v1: bool) -> None:
        while True:
            if self._unsent is None:
                self._unsent = await self._sending.get()
            channel, signed = self._unsent
            frames = [bytes(frame) for frame in signed[2:]]  # after the delimiter and the signature
            await socket.send(encode_v1(channel.encode(), frames) if v1 else encode_default(channel, frames))
            self._unsent = None

    def _take(self, data: str | bytes, *, v1: bool) -> None:
        try:
            if v1 and isinstance(data, bytes):
                channel, frames = decode_v1(data)
            else:
                channel, frames, _ = decode_default(data)
        except MalformedMessage as exc:
            logger.warning("a message of the server is of no use: %s", exc.message)
            return
        plain = [bytes(frame) for frame in frames]
        self._on_batch(channel, [[DELIMITER, b"", *plain]])
        if channel == "iopub" and b'"execution_state"' in plain[3] and (reason := _end_of(plain[3])) is not None:
            self._on_lost(reason)


def _end_of(content: bytes) -> str | None:
    """Why a kernel is another one now, or none, if a status says so."""
    try:
        state = json.loads(content).get("execution_state")
    except (ValueError, AttributeError):
        return None
    return f"the server says that it is {state}" if state in ENDS else None
