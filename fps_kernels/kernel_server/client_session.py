"""A client over all its WebSockets: what it has heard, and what it is still to hear."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic

from .connection import Connection
from .inbox import Inbox
from .iopub_log import Entry

RECENT_MESSAGES = 200
RECENT_S = 45.0
"""Status and replies of the last seconds before a connection broke off are sent again. Between two
pings and a missed pong lie at most 40 s under plain jupyverse."""


class ClientSession:
    """A client, as its session_id names it; at most one of its WebSockets is open.

    cursor: the iopub message it is to hear next. in_flight: what is just being sent to it, from the
    cursor on. left_at: since when it is away, on the clock of time.monotonic.
    """

    __slots__ = ("connection", "cursor", "in_flight", "inbox", "left_at", "recent", "session_id")

    def __init__(self, session_id: str, inbox: Inbox, cursor: int) -> None:
        self.session_id = session_id
        self.connection: Connection | None = None
        self.cursor = cursor
        self.in_flight: Sequence[Entry] = ()
        self.inbox = inbox
        self.left_at = monotonic()
        self.recent: deque[tuple[float, str, Sequence[bytes]]] = deque(maxlen=RECENT_MESSAGES)

    def put(self, after: int, channel: str, frames: Sequence[bytes]) -> None:
        """A message for this client alone; it waits while the client is away."""
        self.inbox.put(after, channel, frames)
        if self.connection is not None:
            self.connection.wake()

    def remember(self, channel: str, frames: Sequence[bytes]) -> None:
        """This was handed to the transport; whether the client has read it, nobody says."""
        now = monotonic()
        self.recent.append((now, channel, frames))
        while now - self.recent[0][0] > RECENT_S:
            self.recent.popleft()

    def repeat_recent(self) -> None:
        """The connection broke off: what the client may not have read, and must not miss, is due again."""
        horizon = monotonic() - RECENT_S
        self.inbox.put_first(
            self.cursor, [(channel, frames) for time, channel, frames in self.recent if time >= horizon]
        )
        self.recent.clear()
