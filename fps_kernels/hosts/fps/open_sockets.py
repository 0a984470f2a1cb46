"""Whether a WebSocket of anycorn, the HTTP server of today's Jupyverse, is open when something is sent to it.

anycorn drops what is sent to a WebSocket whose client has closed it, and raises nothing. The application hears of that
end a moment later, and takes what it sent meanwhile for delivered: a client that comes back would miss it.
"""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class OpenSockets:
    """ASGI middleware: sending to a WebSocket that its client has closed raises OSError, as ASGI has it since 2.4."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = getattr(send, "__self__", None)
        if scope["type"] != "websocket" or not hasattr(stream, "handshake"):
            await self._app(scope, receive, send)  # another server, or one behind other middleware
            return

        async def send_if_open(message: Message) -> None:
            if message["type"] == "websocket.send" and not _is_open(stream):
                raise OSError("the WebSocket is closed")
            await send(message)

        await self._app(scope, receive, send_if_open)


def _is_open(stream: Any) -> bool:
    """Whether neither side of an accepted WebSocket has sent a close frame, and it has not broken off."""
    return not stream.closed and stream.connection.state.name == "OPEN"
