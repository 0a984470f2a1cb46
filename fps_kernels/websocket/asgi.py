"""Starlette's WebSocket in the form that a kernel's server needs, and the ASGI extensions that make it fast."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.websockets import WebSocket, WebSocketDisconnect

from .direct import UnsentBytes, WriteThrough
from .frame_batch import IncomingMessage

Write = Callable[[Sequence[bytes]], Awaitable[None]]
WriteNow = Callable[[Sequence[bytes]], bool]
WRITE_EXTENSION = "fps_kernels.websocket.write"
"""An ASGI extension of ours, `{"write": write(buffers), "write_now": write_now(buffers), ...}`: both write many whole
WebSocket frames at a time. The second returns False, having written nothing, where the first would wait. For whom
must know which bytes the system has taken, there are `write_through`, `unsent_bytes` and `fileno`; see direct.py."""

Deliver = Callable[[Callable[[IncomingMessage], None]], None]
DELIVER_EXTENSION = "fps_kernels.websocket.deliver"
"""An ASGI extension of ours, `{"deliver": deliver(callback)}`: calls the callback with each message, first with those
that are waiting, instead of giving it to `receive`, which still reports the end."""


SENT_BY_CLIENTS = (1000, 1001)
"""Codes of a close frame. Not 1005, which stands for no code, and with uvicorn also for a connection that broke off."""


class StarletteSocket:
    """An accepted Starlette WebSocket.

    closed_cleanly: after `receive` returned None, whether the client is known to have sent a close frame. The event of
    our transport and of uvicorn has a reason then, if an empty one, and none when the connection broke off; anycorn's
    never has one, but a code of those that only a close frame brings.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.closed_cleanly = False
        extensions = websocket.scope.get("extensions") or {}
        self.write: Write | None = extensions.get(WRITE_EXTENSION, {}).get("write")
        self.write_now: WriteNow | None = extensions.get(WRITE_EXTENSION, {}).get("write_now")
        self.write_through: WriteThrough | None = extensions.get(WRITE_EXTENSION, {}).get("write_through")
        self.unsent_bytes: UnsentBytes | None = extensions.get(WRITE_EXTENSION, {}).get("unsent_bytes")
        self.fileno: Callable[[], int | None] = extensions.get(WRITE_EXTENSION, {}).get("fileno", lambda: None)
        self.deliver: Deliver | None = extensions.get(DELIVER_EXTENSION, {}).get("deliver")
        self._websocket = websocket

    async def receive(self) -> str | bytes | None:
        """The next message; None once the client is gone."""
        message = await self._websocket.receive()
        if message["type"] != "websocket.receive":
            self.closed_cleanly = "reason" in message or message.get("code") in SENT_BY_CLIENTS
            return None
        data: bytes | None = message.get("bytes")
        text: str | None = message.get("text")
        return data if data is not None else text or ""

    async def send(self, frame: str | bytes) -> None:
        """Raises ConnectionResetError when the client is gone."""
        key = "text" if isinstance(frame, str) else "bytes"
        try:
            await self._websocket.send({"type": "websocket.send", key: frame})
        except WebSocketDisconnect as exc:
            raise ConnectionResetError("the WebSocket is closed") from exc

    async def close(self, code: int, reason: str) -> None:
        """Raises ConnectionResetError when the client is gone."""
        try:
            await self._websocket.close(code, reason)
        except WebSocketDisconnect as exc:
            raise ConnectionResetError("the WebSocket is closed") from exc
