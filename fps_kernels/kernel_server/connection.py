"""One WebSocket to a kernel: one writer that pulls what is due, at the client's pace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ..websocket.frame_batch import FrameBatch, IncomingMessage, OutgoingMessage

logger = logging.getLogger(__name__)

FLUSH_TIMEOUT_S = 5.0
"""How long what is due may take before a socket is closed all the same."""
CLOSE_TIMEOUT_S = 5.0
"""How long closing may take; a client that does not read cannot even be told."""

CLOSE_NORMAL = 1000
CLOSE_RESTART = 1012
CLOSE_TRY_AGAIN = 1013


class WebSocket(Protocol):
    """What we need of a WebSocket that was accepted.

    closed_cleanly: after `receive` returned None, whether the peer sent a close frame.
    """

    @property
    def closed_cleanly(self) -> bool: ...

    @property
    def write(self) -> Callable[[Sequence[bytes]], Awaitable[None]] | None:
        """Writes many frames at once, as `send` does one; None where the server cannot do that."""

    @property
    def deliver(self) -> Callable[[Callable[[IncomingMessage], None]], None] | None:
        """Has each message given to a callback, as it comes, and none to `receive`; None where the server cannot."""

    async def receive(self) -> IncomingMessage | None:
        """The next message; None once the peer is gone."""

    async def send(self, frame: OutgoingMessage) -> None:
        """Returns when the frame is handed to the transport.

        Raises ConnectionResetError, having handed over nothing, when the peer is gone.
        """

    async def close(self, code: int, reason: str) -> None:
        """Raises ConnectionResetError when the peer is gone."""


class Outbox(Protocol):
    """Where a connection's writer gets what it sends."""

    @property
    def pause_s(self) -> float:
        """When `take` gave nothing: after how many seconds to ask again though nobody called `wake`; 0: never."""

    def take(self) -> FrameBatch | None:
        """The next messages to send, None when there is nothing to send now."""

    def sent(self, number: int) -> None:
        """So many of the messages of the last `take` are handed over; the others are not."""


class Connection:
    """A client's WebSocket.

    v1: whether it speaks v1.kernel.websocket.jupyter.org rather than the default protocol.
    may_execute: whether what it sends goes to the kernel. blocked: whether the client did not take at
    once what it was sent last.
    """

    def __init__(self, socket: WebSocket, session_id: str, *, v1: bool, may_execute: bool = True) -> None:
        self.session_id = session_id
        self.v1 = v1
        self.may_execute = may_execute
        self.blocked = False
        self._turn = 0
        self._socket = socket
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._flush_limit: asyncio.TimerHandle | None = None
        self._unread_close = False

    @property
    def closing(self) -> bool:
        return self._closing is not None

    @property
    def lost(self) -> bool:
        """After `run`: whether it broke off, so that nobody knows what the client has read."""
        return self._unread_close or (self._closing is None and not self._socket.closed_cleanly)

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def close(self, code: int, reason: str, *, flush: bool = True) -> None:
        """Close the socket once what is due is sent, or (not flush) at once. The first call counts."""
        if self._closing is None:
            # A close frame holds 125 bytes, two of them for the code (RFC 6455, 5.5).
            self._closing = code, reason.encode()[:123].decode("utf-8", "ignore")
            self._wake.set()
            if flush:
                self._flush_limit = asyncio.get_running_loop().call_later(FLUSH_TIMEOUT_S, self._stop_writing)
        if not flush:
            self._stop_writing()

    def _stop_writing(self) -> None:
        if self._writer is not None:
            self._writer.cancel()

    async def run(self, outbox: Outbox, on_frame: Callable[[IncomingMessage], None]) -> None:
        """Serve the socket until it is closed, by either side.

        on_frame: called with each message of the client.
        """
        writer = self._writer = asyncio.create_task(self._write(outbox), name=f"writer {self.session_id}")
        reader = self._reader = asyncio.create_task(self._read(on_frame), name=f"reader {self.session_id}")
        try:
            await asyncio.wait([writer, reader], return_when=asyncio.FIRST_COMPLETED)
            self._log_failures(writer, reader)
            if self._closing is not None and not reader.done():
                await self._close_socket(*self._closing)
        finally:
            if self._flush_limit is not None:
                self._flush_limit.cancel()
            writer.cancel()
            reader.cancel()
            await asyncio.gather(writer, reader, return_exceptions=True)
            # The task keeps the exception that ended it, and that the frame with us: a circle, which would
            # keep the buffers of each WebSocket until the collector passes, minutes later.
            self._writer = self._reader = None

    def _log_failures(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            exc = task.exception() if task.done() and not task.cancelled() else None
            if exc is not None and not isinstance(exc, ConnectionResetError):
                logger.error("WebSocket of session %s failed", self.session_id, exc_info=exc)

    async def _read(self, on_frame: Callable[[IncomingMessage], None]) -> None:
        if self._socket.deliver is not None:
            self._socket.deliver(lambda frame: self._take(on_frame, frame))
        while (frame := await self._socket.receive()) is not None:
            self._take(on_frame, frame)

    def _take(self, on_frame: Callable[[IncomingMessage], None], frame: IncomingMessage) -> None:
        """Perhaps in the middle of the transport's reading, which must not fail because of us."""
        if self._closing is not None or self._reader is None:
            return
        try:
            on_frame(frame)
        except Exception:
            logger.exception("WebSocket of session %s failed", self.session_id)
            self._reader.cancel()

    async def _write(self, outbox: Outbox) -> None:
        """Returns when nothing is left to send and the socket is to be closed."""
        while True:
            while (run := outbox.take()) is not None:
                await self._send(outbox, run)
            if self._closing is not None and not outbox.pause_s:
                return
            self._wake.clear()
            await self._wait(outbox.pause_s)

    async def _send(self, outbox: Outbox, run: FrameBatch) -> None:
        number = 0
        began = self._turn
        asyncio.get_running_loop().call_soon(self._next_turn)
        try:
            if self._socket.write is not None:
                await self._socket.write(run.buffers())
                number = len(run)
            else:
                for frame in run.joined():
                    await self._socket.send(frame)
                    number += 1
        finally:
            # Before the loop had its turn: the transport took all at once. After: it made us wait.
            self.blocked = self._turn != began
            outbox.sent(number)  # exact, also when the peer went away in the middle
        await asyncio.sleep(0)  # sends that did not have to wait did not yield, either

    def _next_turn(self) -> None:
        self._turn += 1

    async def _wait(self, pause_s: float) -> None:
        if not pause_s:
            await self._wake.wait()
            return
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _close_socket(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close(code, reason)
        except ConnectionResetError:
            return  # it was faster
        except TimeoutError:
            self._unread_close = True
            logger.info("session %s does not even read the closing of its WebSocket", self.session_id)
