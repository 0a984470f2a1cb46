"""What one client may cost a server: its connections, its time and its bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import Bounds
from ..websocket.connection_limits import WebSocketLimits

MIB = 1024 * 1024
MESSAGE_BOUNDS = Bounds(ge=64 * 1024, le=1024 * MIB)
"""Sizes that the largest WebSocket message may have. Smaller ones than the least are not even counted."""


@dataclass(frozen=True, slots=True)
class ServingLimits:
    """The bounds of a server.

    max_connections: number of open connections; None for half of the files that the process may have open.
    reserved_connections: connections beyond that, which only get an answer from `always_answered`.
    always_answered: paths that are answered on reserved connections, as health checks are.
    head_timeout_s: seconds from a connection, or from the first byte of a later request, to the end of the headers.
    keep_alive_s: seconds that a connection may stay open between two requests.
    body_window_s: seconds within which each part of a request's body has to come.
    body_min_bytes: size of such a part. Only the last one of a body may be smaller.
    stuck_s: seconds without a byte of a response taken by the client, after which its connection is aborted.
    max_head_bytes: size of a request's first line and headers together.
    max_message_bytes: size of the largest WebSocket message from a client.
    websocket: the bounds of each WebSocket connection.
    """

    max_connections: int | None = None
    reserved_connections: int = 16
    always_answered: frozenset[str] = frozenset()
    head_timeout_s: float = 20.0
    keep_alive_s: float = 75.0
    body_window_s: float = 30.0
    body_min_bytes: int = 4096
    stuck_s: float = 60.0
    max_head_bytes: int = 64 * 1024
    max_message_bytes: int = 64 * MIB + 64 * 1024  # a buffer of 64 MiB, and the message around it
    websocket: WebSocketLimits = WebSocketLimits()  # noqa: RUF009 - frozen

    @property
    def held_max_bytes(self) -> int:
        """Size of the WebSocket messages that the server may hold, before only one at a time goes on.

        Two of the largest, and as much again until that one is complete; see websocket/message_budget.py.
        """
        return 2 * self.max_message_bytes
