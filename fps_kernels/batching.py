"""uvicorn's WebSocket protocol, and a way around ASGI for many messages at once.

One ASGI send for each message is what a flood costs most; here the frames of a run are one write.
"""

from __future__ import annotations

from collections.abc import Sequence

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from .websocket import EXTENSION


class BatchingProtocol(WebSocketsSansIOProtocol):
    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.handshake_initiated and not self.handshake_complete:
            extensions: dict[str, object] = self.scope["extensions"]  # type: ignore[assignment]  # may hold anything
            extensions[EXTENSION] = {"write": self.write_frames}

    async def write_frames(self, buffers: Sequence[bytes]) -> None:
        """Write whole frames; returns when the transport has taken them, at the client's pace.

        Raises ConnectionResetError, having written nothing, when the WebSocket is closed.
        """
        await self.writable.wait()
        if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
            raise ConnectionResetError("the WebSocket is closed")
        self.transport.writelines(buffers)
