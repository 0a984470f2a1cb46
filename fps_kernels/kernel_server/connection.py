"""One WebSocket to a kernel: one writer that pulls what is due, at the client's pace."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Protocol

from ..tasks import TaskSet
from ..websocket.frame_batch import FrameBatch, IncomingMessage, OutgoingMessage
from .client_session import SessionKey

logger = logging.getLogger(__name__)

FLUSH_TIMEOUT_S = 5.0
"""How long sending what is due may take before the socket is closed all the same."""

CLOSE_TIMEOUT_S = 5.0
"""How long the closing handshake may take. A client that does not read cannot be told to close."""

BATCHES_AT_ONCE = 2
"""How much is sent before the writer is left to do it, in turn with those of others."""

MAX_SESSION_ID_CHARS = 256
"""How long the session_id of a client may be. A host refuses a longer one before it accepts the WebSocket."""
NAMING_TIMEOUT_S = 3.0
"""How long a page has to name its session before it is told that the kernel did not start."""

CLOSE_NORMAL = 1000
CLOSE_FAILED = 1011
CLOSE_RESTART = 1012
CLOSE_TRY_AGAIN = 1013


class WebSocket(Protocol):
    """An accepted WebSocket.

    closed_cleanly: after `receive` has returned None, whether the client sent a close frame.
    """

    @property
    def closed_cleanly(self) -> bool: ...

    @property
    def write(self) -> Callable[[Sequence[bytes]], Awaitable[None]] | None:
        """Writes many frames in one call, otherwise as `send`; None where the server cannot do that."""

    @property
    def write_now(self) -> Callable[[Sequence[bytes]], bool] | None:
        """As `write`, but at once; False, having written nothing, where it would have to wait."""

    @property
    def deliver(self) -> Callable[[Callable[[IncomingMessage], None]], None] | None:
        """Passes each message to a callback as it comes, and none to `receive`; None where the server cannot."""

    async def receive(self) -> IncomingMessage | None:
        """The next message; None when the client is gone."""

    async def send(self, frame: OutgoingMessage) -> None:
        """Returns when the message is handed to the transport.

        Raises ConnectionResetError, having handed over nothing, when the client is gone.
        """

    async def close(self, code: int, reason: str) -> None:
        """Raises ConnectionResetError when the client is gone."""


class Outbox(Protocol):
    """The source of what a connection sends. Times are of time.monotonic."""

    @property
    def pause_s(self) -> float:
        """Seconds until `take` should be tried again even without `wake`; 0 means wait for `wake`."""

    def take(self, now: float) -> FrameBatch | None:
        """The next messages to send; None when there is nothing to send now."""

    def sent(self, number: int, now: float, *, waited: bool) -> None:
        """So many messages of the last `take` were handed over, the others were not.

        waited: whether the transport did not take them immediately.
        """


class Connection:
    """The WebSocket of one client.

    socket: the WebSocket. key: the session that it is of.
    v1: whether it speaks v1.kernel.websocket.jupyter.org rather than the default protocol.
    may_execute: whether its messages may go to the kernel.
    page: whether it is of a page in a browser.
    """

    def __init__(
        self, socket: WebSocket, key: SessionKey, *, v1: bool, may_execute: bool = True, page: bool = False
    ) -> None:
        self.key = key
        self.session_id = key[1]
        self.v1 = v1
        self.may_execute = may_execute
        self.page = page
        self._turn = 0
        self._outbox: Outbox | None = None
        self._resting = False  # whether the writer waits to be woken
        self.socket = socket
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._flush_limit: asyncio.TimerHandle | None = None
        self._unread_close = False

    @property
    def lost(self) -> bool:
        """After `run`: whether the connection was lost, so that nothing tells what the client has read."""
        return self._unread_close or (self._closing is None and not self.socket.closed_cleanly)

    def wake(self) -> None:
        """Send what there may be to send, here and now if the writer rests and the client has taken all before."""
        if not (self._resting and self._send_now()):
            self._wake.set()

    def _send_now(self) -> bool:
        """Send what is due as far as nothing has to wait; whether that was all.

        An answer need not wait for the turn of a task then, which comes after what other kernels have to say.
        """
        outbox, write = self._outbox, self.socket.write_now
        if outbox is None or write is None or self._closing is not None:
            return False
        try:
            for _ in range(BATCHES_AT_ONCE):
                run = outbox.take(monotonic())
                if run is None:
                    return not outbox.pause_s
                written = write(run.buffers())
                outbox.sent(len(run) if written else 0, monotonic(), waited=not written)
                if not written:
                    return False
        except Exception:
            logger.exception("a message to session %s could not be sent", self.session_id)
            self._stop_writing()
        return False

    def close(self, code: int, reason: str, *, flush: bool = True) -> None:
        """Close the socket once what is due has been sent or, without `flush`, now. The first code and reason count."""
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

    async def run(self, outbox: Outbox, on_message: Callable[[IncomingMessage], None]) -> None:
        """Serve the socket until it is closed, by either side.

        on_message: called with each message of the client.
        """
        tasks = TaskSet()
        writer = tasks.start(self._write(outbox), name=f"WebSocket writer of session {self.session_id}")
        reader = tasks.start(self._read(on_message), name=f"WebSocket reader of session {self.session_id}")
        self._writer, self._reader = writer, reader
        try:
            await asyncio.wait([writer, reader], return_when=asyncio.FIRST_COMPLETED)
            if self._closing is not None and not reader.done():
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self.socket.close(*self._closing)
        except ConnectionResetError:
            return  # the client closed it first
        except TimeoutError:
            self._unread_close = True
            logger.info("session %s: its client reads nothing; closed without a closing handshake", self.session_id)
        finally:
            if self._flush_limit is not None:
                self._flush_limit.cancel()
            await tasks.close()
            # A task keeps the exception that it ended with, and that the frame with us: a circle, which would
            # keep the buffers of each WebSocket until the collector passes, minutes later.
            self._writer = self._reader = self._outbox = None

    async def _read(self, on_message: Callable[[IncomingMessage], None]) -> None:
        if self.socket.deliver is not None:
            self.socket.deliver(lambda message: self._take(on_message, message))
        with contextlib.suppress(ConnectionResetError):  # the client is gone
            while (message := await self.socket.receive()) is not None:
                self._take(on_message, message)

    def _take(self, on_message: Callable[[IncomingMessage], None], message: IncomingMessage) -> None:
        """Handle one message, perhaps in the middle of the transport's reading, which must not fail because of us."""
        if self._closing is not None or self._reader is None:
            return
        try:
            on_message(message)
        except Exception:
            logger.exception("a message of session %s could not be handled", self.session_id)
            self._reader.cancel()

    async def _write(self, outbox: Outbox) -> None:
        """Send what is due, as it comes, until the client is gone, or all is sent and the socket is to be closed."""
        self._outbox = outbox
        with contextlib.suppress(ConnectionResetError):  # the client is gone
            while True:
                while (run := outbox.take(monotonic())) is not None:
                    await self._send(outbox, run)
                if self._closing is not None and not outbox.pause_s:
                    return
                self._wake.clear()
                self._resting = True
                if not outbox.pause_s:
                    await self._wake.wait()
                else:
                    with contextlib.suppress(TimeoutError):  # the pause is over
                        async with asyncio.timeout(outbox.pause_s):
                            await self._wake.wait()
                self._resting = False

    async def _send(self, outbox: Outbox, run: FrameBatch) -> None:
        number = 0
        began = self._turn
        asyncio.get_running_loop().call_soon(self._next_turn)
        try:
            if self.socket.write is not None:
                await self.socket.write(run.buffers())
                number = len(run)
            else:
                for frame in run.joined():
                    await self.socket.send(frame)
                    number += 1
        finally:
            # The number is exact, also when the client went away in the middle. If the loop has had its turn
            # meanwhile, the transport made us wait.
            outbox.sent(number, monotonic(), waited=self._turn != began)
        await asyncio.sleep(0)  # a send that did not have to wait has not yielded either

    def _next_turn(self) -> None:
        self._turn += 1
