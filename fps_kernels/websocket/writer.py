"""What a server writes to the client of one WebSocket, and how it ends the connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from websockets.exceptions import InvalidState
from websockets.http11 import Response
from websockets.server import ServerProtocol

from .close_timeout import CloseTimeout
from .flow_control import FlowControl, WebSocketLimits

LINGER_S = 2.0
"""Seconds for which the rest of a message that was refused is read and thrown away."""


class ClientDisconnected(ConnectionResetError):
    """The WebSocket is closed, and nothing more can be sent."""


class RefusalLogger(logging.LoggerAdapter[logging.Logger]):
    """A state machine's logger for a request that is refused: strangers write no lines, the server has its own few."""

    def info(self, msg: object, *args: Any, **kwargs: Any) -> None:
        self.debug(msg, *args, **kwargs)


class WebSocketWriter:
    """The sending half of a connection: the state machine's output, and whole frames that bypass it.

    lost: whether the connection is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        machine: ServerProtocol,
        flow: FlowControl,
        limits: WebSocketLimits,
    ) -> None:
        self.lost = False
        self._open = False
        self._loop = loop
        self._transport = transport
        self._machine = machine
        self._writable = flow.writable
        self._echo_timeout_s = limits.echo_timeout_s
        self._echo_timer: asyncio.TimerHandle | None = None
        self._close_timeout = CloseTimeout(loop, transport, limits.stuck_s)
        self._pong = b""

    @property
    def open(self) -> bool:
        """Whether messages can be sent: the WebSocket is accepted, and neither side has begun to close it."""
        return self._open and not self._transport.is_closing()

    @property
    def writable(self) -> bool:
        """Whether whole frames may be written now."""
        return self._writable.is_set() and self.open

    @property
    def closing(self) -> bool:
        """Whether the transport is closed, whatever its buffer still holds."""
        return self._transport.is_closing()

    async def wait_writable(self) -> None:
        """Wait until the transport takes more. Raises ClientDisconnected when the connection is lost."""
        if not self._writable.is_set():
            await self._writable.wait()
        if self.lost:
            raise ClientDisconnected("the connection is lost")

    async def write_frames(self, buffers: Sequence[bytes]) -> None:
        """Write whole frames; returns when the transport has taken them, at the client's pace.

        Raises ConnectionResetError, having written nothing, when the WebSocket is closed.
        """
        if not self._writable.is_set():
            await self._writable.wait()
        if not self._open or self._transport.is_closing():
            raise ClientDisconnected("the WebSocket is closed")
        self._transport.writelines(buffers)

    def write_now(self, buffers: Sequence[bytes]) -> bool:
        """As `write_frames`, but at once; False, having written nothing, where it would wait or raise."""
        if not self._writable.is_set() or not self.open:
            return False
        self._transport.writelines(buffers)
        return True

    def write_message(self, message: str | bytes) -> None:
        """Raises ClientDisconnected when the WebSocket is closed."""
        try:
            if isinstance(message, str):
                self._machine.send_text(message.encode())
            else:
                self._machine.send_binary(message)
        except InvalidState as exc:
            raise ClientDisconnected("the WebSocket is closed") from exc
        self.flush()

    def ping(self, payload: bytes) -> None:
        if self.open:
            self._machine.send_ping(payload)
            self.flush()

    def answer_ping(self) -> None:
        """Write the state machine's pong; while the transport is not writable, keep it in place of an earlier one."""
        if self._writable.is_set():
            self.flush()
        else:
            self._pong = b"".join(self._machine.data_to_send())

    def resume(self) -> None:
        """The transport takes more: let the senders go on."""
        self._writable.set()
        pong, self._pong = self._pong, b""
        if pong and self.open:
            self._transport.write(pong)

    def respond(self, response: Response) -> None:
        """Answer the request that opens the WebSocket. Any status but 101 ends the connection."""
        if response.status_code != 101 and isinstance(self._machine.logger, logging.Logger):
            self._machine.logger = RefusalLogger(self._machine.logger, {})
        self._machine.send_response(response)
        self.flush()
        if response.status_code == 101:
            self._open = True
        else:
            self.end()

    def flush(self) -> None:
        """Write what the state machine has to send."""
        self._transport.write(b"".join(self._machine.data_to_send()))

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and leave the client some time to answer with its own."""
        self._machine.send_close(code, reason)
        self._open = False
        self.flush()
        self._echo_timer = self._loop.call_later(self._echo_timeout_s, self.end)

    def fail(self, code: int, reason: str = "") -> None:
        """Send a close frame, if none was sent, and close the transport without waiting for the client's."""
        if self._open:
            self._machine.send_close(code, reason)
            self.flush()
        self.end()

    def end_reading(self) -> None:
        """Close our side after our last word, and the transport when the client has had time to read it.

        The client may be still sending: the system would reset a connection that is closed, with all that is unread.
        """
        self._open = False
        if self._transport.can_write_eof():
            self._transport.write_eof()
        if self._echo_timer is None:
            self._echo_timer = self._loop.call_later(LINGER_S, self.end)

    def end(self) -> None:
        """Close the transport: once its buffer is written, or earlier if the client takes nothing of it."""
        self._open = False
        self._stop_awaiting_echo()
        self._transport.close()
        if not self.lost:
            self._close_timeout.start()

    def end_after_echo(self) -> None:
        """Close the transport, but leave the client the time to answer our close frame if we sent one."""
        if self._echo_timer is None:
            self.end()

    def connection_lost(self) -> None:
        """Let the senders go on: asyncio does not resume a transport that is lost while they wait."""
        self.lost = True
        self._stop_awaiting_echo()
        self._close_timeout.cancel()
        self._writable.set()

    def _stop_awaiting_echo(self) -> None:
        if self._echo_timer is not None:
            self._echo_timer.cancel()
            self._echo_timer = None
