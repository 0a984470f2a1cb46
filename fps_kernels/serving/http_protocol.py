"""HTTP of our servers: uvicorn's protocol on h11, with a bound on everything that a client can keep us waiting for.

uvicorn itself has one deadline, for the time between two requests, and ends it with the first byte of the next. What
is added here, by what the server waits for:

    the head of a request     `head_timeout_s` from the connection, its TLS handshake included, or from the first byte
                              of a later request: 408, or no answer if nothing came
    its body                  at least `body_min_bytes` in each `body_window_s` in which we read: 408
    the next request          `keep_alive_s`
    the client to read        a byte taken in `stuck_s`

and 431 for a head of more than `max_head_bytes`. It is always h11 that parses, also where httptools is installed: so
the bounds are the same everywhere, and h11 tells in which state a connection is.

A connection that we refuse is not closed immediately: the system would reset it when more of the request arrives, and
the client might never see the answer. Our side is closed, and what comes is thrown away for a moment.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from ..websocket.close_timeout import CloseTimeout
from .access.refusal_log import RefusalLog
from .connection_table import Slot, Stage
from .serving_limits import ServingLimits

MAX_HEADERS = 1000
"""Number of headers of a request. Browsers send 20, and proxies add as many."""
END_OF_HEAD = re.compile(rb"\n\r?\n")
ABSOLUTE_FORM = re.compile(rb"(?i:https?)://(?P<host>[^/?#@]+)(?P<target>.*)")
LINGER_S = 2.0
"""Seconds for which the rest of a refused request is read and thrown away."""


class Awaiting(Enum):
    """What the server waits for."""

    HEAD = auto()
    BODY = auto()
    NEXT_REQUEST = auto()
    NOTHING = auto()
    """It is the server's turn."""
    END = auto()
    """The client closes a connection that was refused."""


class HeadLimitedConnection(h11.Connection):
    """h11's state machine, which by itself bounds only what is incomplete: a head that came in one piece has any size.

    The number of headers is looked at before they are parsed: 64 KiB of tiny ones would hold the loop for 80 ms.

    on_error: called with the status for what cannot be read. There are no more events then; uvicorn would log each.
    """

    def __init__(self, max_head_bytes: int, on_error: Callable[[int], None]) -> None:
        super().__init__(h11.SERVER, max_head_bytes)
        self._max_head_bytes = max_head_bytes
        self._on_error = on_error

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            arrived = self.trailing_data[0]
            end = END_OF_HEAD.search(arrived)
            if end is not None and arrived.count(b"\n", 0, end.start()) > MAX_HEADERS:
                self._on_error(431)
                return h11.NEED_DATA
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as exc:
            self._on_error(exc.error_status_hint)
            return h11.NEED_DATA
        if isinstance(event, h11.Request):
            if head_bytes(event) > self._max_head_bytes:
                self._on_error(431)
                return h11.NEED_DATA
            return in_origin_form(event)
        return event


def in_origin_form(request: h11.Request) -> h11.Request:
    """A request as those to a server are, whose client has written it as those to a proxy: GET http://HOST/PATH.

    A server takes both, and the host of the first line counts, not the header Host (RFC 9112, 3.2.2).
    """
    found = ABSOLUTE_FORM.fullmatch(request.target)
    if found is None:
        return request
    target = found["target"] if found["target"].startswith(b"/") else b"/" + found["target"]
    headers = [pair for pair in request.headers.raw_items() if pair[0].lower() != b"host"]
    return h11.Request(
        method=request.method,
        target=target,
        headers=[(b"Host", found["host"]), *headers],
        http_version=request.http_version,
    )


def head_bytes(request: h11.Request) -> int:
    """Size of a request's first line and headers."""
    fields = sum(len(name) + len(value) + 4 for name, value in request.headers)
    return len(request.method) + len(request.target) + len(b"  HTTP/1.1\r\n\r\n") + fields


def refusal(status: int, message: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of an error after which the connection is closed, in the form of the API's errors."""
    body = json.dumps({"message": message, "reason": HTTPStatus(status).phrase}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    return headers, body


class OnlyHealthChecks:
    """What a reserved connection gets: the application on some paths, and 503 everywhere else."""

    def __init__(self, app: ASGIApp, limits: ServingLimits) -> None:
        self._app = app
        self._paths = limits.always_answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        if scope["path"] in self._paths:
            await self._app(scope, receive, send_last)
            return
        headers, body = refusal(503, "Too many connections are open (max_connections)")
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class HTTPProtocol(H11Protocol):
    """One connection, until it ends or becomes a WebSocket.

    config, server_state, app_state: uvicorn's.
    limits: the bounds of the server.
    slot: its place among all connections.
    refusals: logs requests that cannot be read.
    """

    conn: HeadLimitedConnection

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        limits: ServingLimits,
        slot: Slot,
        refusals: RefusalLog,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.conn = HeadLimitedConnection(limits.max_head_bytes, self._cannot_read)
        self.timeout_keep_alive = cast(int, limits.keep_alive_s)  # uvicorn only hands it to call_later
        self.ws_protocol_class = cast(Any, partial(cast(Any, self.ws_protocol_class), on_lost=slot.leave))
        if slot.reserved:
            self.app = cast(Any, OnlyHealthChecks(cast(ASGIApp, self.app), limits))
        self._limits = limits
        self._slot = slot
        self._refusals = refusals
        self._made = self.loop.time()  # before its TLS handshake
        self._awaiting: Awaiting | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._window_bytes = 0
        self._window_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._stuck = CloseTimeout(self.loop, self.transport, self._limits.stuck_s, also_open=True)
        self._slot.end = self.transport.abort
        if self._slot.gone:
            self.transport.abort()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._slot.leave()
        self._stuck.cancel()
        self._stop_waiting()

    def data_received(self, data: bytes) -> None:
        if self._awaiting is Awaiting.END:
            return
        self._window_bytes += len(data)
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        if self._slot.reserved:
            self._refuse(503, "Too many connections are open (max_connections)")
            return
        self._stop_waiting()
        self._stuck.cancel()
        self._slot.enter(Stage.BUSY)
        super().handle_websocket_upgrade(event)

    def _cannot_read(self, status: int) -> None:
        """What came is no request, or one that is too large."""
        limit = self._limits.max_head_bytes
        message = "Invalid HTTP request received."
        if status == 431:
            message = (
                f"The URL and the headers have more than {limit} bytes, or there are more than {MAX_HEADERS} headers"
            )
        elif status == 501:
            message = "Of transfer codings, only chunked is read here: send the body uncompressed"
        self._refusals.refused({"client": self.client, "path": "a request"}, status, message)
        self._refuse(status, message)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._stuck.cancel()

    def shutdown(self) -> None:
        super().shutdown()
        self._look()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._look()

    def _look(self) -> None:
        """See what the connection waits for now, and for how long it may."""
        if self.transport.get_protocol() is not self:
            return  # it is a WebSocket now
        if self.transport.is_closing():
            self._stop_waiting()
            self._stuck.start()
            return
        if self._awaiting is Awaiting.END:
            return
        answered = self.cycle is None or self.cycle.response_complete
        state = self.conn.their_state
        if state is h11.IDLE:
            begun = self.cycle is None or bool(self.conn.trailing_data[0])
            self._await(Awaiting.HEAD if begun else Awaiting.NEXT_REQUEST)
        else:
            self._await(Awaiting.BODY if state is h11.SEND_BODY else Awaiting.NOTHING)
        if self._awaiting is Awaiting.BODY and self.flow.read_paused:
            self._window_paused = True
        if self.cycle is None:
            self._slot.enter(Stage.OPENING)
        else:
            self._slot.enter(Stage.IDLE if answered and self._awaiting is not Awaiting.NOTHING else Stage.BUSY)

    def _await(self, what: Awaiting) -> None:
        if what is self._awaiting:
            return
        self._stop_waiting()
        self._awaiting = what
        if what is Awaiting.HEAD:
            began = self._made if self.cycle is None else self.loop.time()
            self._deadline = self.loop.call_at(began + self._limits.head_timeout_s, self._head_is_late)
        elif what is Awaiting.BODY:
            self._open_window()

    def _stop_waiting(self) -> None:
        self._awaiting = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        if self.conn.trailing_data[0]:
            self._refuse(408, f"The headers of the request did not arrive within {self._limits.head_timeout_s:g} s")
        else:
            self.transport.close()
            self._look()

    def _open_window(self) -> None:
        self._window_bytes = 0
        self._window_paused = self.flow.read_paused
        self._deadline = self.loop.call_later(self._limits.body_window_s, self._close_window)

    def _close_window(self) -> None:
        """Refuse a body of which too little has come, unless it was the application that did not want more."""
        ours = self._window_paused or self.flow.read_paused or self.conn.they_are_waiting_for_100_continue
        if ours or self._window_bytes >= self._limits.body_min_bytes:
            self._open_window()
        else:
            self._refuse(408, f"The body of the request did not go on for {self._limits.body_window_s:g} s")

    def _refuse(self, status: int, message: str) -> None:
        """Answer with an error, if no answer has begun, and end the connection."""
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # for the application it is as if the client had left
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers, body = refusal(status, message)
            headers = [*self.server_state.default_headers, *headers]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self._stop_waiting()
        self._awaiting = Awaiting.END
        self._slot.enter(Stage.IDLE)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_S, self._stop_lingering)

    def _stop_lingering(self) -> None:
        self.transport.close()
        self._look()
