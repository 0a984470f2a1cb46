"""Tornado's WebSocket as the kernels' web side wants it: tornado reads, and whole batches are written at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ...websocket.frame_batch import IncomingMessage, OutgoingMessage


class TornadoSocket:
    """An open WebSocket of a handler. A `WebSocket`.

    write: writes many frames in one call; None where tornado has to do it, as it compresses them, or as this is a
      tornado whose inside is another one.
    """

    def __init__(self, handler: WebSocketHandler) -> None:
        self._handler = handler
        self._protocol: Any = handler.ws_connection
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._early: list[IncomingMessage] = []
        self._callback: Callable[[IncomingMessage], None] | None = None
        plain = getattr(self._protocol, "_compressor", self) is None and hasattr(self._protocol, "stream")
        self.write: Callable[[Sequence[bytes]], Awaitable[None]] | None = self._write if plain else None

    @property
    def closed_cleanly(self) -> bool:
        return bool(getattr(self._protocol, "client_terminated", False))

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
        if not self._gone.done():
            self._gone.set_result(None)

    async def receive(self) -> None:
        await self._gone

    async def send(self, frame: OutgoingMessage) -> None:
        try:
            await self._handler.write_message(frame, binary=isinstance(frame, bytes))
        except (WebSocketClosedError, StreamClosedError) as exc:
            raise ConnectionResetError from exc

    async def close(self, code: int, reason: str) -> None:
        if self._gone.done():
            raise ConnectionResetError
        self._handler.close(code, reason)
        await self._gone

    async def _write(self, buffers: Sequence[bytes]) -> None:
        stream = self._protocol.stream
        if self._gone.done() or stream.closed() or getattr(self._protocol, "server_terminated", False):
            raise ConnectionResetError
        try:
            for buffer in buffers:  # not joined: one may be large, and would be copied
                written = stream.write(buffer)
            if stream.writing():  # the system did not take all of it
                await written
        except StreamClosedError as exc:
            raise ConnectionResetError from exc
