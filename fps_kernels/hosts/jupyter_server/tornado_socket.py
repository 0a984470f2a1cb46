"""Tornado's WebSocket as the kernels' web side wants it: tornado reads, and whole batches are written at once."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, cast

from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ...websocket.direct import DirectWriter, UnsentBytes, WriteThrough
from ...websocket.frame_batch import IncomingMessage, OutgoingMessage


class TornadoSocket:
    """An open WebSocket of a handler. A `WebSocket`.

    write, write_now: write many frames in one call; None where tornado has to do it, as it compresses them, or as this
      is a tornado whose inside is another one.
    write_through, unsent_bytes, fileno: for whom must know which bytes the system has taken, see DirectWriter; the
      first two are None as before.
    """

    def __init__(self, handler: WebSocketHandler) -> None:
        self._handler = handler
        self._protocol: Any = handler.ws_connection
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._early: list[IncomingMessage] = []
        self._callback: Callable[[IncomingMessage], None] | None = None
        self._written: Future[None] | None = None
        self._broken_off = False
        self._tell_of_abort()
        plain = getattr(self._protocol, "_compressor", self) is None and hasattr(self._protocol, "stream")
        self.write: Callable[[Sequence[bytes]], Awaitable[None]] | None = self._write if plain else None
        self.write_now: Callable[[Sequence[bytes]], bool] | None = self._write_now if plain else None
        self._direct = DirectWriter(cast(asyncio.Transport, StreamTransport(self)), self) if plain else None
        self.write_through: WriteThrough | None = self._direct.write_through if self._direct is not None else None
        self.unsent_bytes: UnsentBytes | None = self._direct.unsent_bytes if self._direct is not None else None
        self.fileno: Callable[[], int | None] = self._direct.fileno if self._direct is not None else lambda: None

    def _tell_of_abort(self) -> None:
        """Learn whether the connection breaks off: tornado says afterwards that the client has closed it."""
        abort = getattr(self._protocol, "_abort", None)
        if abort is None:
            return

        def abort_and_tell() -> None:
            self._broken_off |= not self._protocol.client_terminated
            abort()

        self._protocol._abort = abort_and_tell

    @property
    def closed_cleanly(self) -> bool:
        return bool(getattr(self._protocol, "client_terminated", False)) and not self._broken_off

    def deliver(self, callback: Callable[[IncomingMessage], None]) -> None:
        self._callback, early, self._early = callback, self._early, []
        for message in early:
            callback(message)

    def on_message(self, message: IncomingMessage) -> None:
        """Tornado has read a message."""
        if self._callback is not None:
            self._callback(message)
        else:
            self._early.append(message)

    def on_close(self) -> None:
        """The connection is closed."""
        if self._direct is not None:
            self._direct.close()
        if not self._gone.done():
            self._gone.set_result(None)

    async def receive(self) -> None:
        await self._gone

    async def send(self, frame: OutgoingMessage) -> None:
        await self._wait_writable()
        try:
            self._keep(self._handler.write_message(frame, binary=isinstance(frame, bytes)))
        except WebSocketClosedError as exc:
            raise ConnectionResetError from exc

    async def close(self, code: int, reason: str) -> None:
        if self._gone.done():
            raise ConnectionResetError
        self._handler.close(code, reason)
        await self._gone

    async def _write(self, buffers: Sequence[bytes]) -> None:
        await self._wait_writable()
        if not self._is_open:
            raise ConnectionResetError
        self.write_buffers(buffers)

    def _write_now(self, buffers: Sequence[bytes]) -> bool:
        if not self.writable:
            return False
        try:
            self.write_buffers(buffers)
        except ConnectionResetError:
            return False
        return True

    @property
    def writable(self) -> bool:
        """Whether what is written now would not have to wait."""
        return self._is_open and not self._gone.done() and (self._written is None or self._written.done())

    @property
    def _is_open(self) -> bool:
        return not (self._protocol.stream.closed() or getattr(self._protocol, "server_terminated", False))

    @property
    def stream(self) -> IOStream:
        """What tornado writes to."""
        stream: IOStream = self._protocol.stream
        return stream

    def write_buffers(self, buffers: Sequence[bytes]) -> None:
        """Have tornado write. Raises ConnectionResetError."""
        stream = self.stream
        try:
            for buffer in buffers:  # not joined: one may be large, and would be copied
                self._keep(stream.write(buffer))
        except StreamClosedError as exc:
            raise ConnectionResetError from exc

    async def _wait_writable(self) -> None:
        """Wait until the system has taken what was written last: what is handed to tornado cannot be taken back."""
        if self._written is not None and not self._written.done():
            await asyncio.wait([self._written, self._gone], return_when=asyncio.FIRST_COMPLETED)
        if self._gone.done():
            raise ConnectionResetError

    def _keep(self, written: Future[None]) -> None:
        self._written = written
        written.add_done_callback(_ask)


class StreamTransport:
    """Tornado's stream as a transport of asyncio, as far as DirectWriter needs one."""

    def __init__(self, socket: TornadoSocket) -> None:
        self._socket = socket

    def get_extra_info(self, name: str) -> Any:
        """The `socket`, or the `sslcontext` if there is one."""
        found = self._socket.stream.socket
        if name == "socket":
            return found
        return getattr(found, "context", None) if name == "sslcontext" else None

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the system."""
        return len(getattr(self._socket.stream, "_write_buffer", b""))

    def is_closing(self) -> bool:
        return self._socket.stream.closed()

    def write(self, data: bytes) -> None:
        self.writelines([data])

    def writelines(self, buffers: Sequence[bytes]) -> None:
        """Have tornado write. What is closed takes nothing."""
        with suppress(ConnectionResetError):
            self._socket.write_buffers(buffers)


def _ask(written: Future[None]) -> None:
    """Look at how a write ended, as nobody else may: that the connection is closed is told elsewhere."""
    if not written.cancelled():
        written.exception()
