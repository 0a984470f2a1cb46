"""uvicorn's WebSocket protocol, and a way around ASGI for messages in both directions.

One ASGI send for each message is what a flood costs most; here the frames of a run are one write. What
a client sends goes to its reader at once, without a queue and a task that must wake. Handshake,
fragments, pings, closing and errors stay with uvicorn and the state machine of websockets.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from .asgi import DELIVER, EXTENSION
from .close_timeout import CloseTimeout
from .frame_batch import IncomingMessage
from .frames import LARGE_BYTES, FrameReader, Payload, WebSocketMessage

TURN_MESSAGES = 16
"""Messages of one client before the others get their turn."""
HELD_MAX_BYTES = 64 * 1024 * 1024
"""Of one client's large messages that nobody has taken yet; from here on no more is read."""


class BatchingProtocol(WebSocketsSansIOProtocol):
    """Reading pauses for a turn of the loop, and while too much is held; uvicorn pauses it for ASGI."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reader = FrameReader(self.config.ws_max_size)
        self._deliver: Callable[[IncomingMessage], None] | None = None
        self._premature = False  # it sent frames before it was accepted: the state machine has begun to read them
        self._paused = False
        self._held_bytes = 0
        self._fed_at_ping: object = None
        self._pong = b""  # that waits until the client reads
        self._closing: CloseTimeout | None = None

    # --- out -------------------------------------------------------------------------------------

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.handshake_initiated and not self.handshake_complete:
            extensions: dict[str, object] = self.scope["extensions"]  # type: ignore[assignment]  # may hold anything
            extensions[EXTENSION] = {"write": self.write_frames}
            extensions[DELIVER] = {"deliver": self.deliver_to}

    async def write_frames(self, buffers: Sequence[bytes]) -> None:
        """Write whole frames; returns when the transport has taken them, at the client's pace.

        Raises ConnectionResetError, having written nothing, when the WebSocket is closed.
        """
        if not self.writable.is_set():
            await self.writable.wait()
        if self.close_sent or self.transport.is_closing():
            raise ConnectionResetError("the WebSocket is closed")
        self.transport.writelines(buffers)

    # --- in --------------------------------------------------------------------------------------

    def deliver_to(self, callback: Callable[[IncomingMessage], None]) -> None:
        """From now on call it with each message, first with those that wait; the end comes by ASGI."""
        self._deliver = callback
        for _ in range(self.queue.qsize()):
            event = self.queue.get_nowait()
            if event["type"] == "websocket.receive":
                data = event.get("bytes")
                callback(data if data is not None else event.get("text") or "")
            else:
                self.queue.put_nowait(event)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.conn.state is State.CONNECTING or self._premature:
            self._premature = self.handshake_initiated
            super().data_received(data)
            return
        self._reader.feed(data)
        if not self._paused:
            self._read_turn()

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            while self._read_one():  # what it sent before it left
                pass
        finally:
            super().connection_lost(exc)
            if self._closing is not None:
                self._closing.end()
            self._deliver = None  # a circle, else
            # There are other circles: the beginning of a message must not stay until they are collected.
            self._reader = FrameReader(self.config.ws_max_size)
            self.conn.reader.discard()
            self.frames = []

    def _read_turn(self) -> None:
        for _ in range(TURN_MESSAGES):
            if not self._read_one():
                return
            if self._held_bytes > HELD_MAX_BYTES:
                break
        if self.transport.is_closing():
            return
        self._paused = True
        self.transport.pause_reading()
        if self._held_bytes <= HELD_MAX_BYTES:
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if not self._paused or self._held_bytes > HELD_MAX_BYTES or self.transport.is_closing():
            return
        self._paused = False
        self._read_turn()
        if not self._paused and not self.read_paused:
            self.transport.resume_reading()

    def _read_one(self) -> bool:
        """Whether there was something to read."""
        event = self._reader.read()
        if event is None or self.conn.parser_exc is not None or self.conn.close_rcvd is not None:
            return False
        if isinstance(event, bytes):
            super().data_received(event)
            return True
        if isinstance(event.data, Payload):
            self._hold(event.data)
        self._take(event)
        return True

    def _take(self, message: WebSocketMessage) -> None:
        self.curr_msg_data_type = "text" if message.is_text else "bytes"
        self.frames = [message.data]  # type: ignore[list-item]  # a Payload only as far as send_receive_event_to_app
        self.send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        """Join the fragments as they come: there may be any number of them, even empty ones."""
        first = self.frames[0]
        message = first if isinstance(first, Payload) else Payload(first)
        message += event.data
        self.frames = [message]  # type: ignore[list-item]  # as in _take
        if event.fin:
            if len(message) < LARGE_BYTES:
                self.frames = [bytes(message)]
            else:
                self._hold(message)
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        if self._deliver is None or self.close_sent:
            self.frames = [bytes(self.frames[0])]
            self._queue_or_refuse()
            return
        data = self.frames[0]
        message: IncomingMessage = data
        if self.curr_msg_data_type == "text":
            try:
                message = data.decode()
            except UnicodeDecodeError:
                self._queue_or_refuse()
                return
        self.frames = []
        self._deliver(message)

    def _queue_or_refuse(self) -> None:
        try:
            super().send_receive_event_to_app()
        except InvalidState:
            self.logger.debug("Invalid UTF-8 after our close frame: no other can say so")

    # --- back-pressure ---------------------------------------------------------------------------

    def _hold(self, payload: Payload) -> None:
        """Count it until the last view of it is gone, in a queue of ours or in libzmq's thread."""
        size = len(payload)
        self._held_bytes += size
        weakref.finalize(payload, self._release_soon, size).atexit = False

    def _release_soon(self, size: int) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._release, size)

    def _release(self, size: int) -> None:
        self._held_bytes -= size
        self._read_on()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:  # to the last only, which RFC 6455 allows in 5.5.3: answers would pile up
            self._pong = b"".join(self.conn.data_to_send())

    def resume_writing(self) -> None:
        super().resume_writing()
        pong, self._pong = self._pong, b""
        if pong and not (self.close_sent or self.transport.is_closing()):
            self.transport.write(pong)

    def send_keepalive_ping(self) -> None:
        self._fed_at_ping = self._reader.fed
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """The answer to a ping cannot be seen while reading is paused, nor behind what is still coming."""
        if not (self._paused or self.read_paused or self._reader.fed is not self._fed_at_ping):
            super().keepalive_timeout()
            self._watch_closing()
            return
        self.pong_timer = None
        self.pending_ping_payload = None
        self.schedule_ping()

    # --- the end: wherever uvicorn closes a transport, or is about to -----------------------------

    def shutdown(self) -> None:
        if self.conn.close_sent is None or self.close_sent:
            super().shutdown()
        else:  # in answer to the client's; uvicorn would send a second close frame, which is an error
            self.stop_keepalive()
            self.transport.close()
        self._watch_closing()

    def eof_received(self) -> None:
        super().eof_received()
        self._watch_closing()  # the transport closes itself now

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._watch_closing()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self._watch_closing()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self._watch_closing()

    def _watch_closing(self) -> None:
        if self.disconnected:
            return
        if self._closing is None:
            self._closing = CloseTimeout(self.loop, self.transport)
        self._closing.begin()
