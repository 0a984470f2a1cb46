"""The WebSocket protocol of our servers: asyncio and uvicorn outside, websockets' sans-I/O state machine inside.

uvicorn makes an instance for each request that wants to upgrade, hands it the transport and the request, and asks it
to end with `shutdown`. The state machine does the handshake, fragments, pings, closing and errors. Messages take a
shorter way in both directions: one ASGI `send` for each is what a flood costs most, so the frames of a batch are one
write; and a message that arrives as one frame goes to its reader immediately, without a queue and a task that has to
wake up. `flow_control` explains what keeps the two sides from running away from each other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

from .application import Application
from .asgi import DELIVER_EXTENSION, WRITE_EXTENSION
from .direct import DirectWriter
from .flow_control import FlowControl, WebSocketLimits
from .frame_batch import IncomingMessage
from .frames import FrameReader, LargeText, Payload
from .incoming import IncomingMessages
from .keepalive import Keepalive
from .message_budget import MessageBudget
from .upgrade import SHORTEST_REQUEST, Upgrade, UpgradeState, read_request, request_scope
from .writer import WebSocketWriter

logger = logging.getLogger("uvicorn.error")

TRACE = 5
"""uvicorn's own log level, below DEBUG."""
ABNORMAL_CLOSURE = 1006
"""The code of a connection that ends without a close frame (RFC 6455, 7.4.1)."""


@dataclass(frozen=True, slots=True)
class WebSocketStatistics:
    """A snapshot of one connection.

    paused: whether reading is paused.
    unread_bytes: bytes that the transport has handed over and that wait for their turn.
    partial_bytes: bytes of a message that has not arrived completely.
    held_bytes: size of the large messages that nobody has consumed yet.
    pings: number of pings sent.
    """

    paused: bool
    unread_bytes: int
    partial_bytes: int
    held_bytes: int
    pings: int


class WebSocketProtocol(asyncio.Protocol):
    """One WebSocket connection, from the request that opens it to the end of its transport.

    config, server_state, app_state: uvicorn's.
    limits: the bounds of the connection.
    budget: what all connections of the server share; by default the connection has one of its own.
    size_option: the option that sets the size of the largest message, to be named in errors.
    on_lost: called when the connection is gone.
    on_invalid: called with the client's address, the status and the reason for a request that is not for a WebSocket.
    """

    transport: asyncio.Transport
    _flow: FlowControl
    _incoming: IncomingMessages
    _writer: WebSocketWriter
    _direct: DirectWriter
    _keepalive: Keepalive

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        limits: WebSocketLimits = WebSocketLimits(),  # noqa: B008 - frozen
        budget: MessageBudget | None = None,
        size_option: str = "ws_max_size",
        on_lost: Callable[[], None] = lambda: None,
        on_invalid: Callable[[tuple[str, int | None] | None, int, str], None] = lambda client, status, why: None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._limits = limits
        self._budget = budget or MessageBudget(2 * config.ws_max_size, 2 * config.ws_max_size)
        self._size_option = size_option
        self._on_lost = on_lost
        self._on_invalid = on_invalid
        self._machine = ServerProtocol(max_size=config.ws_max_size, logger=logger)
        self._reader = FrameReader(config.ws_max_size)
        self._upgrade: Upgrade | None = None
        self._input_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._flow = FlowControl(
            self.loop,
            transport,
            self._limits,
            self._budget,
            read_one=self._read_one,
            unfinished=lambda: self._reader.unfinished_bytes + self._incoming.fragment_bytes,
            refuse=self._refuse_more,
        )
        self._incoming = IncomingMessages(self._flow)
        self._writer = WebSocketWriter(self.loop, transport, self._machine, self._flow, self._limits)
        self._direct = DirectWriter(transport, self._writer)
        self._keepalive = Keepalive(
            self.loop,
            self._config.ws_ping_interval,
            self._config.ws_ping_timeout,
            send_ping=self._writer.ping,
            paused=lambda: self._flow.paused,
            last_read=lambda: self._reader.fed,
            give_up=self._give_up,
        )
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own classes
        self._trace("connection made")

    def data_received(self, data: bytes) -> None:
        if self._upgrade is None:
            self._open(data)
        elif not self._input_ended:
            self._reader.feed(data)
            self._flow.data_arrived()

    def pause_writing(self) -> None:
        self._flow.writable.clear()

    def resume_writing(self) -> None:
        self._writer.resume()

    def eof_received(self) -> None:
        self._writer.end()

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            if self._machine.state is not State.CONNECTING:
                while self._read_one():  # what the client sent before it left
                    continue
        finally:
            self._keepalive.stop()
            self._direct.close()
            self._writer.connection_lost()
            accepted = self._upgrade is not None and self._upgrade.state is UpgradeState.ACCEPTED
            self._incoming.end(1005 if accepted else ABNORMAL_CLOSURE)
            self._server_state.connections.discard(self)
            self._on_lost()
            self._trace("connection lost")
            # Reference cycles must not keep the beginning of a message until the collector passes.
            self._machine.fail(ABNORMAL_CLOSURE)
            self._incoming.clear()
            self._reader = FrameReader(self._config.ws_max_size)
            self._flow.discard()

    def shutdown(self) -> None:
        """End the connection because the server stops. Called by uvicorn."""
        self._keepalive.stop()
        if self._upgrade is not None and self._upgrade.state is UpgradeState.PENDING:
            self._upgrade.refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
        elif self._writer.open:
            self._incoming.end(1012)
            self._writer.fail(1012)
        else:
            self._writer.end()

    def statistics(self) -> WebSocketStatistics:
        return WebSocketStatistics(
            paused=self._flow.paused,
            unread_bytes=self._reader.unread_bytes,
            partial_bytes=self._reader.partial_bytes + self._incoming.fragment_bytes,
            held_bytes=self._flow.held_bytes,
            pings=self._keepalive.pings,
        )

    def _open(self, data: bytes) -> None:
        """Read the request, which uvicorn hands over in one piece, and start the application."""
        request, headers, wrong = read_request(data)
        self._machine.receive_data(SHORTEST_REQUEST)
        self._machine.events_received()  # what it makes of that
        if wrong is None:
            response = self._machine.accept(request)
        else:
            status, why = wrong
            response = self._machine.reject(status, f"Failed to open a WebSocket connection: {why}.\n")
            if status is HTTPStatus.METHOD_NOT_ALLOWED:
                response.headers["Allow"] = "GET"
        client = _address(self.transport.get_extra_info("peername"))
        if response.status_code != 101:
            self._on_invalid(client, response.status_code, (response.body or b"").decode("latin-1").strip())
            self._writer.respond(response)
            return
        secure = self.transport.get_extra_info("sslcontext") is not None
        scope = request_scope(request, headers, self._config.root_path) | {
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
            "scheme": "wss" if secure else "ws",
            "server": _address(self.transport.get_extra_info("sockname")),
            "client": client,
            "state": self._app_state.copy(),
            "extensions": {
                "websocket.http.response": {},
                WRITE_EXTENSION: {
                    "write": self._writer.write_frames,
                    "write_now": self._writer.write_now,
                    "write_through": self._direct.write_through,
                    "unsent_bytes": self._direct.unsent_bytes,
                    "fileno": self._direct.fileno,
                },
                DELIVER_EXTENSION: {"deliver": self._incoming.deliver_to},
            },
        }
        self._upgrade = Upgrade(self._machine, self._writer, response, scope)
        application = Application(
            scope,
            self._upgrade,
            self._incoming,
            self._writer,
            default_headers=self._server_state.default_headers,
            on_accept=self._accepted,
        )
        self._incoming.connect()
        task = self.loop.create_task(application.run(self._config.loaded_app), name="WebSocket")
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    def _accepted(self) -> None:
        self._keepalive.start()
        self._flow.open()

    def _read_one(self) -> bool:
        """Read the next message, or part of one; returns whether there was any."""
        event = self._reader.read()
        if event is None or self._input_ended:
            return False
        if isinstance(event, bytes):
            self._step(event)
            return True
        is_text, data = event
        if isinstance(data, Payload):
            self._flow.hold(data)
        self._receive(is_text, data)
        return True

    def _step(self, data: bytes) -> None:
        """Have the state machine read a control frame, an error, or part of a fragmented message."""
        self._machine.receive_data(data)
        for event in self._machine.events_received():
            assert isinstance(event, Frame)
            if event.opcode is Opcode.PING:
                self._writer.answer_ping()
            elif event.opcode is Opcode.PONG:
                self._keepalive.pong(bytes(event.data))
            elif event.opcode is Opcode.CLOSE:
                self._end_input(self._machine.data_to_send(), Close.parse(event.data))
            elif (message := self._incoming.join(event)) is not None:
                self._receive(*message)
        if not self._input_ended:
            output = self._machine.data_to_send()
            if SEND_EOF in output:  # the state machine has given up
                # Before the end of the stream, there is our close frame with two bytes of header, unless we sent one.
                close = Close.parse(output[0][2:]) if len(output) > 1 else None
                if close is not None and close.code == CloseCode.MESSAGE_TOO_BIG:
                    reason = f"a message has more than {self._config.ws_max_size} bytes ({self._size_option})"
                    logger.warning("A WebSocket was closed: %s", reason)
                    self._break_off(Close(close.code, reason))
                else:
                    self._end_input(output, close)

    def _end_input(self, output: Sequence[bytes], close: Close | None) -> None:
        """The client's last frame was read: its close frame, or a violation of the protocol.

        output: what the state machine has to send. close: what the application is told, unless it knows.
        """
        self._input_ended = True
        if not self._writer.closing:
            if close is not None:
                self._incoming.end(close.code, close.reason)
            self.transport.write(b"".join(output))
        self._writer.end()

    def _refuse_more(self) -> None:
        """The budget is used up, and it was not this connection's message that could be completed."""
        if not self._writer.open:
            self._writer.end()
        else:
            reason = f"too many large messages at the same time: try again later ({self._size_option})"
            logger.warning("A WebSocket was closed: %s", reason)
            self._machine.fail(CloseCode.TRY_AGAIN_LATER)  # it forgets what it had
            self._machine.data_to_send()
            self._break_off(Close(CloseCode.TRY_AGAIN_LATER, reason))

    def _break_off(self, close: Close) -> None:
        """Forget a message of which we want no more, and tell the client why, which may be still sending."""
        self._input_ended = True
        self._incoming.end(close.code)  # without a reason: nobody knows what the client has read
        self._incoming.forget_fragments()
        self._reader = FrameReader(self._config.ws_max_size)
        self.transport.write(Frame(Opcode.CLOSE, close.serialize()).serialize(mask=False))
        self._writer.end_reading()
        self._flow.discard()

    def _receive(self, is_text: bool, data: bytes | Payload) -> None:
        """Give a complete message to the application."""
        message: IncomingMessage = data
        if is_text:
            try:
                message = data.decode()
            except UnicodeDecodeError:
                self._refuse_text()
                return
            if isinstance(data, Payload):
                message = LargeText(message)
                message.lease = data.lease
        self._incoming.put(message)

    def _refuse_text(self) -> None:
        if not self._writer.open:
            logger.debug("Invalid UTF-8 after the close frame")
            return
        logger.exception("Invalid UTF-8 sequence received from client.")
        self._input_ended = True
        self._incoming.end(1007, "")
        self._writer.fail(1007)

    def _give_up(self) -> None:
        """The client has not answered a ping."""
        if self._writer.open:
            self._trace("keepalive ping timeout")
            self._writer.fail(1011, "keepalive ping timeout")

    def _trace(self, event: str) -> None:
        if logger.isEnabledFor(TRACE):
            client = _address(self.transport.get_extra_info("peername"))
            logger.log(TRACE, "%sWebSocket %s", "{}:{} - ".format(*client) if client else "", event)


def _address(name: object) -> tuple[str, int | None] | None:
    """Host and port of a socket's name, path and None of a Unix socket's; None when it has no name."""
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    return (name, None) if isinstance(name, str) and name else None
