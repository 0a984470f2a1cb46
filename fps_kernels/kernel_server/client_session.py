"""A client over all its WebSockets: what it has heard and what it has yet to hear. Pure: time is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from ..errors import MalformedMessage
from ..kernel_driver.message import peek_msg_id, with_msg_id
from .inbox import Inbox
from .iopub_log import Entry

RECENT_MESSAGES = 200
"""How many messages of one session are kept to be sent again."""

RECENT_S = 45.0
"""How long they are kept. A lost connection is noticed by a missed pong, at most 40 s later under plain jupyverse."""

RENAMED_REQUESTS = 100
"""Requests of one session whose msg_id was taken that are remembered, for what threads of their cells still say."""

SessionKey = tuple[str, str]
"""What tells sessions apart: the user, whom the server knows, and the session_id, which the client chooses."""


class ClientSession:
    """A client, named by its user and its session_id. journal.py tells how it is kept.

    user: the name of the user, "" where all are one.
    attached: whether it is connected and reads; if not, it is away.
    cursor: the number of the iopub message that it is to hear next.
    in_flight: the entries of the log that are being sent to it, from the cursor on.
    inbox: what only this client is to hear.
    left_at: since when it is away, in seconds.
    recent: what was handed to its transport lately and must not be missed: time, channel and frames.
    """

    __slots__ = ("_renamed", "attached", "cursor", "in_flight", "inbox", "left_at", "recent", "session_id", "user")

    def __init__(self, key: SessionKey, inbox: Inbox, cursor: int, now: float) -> None:
        self.user, self.session_id = key
        self.attached = False
        self.cursor = cursor
        self.in_flight: Sequence[Entry] = ()
        self.inbox = inbox
        self.left_at = now
        self.recent: deque[tuple[float, str, Sequence[bytes]]] = deque(maxlen=RECENT_MESSAGES)
        self._renamed: dict[str, Any] = {}

    @property
    def key(self) -> SessionKey:
        """What tells it apart from other sessions."""
        return self.user, self.session_id

    @property
    def hears_other_ids(self) -> bool:
        """Whether it is to hear messages of the log with another msg_id in their parent header than other sessions."""
        return bool(self._renamed)

    def rename(self, chosen: str, sent: str | None) -> None:
        """Note that a request was sent to the kernel under another msg_id than the client chose; None: under its own.

        chosen, sent: change places in what the session hears. `chosen` belongs to a request of another session, whose
          messages the client would take for answers to its own.
        """
        other = self._renamed.pop(chosen, None)
        if other is not None:
            self._renamed.pop(other, None)
        if sent is not None:
            self._renamed |= {chosen: sent, sent: chosen}
            self._forget_renamed()

    def restore(self, sent: str, chosen: Any) -> None:
        """Note that a request was sent under another msg_id than the client chose, which no kernel could read.

        chosen: what the session hears instead of `sent`, in its own messages and in those of the log.
        """
        self._renamed[sent] = chosen
        self._forget_renamed()

    def _forget_renamed(self) -> None:
        while len(self._renamed) > 2 * RENAMED_REQUESTS:
            self._renamed.pop(self._renamed.pop(next(iter(self._renamed))), None)

    def as_heard(self, entries: list[Entry]) -> list[Entry]:
        """Entries of the log with the msg_ids that the client knows."""
        return [self._as_heard(entry) for entry in entries] if self._renamed else entries

    def _as_heard(self, entry: Entry) -> Entry:
        header, parent, *others = entry.frames
        try:
            msg_id = peek_msg_id(parent)
            if msg_id not in self._renamed:
                return entry
            return entry.replaced([header, with_msg_id(parent, self._renamed[msg_id]), *others])
        except MalformedMessage:  # a kernel's nonsense, which clients get as it is
            return entry

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
