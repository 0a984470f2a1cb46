"""A client over all its WebSockets: what it has heard and what it has yet to hear. Pure: time is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .inbox import Inbox
from .iopub_log import Entry

RECENT_MESSAGES = 200
"""How many messages of one session are kept to be sent again."""

RECENT_S = 45.0
"""How long they are kept. A lost connection is noticed by a missed pong, at most 40 s later under plain jupyverse."""


class ClientSession:
    """A client, named by its session_id. journal.py tells how it is kept.

    attached: whether it is connected and reads; if not, it is away.
    cursor: the number of the iopub message that it is to hear next.
    in_flight: the entries of the log that are being sent to it, from the cursor on.
    inbox: what only this client is to hear.
    left_at: since when it is away, in seconds.
    recent: what was handed to its transport lately and must not be missed: time, channel and frames.
    """

    __slots__ = ("attached", "cursor", "in_flight", "inbox", "left_at", "recent", "session_id")

    def __init__(self, session_id: str, inbox: Inbox, cursor: int, now: float) -> None:
        self.session_id = session_id
        self.attached = False
        self.cursor = cursor
        self.in_flight: Sequence[Entry] = ()
        self.inbox = inbox
        self.left_at = now
        self.recent: deque[tuple[float, str, Sequence[bytes]]] = deque(maxlen=RECENT_MESSAGES)

    def remember(self, channel: str, frames: Sequence[bytes], now: float) -> None:
        """Note that a message was handed to the transport. Whether the client has read it, nothing tells."""
        self.recent.append((now, channel, frames))
        while now - self.recent[0][0] > RECENT_S:
            self.recent.popleft()

    def repeat_recent(self, now: float) -> None:
        """Put what was remembered into the inbox again, before all else: the connection may have been lost."""
        horizon = now - RECENT_S
        self.inbox.put_first(
            self.cursor, [(channel, frames) for time, channel, frames in self.recent if time >= horizon]
        )
        self.recent.clear()
