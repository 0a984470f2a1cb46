"""Messages of a client on their way to the application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from websockets.frames import Frame, Opcode

from .flow_control import FlowControl
from .frame_batch import IncomingMessage
from .frames import LARGE_BYTES, Lease, Payload


class IncomingMessages:
    """Joins fragments, and gives messages to a callback, or else to ASGI's `receive`, which also reports the end."""

    def __init__(self, flow: FlowControl) -> None:
        self._flow = flow
        self._discarding = False
        self._queue: asyncio.Queue[tuple[dict[str, Any], Lease | None]] = asyncio.Queue()
        self._deliver: Callable[[IncomingMessage], None] | None = None
        self._fragments: Payload | None = None
        self._is_text = False

    @property
    def fragment_bytes(self) -> int:
        """Size of the message of which not all fragments have arrived."""
        return 0 if self._fragments is None else len(self._fragments)

    def join(self, frame: Frame) -> tuple[bool, bytes | Payload] | None:
        """Add a fragment; returns whether the message is text, and its bytes, when it was the last one.

        Joined as they arrive: there may be any number of them, even empty ones.
        """
        if frame.opcode is not Opcode.CONT or self._fragments is None:
            self._is_text = frame.opcode is Opcode.TEXT
            self._fragments = Payload()
        self._fragments += frame.data
        if not frame.fin:
            return None
        message, self._fragments = self._fragments, None
        if len(message) < LARGE_BYTES:
            return self._is_text, bytes(message)
        self._flow.hold(message)
        return self._is_text, message

    def connect(self) -> None:
        """Ask the application whether it accepts the WebSocket."""
        self._queue.put_nowait(({"type": "websocket.connect"}, None))

    def put(self, message: IncomingMessage) -> None:
        """Give the application a message."""
        if self._discarding:
            return
        if self._deliver is not None:
            self._deliver(message)
            return
        kind, plain = ("text", str(message)) if isinstance(message, str) else ("bytes", bytes(message))
        self._queue.put_nowait(({"type": "websocket.receive", kind: plain}, getattr(message, "lease", None)))
        self._flow.message_queued()

    def end(self, code: int, reason: str | None = None) -> None:
        """Report the end to the application, unless it has closed the WebSocket itself.

        reason: None when the connection broke off.
        """
        if self._discarding:
            return
        event = {"type": "websocket.disconnect", "code": code}
        self._queue.put_nowait((event if reason is None else event | {"reason": reason}, None))

    async def receive(self) -> dict[str, Any]:
        """The application's `receive`."""
        event, _ = await self._queue.get()
        if self._queue.empty():
            self._flow.queue_emptied()
        return event

    def deliver_to(self, callback: Callable[[IncomingMessage], None]) -> None:
        """From now on call it with each message, first with those in the queue; the end still comes by `receive`."""
        self._deliver = callback
        for _ in range(self._queue.qsize()):
            event, lease = self._queue.get_nowait()
            if event["type"] == "websocket.receive":
                callback(event["text"] if "text" in event else event["bytes"])
            else:
                self._queue.put_nowait((event, lease))
        self._flow.queue_emptied()

    def discard(self) -> None:
        """Drop all messages from now on: the application has closed the WebSocket."""
        self._discarding = True
        self._flow.queue_emptied()

    def forget_fragments(self) -> None:
        """The rest of the message will not come."""
        self._fragments = None

    def clear(self) -> None:
        """The connection is lost: forget the callback and the fragments, which reference cycles would keep."""
        self._deliver = None
        self._fragments = None
