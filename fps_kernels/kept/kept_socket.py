"""The WebSocket of a client of a kernel that is kept: it is known when the system has what was written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ..kernel_server.connection import WebSocket
from ..websocket.direct import UnsentBytes, WriteThrough
from ..websocket.frame_batch import IncomingMessage, OutgoingMessage


class KeptSocket:
    """A WebSocket that tells when the system has taken what was written.

    socket: the WebSocket.

    on_taken: called when all that was written last is the system's.
    unsent_bytes: see DirectWriter; None where the server cannot tell.
    """

    def __init__(self, socket: WebSocket) -> None:
        self.on_taken: Callable[[], None] = lambda: None
        self.unsent_bytes: UnsentBytes | None = getattr(socket, "unsent_bytes", None)
        self._fileno: Callable[[], int | None] = getattr(socket, "fileno", lambda: None)
        self._write_through: WriteThrough | None = getattr(socket, "write_through", None)
        self._socket = socket

    def fileno(self) -> int | None:
        """The descriptor of the connection, as long as that is open; None where the server cannot tell."""
        return self._fileno()

    @property
    def closed_cleanly(self) -> bool:
        return self._socket.closed_cleanly

    @property
    def deliver(self) -> Callable[[Callable[[IncomingMessage], None]], None] | None:
        return self._socket.deliver

    @property
    def write(self) -> Callable[[Sequence[bytes]], Awaitable[None]] | None:
        return self._socket.write if self._write_through is None else self._write

    @property
    def write_now(self) -> Callable[[Sequence[bytes]], bool] | None:
        return self._socket.write_now if self._write_through is None else self._write_now

    def _write_now(self, buffers: Sequence[bytes]) -> bool:
        assert self._write_through is not None
        return self._write_through(buffers, self.on_taken)

    async def _write(self, buffers: Sequence[bytes]) -> None:
        write = self._socket.write
        if not self._write_now(buffers) and write is not None:
            await write(buffers)

    async def receive(self) -> IncomingMessage | None:
        return await self._socket.receive()

    async def send(self, frame: OutgoingMessage) -> None:
        await self._socket.send(frame)

    async def close(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason)
