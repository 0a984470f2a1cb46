"""Starlette's WebSocket as kernel_server wants it, and who may open one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.websockets import WebSocket, WebSocketDisconnect

from .frame_batch import IncomingMessage

Write = Callable[[Sequence[bytes]], Awaitable[None]]
WRITE_EXTENSION = "fps_kernels.websocket.write"
"""An ASGI extension of our own, {"write": write(buffers)}: whole WebSocket frames, many at once."""

Deliver = Callable[[Callable[[IncomingMessage], None]], None]
DELIVER_EXTENSION = "fps_kernels.websocket.deliver"
"""Another, {"deliver": deliver(callback)}: call it with each message, as it comes and with those that wait,
instead of giving them to `receive`, which tells of the end as ever."""


class StarletteSocket:
    """An accepted Starlette WebSocket.

    closed_cleanly: whether the peer sent a close frame; uvicorn gives a reason then, be it "", and none
    when the connection broke off.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.closed_cleanly = False
        extensions = websocket.scope.get("extensions") or {}
        self.write: Write | None = extensions.get(WRITE_EXTENSION, {}).get("write")
        self.deliver: Deliver | None = extensions.get(DELIVER_EXTENSION, {}).get("deliver")
        self._websocket = websocket

    async def receive(self) -> str | bytes | None:
        message = await self._websocket.receive()
        if message["type"] != "websocket.receive":
            self.closed_cleanly = "reason" in message
            return None
        data: bytes | None = message.get("bytes")
        text: str | None = message.get("text")
        return data if data is not None else text or ""

    async def send(self, frame: str | bytes) -> None:
        """Raises ConnectionResetError when the peer is gone."""
        key = "text" if isinstance(frame, str) else "bytes"
        try:
            await self._websocket.send({"type": "websocket.send", key: frame})
        except WebSocketDisconnect as exc:
            raise ConnectionResetError("the WebSocket is closed") from exc

    async def close(self, code: int, reason: str) -> None:
        """Raises ConnectionResetError when the peer is gone."""
        try:
            await self._websocket.close(code, reason)
        except WebSocketDisconnect as exc:
            raise ConnectionResetError("the WebSocket is closed") from exc
