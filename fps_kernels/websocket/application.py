"""The ASGI application that serves a WebSocket."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from .incoming import IncomingMessages
from .upgrade import Upgrade, UpgradeState
from .writer import ClientDisconnected, WebSocketWriter

logger = logging.getLogger("uvicorn.error")


class Application:
    """One call of an ASGI application, from the request that opens a WebSocket to its end.

    default_headers: headers that the server adds to the response that accepts the WebSocket.
    on_accept: called once the WebSocket is open.
    """

    def __init__(
        self,
        scope: dict[str, Any],
        upgrade: Upgrade,
        incoming: IncomingMessages,
        writer: WebSocketWriter,
        *,
        default_headers: Iterable[tuple[bytes, bytes]],
        on_accept: Callable[[], None],
    ) -> None:
        self._scope = scope
        self._upgrade = upgrade
        self._incoming = incoming
        self._writer = writer
        self._default_headers = default_headers
        self._on_accept = on_accept
        self._closed = False

    async def run(self, app: Callable[..., Awaitable[object]]) -> None:
        """Call the application; when it returns, so does the connection. Its errors are logged."""
        try:
            result = await app(self._scope, self._incoming.receive, self._send)
        except ClientDisconnected:
            logger.debug("The application did not expect the client to leave")
        except Exception:
            logger.exception("Exception in ASGI application\n")
        else:
            if self._unanswered:
                logger.error("ASGI callable returned without completing handshake.")
            elif result is not None:
                logger.error("ASGI callable should return None, but returned '%s'.", result)
        finally:
            if self._unanswered:
                self._upgrade.refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
            self._writer.end_after_echo()

    @property
    def _unanswered(self) -> bool:
        return self._upgrade.state is UpgradeState.PENDING and not self._writer.lost

    async def _send(self, message: Mapping[str, Any]) -> None:
        """ASGI's `send`. Waits until the transport takes more.

        Raises ClientDisconnected when the client is gone, and RuntimeError when the message is not one of those that
        may come next.
        """
        await self._writer.wait_writable()
        kind = message["type"]
        state = self._upgrade.state
        if state is UpgradeState.PENDING:
            self._answer(kind, message)
        elif state is UpgradeState.DENYING:
            if kind != "websocket.http.response.body":
                raise RuntimeError(f"Expected ASGI message 'websocket.http.response.body' but got '{kind}'.")
            self._upgrade.continue_denial(message.get("body", b""), message.get("more_body", False))
            if self._upgrade.state is UpgradeState.REFUSED:
                self._closed = True
                self._incoming.end(1006)
        elif self._closed:
            raise RuntimeError(f"Unexpected ASGI message '{kind}', after sending 'websocket.close'.")
        elif state is UpgradeState.REFUSED:
            return  # by the server, which stops; `receive` reports it
        elif kind == "websocket.send":
            data = message.get("bytes")
            self._writer.write_message(data if data is not None else message["text"])
        elif kind == "websocket.close":
            if self._writer.open:  # else it is closed already, by the client or by an error
                code, reason = message.get("code", 1000), message.get("reason") or ""
                self._writer.close(code, reason)
                self._closed = True
                self._incoming.end(code, reason)
                self._incoming.discard()
        else:
            raise RuntimeError(f"Expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'.")

    def _answer(self, kind: str, message: Mapping[str, Any]) -> None:
        """Answer the request that opens the WebSocket."""
        headers = message.get("headers", [])
        if kind == "websocket.accept":
            self._upgrade.accept([*self._default_headers, *headers], message.get("subprotocol"))
            if self._upgrade.state is UpgradeState.ACCEPTED:
                self._on_accept()
        elif kind == "websocket.close":
            self._closed = True
            self._incoming.end(1006)
            self._upgrade.refuse(HTTPStatus.FORBIDDEN)
        elif kind == "websocket.http.response.start":
            self._upgrade.begin_denial(message["status"], headers)
        else:
            raise RuntimeError(
                "Expected ASGI message 'websocket.accept', 'websocket.close' "
                f"or 'websocket.http.response.start' but got '{kind}'."
            )
