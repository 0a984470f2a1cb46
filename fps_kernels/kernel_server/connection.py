"""One WebSocket to a kernel: a bounded queue and one writer."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

logger = logging.getLogger(__name__)

Frame = str | bytes
"""What goes over a WebSocket: text or binary."""

QUEUE_MESSAGES = 100_000
QUEUE_BYTES = 128 * 1024 * 1024
"""How much may wait for a client that reads too slowly: frames and bytes. Beyond, its socket is closed."""
CLOSE_TIMEOUT_S = 5.0
"""How long closing may take; a client that does not read cannot even be told."""
WRITES_BEFORE_YIELD = 256
"""A send that does not have to wait does not yield to the loop either: do so now and then."""

CLOSE_NORMAL = 1000
CLOSE_RESTART = 1012
CLOSE_TRY_AGAIN = 1013


class WebSocket(Protocol):
    """What we need of a WebSocket that was accepted."""

    async def receive(self) -> Frame | None:
        """The next message; None once the peer is gone."""

    async def send(self, frame: Frame) -> None:
        """Returns when the frame is written. Raises ConnectionResetError when the peer is gone."""

    async def close(self, code: int, reason: str) -> None:
        """Raises ConnectionResetError when the peer is gone."""


class Connection:
    """A client's WebSocket, and what waits for it.

    v1: whether it speaks v1.kernel.websocket.jupyter.org rather than the default protocol.
    may_execute: whether what it sends goes to the kernel.
    """

    def __init__(self, socket: WebSocket, session_id: str, *, v1: bool, may_execute: bool = True) -> None:
        self.session_id = session_id
        self.v1 = v1
        self.may_execute = may_execute
        self._socket = socket
        self._queue: deque[Frame] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None

    @property
    def closing(self) -> bool:
        return self._closing is not None

    @property
    def queued(self) -> tuple[int, int]:
        """Frames and bytes that wait."""
        return len(self._queue), self._queued_bytes

    def put(self, frames: Sequence[Frame]) -> None:
        """Have frames sent, in order; never blocks. Beyond the bound of the queue the socket is closed."""
        if self._closing is not None:
            return
        size = sum(map(len, frames))
        # One message may be larger than the bound; it must not wait behind others then.
        full = len(self._queue) + len(frames) > QUEUE_MESSAGES or self._queued_bytes + size > QUEUE_BYTES
        if full and self._queue:
            logger.warning("session %s reads too slowly: its WebSocket is closed", self.session_id)
            self._drop_queue()
            self.close(CLOSE_TRY_AGAIN, "too slow: reconnect")
            return
        self._queue.extend(frames)
        self._queued_bytes += size
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """Close the socket once what waits is sent. The first code counts."""
        if self._closing is None:
            # A close frame holds 125 bytes, two of them for the code (RFC 6455, 5.5).
            self._closing = code, reason.encode()[:123].decode("utf-8", "ignore")
            self._wake.set()

    def _drop_queue(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0

    async def run(self, on_frame: Callable[[Frame], Awaitable[None] | None]) -> None:
        """Serve the socket until it is closed, by either side.

        on_frame: called with each message of the client.
        """
        writer = asyncio.create_task(self._write(), name=f"writer {self.session_id}")
        reader = asyncio.create_task(self._read(on_frame), name=f"reader {self.session_id}")
        try:
            await asyncio.wait([writer, reader], return_when=asyncio.FIRST_COMPLETED)
            for task in (writer, reader):
                exc = task.exception() if task.done() else None
                if exc is not None and not isinstance(exc, ConnectionResetError):
                    logger.error("WebSocket of session %s failed", self.session_id, exc_info=exc)
        finally:
            self._closing = self._closing or (CLOSE_NORMAL, "")
            self._drop_queue()
            writer.cancel()
            reader.cancel()
            await asyncio.gather(writer, reader, return_exceptions=True)

    async def _read(self, on_frame: Callable[[Frame], Awaitable[None] | None]) -> None:
        while (frame := await self._socket.receive()) is not None:
            if self._closing is None:
                on_frame(frame)

    async def _write(self) -> None:
        written = 0
        while True:
            while self._queue:
                frame = self._queue.popleft()
                self._queued_bytes -= len(frame)
                await self._socket.send(frame)
                written += 1
                if not written % WRITES_BEFORE_YIELD:
                    await asyncio.sleep(0)
            if self._closing is not None:
                await self._close_socket(*self._closing)
                return
            self._wake.clear()
            await self._wake.wait()

    async def _close_socket(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close(code, reason)
        except TimeoutError:
            logger.info("session %s does not even read the closing of its WebSocket", self.session_id)
