"""The bounds of a WebSocket connection. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """The bounds of one connection.

    turn_messages: messages read from one client before the others get their turn.
    held_max_bytes: size of the large messages that nobody has consumed yet, above which reading stops.
    stuck_s: seconds without a byte taken by the client, after which a closing connection is aborted.
    echo_timeout_s: seconds to wait for the client's close frame after ours.
    """

    turn_messages: int = 16
    held_max_bytes: int = 32 * 1024 * 1024
    stuck_s: float = 5.0
    echo_timeout_s: float = 10.0
