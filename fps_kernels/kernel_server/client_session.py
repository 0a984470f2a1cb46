"""A client over all its WebSockets: what it has heard, and what it is still to hear."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from ..kernel_driver.message import EMPTY_DICT, dump_json, load_object
from ..websocket.frame_batch import Chunks, FrameBatch
from . import stand_in as replies
from .connection import Connection
from .iopub_log import Entry, Inbox, IopubLog, merge_entries, stream_key
from .rate_limit import MERGE_INTERVAL_S, RateLimiter, RateLimits, cut_middle

READ_MESSAGES = 24
READ_BYTES = 1024 * 1024
"""What a writer takes from the log at a time: a millisecond's work, and more than a drain of the kernel's
socket brings, so that what comes faster than it is sent waits in libzmq and not here."""
CUT_MESSAGES = 2 * READ_MESSAGES
"""What is merged before its text is cut, so that there are few notices of that."""
LAG_MESSAGES = 2_000
"""A client that is so far behind, because it reads too slowly, gets adjacent stream messages as one."""
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


class SessionOutbox:
    """What one WebSocket of a session is to be sent: its inbox and the log, in order.

    encode: of a channel and frames. encode_run: of a run of the log as it is, shared by all that read the
    same one.
    """

    def __init__(
        self,
        session: ClientSession,
        log: IopubLog,
        limits: RateLimits,
        encode: Callable[[str, Sequence[bytes]], Chunks],
        encode_run: Callable[[Sequence[Entry]], FrameBatch],
        kernel_session: Callable[[], str],
    ) -> None:
        self.pause_s = 0.0
        self._session = session
        self._log = log
        self._limiter = RateLimiter(limits) if limits.on else None
        self._encode = encode
        self._encode_run = encode_run
        self._kernel_session = kernel_session
        self._merge_at = 0.0
        self._on_sent: Callable[[int], None] | None = None

    def take(self) -> FrameBatch | None:
        self.pause_s = 0.0
        session = self._session
        missing, dropped = self._log.missing(session.cursor), session.inbox.dropped
        if missing or dropped:
            return self._take_notice(missing, dropped)
        due = session.inbox.due(session.cursor)
        if due is not None:
            return self._take_private(*due)
        if session.cursor >= self._log.next_seq:
            return None
        if self._limiter is None and not self._lags:
            entries = self._read(READ_MESSAGES)
            return self._take_entries(entries, self._encode_run(entries))
        return self._take_merged()

    def sent(self, number: int) -> None:
        on_sent, self._on_sent = self._on_sent, None  # what was sent is not kept until something else is
        if on_sent is not None:
            on_sent(number)

    # --- the log ---------------------------------------------------------------------------------

    @property
    def _lags(self) -> bool:
        connection = self._session.connection
        behind = self._log.next_seq - self._session.cursor > LAG_MESSAGES
        return behind and connection is not None and connection.blocked

    def _read(self, max_messages: int) -> list[Entry]:
        session = self._session
        entries = self._log.read(session.cursor, max_messages, READ_BYTES)
        place = session.inbox.next_place()
        if place is not None and entries[-1].seq >= place:
            entries = [entry for entry in entries if entry.seq < place]
        return entries

    def _take_entries(self, entries: Sequence[Entry], run: FrameBatch) -> FrameBatch:
        session = self._session

        def sent(number: int) -> None:
            session.in_flight = ()
            if number:
                session.cursor = max(session.cursor, entries[number - 1].end)  # a restart may have moved it on
                for entry in entries[:number]:
                    if entry.is_status:
                        session.remember("iopub", entry.frames)

        session.in_flight = entries
        self._on_sent = sent
        return run

    def _encode_each(self, entries: Sequence[Entry]) -> FrameBatch:
        return FrameBatch([self._encode("iopub", entry.frames) for entry in entries])

    def _take_merged(self) -> FrameBatch | None:
        """For a client that lags, or has a rate limit: stream messages as few as possible."""
        limiter, now = self._limiter, monotonic()
        lagging = self._lags
        if limiter is None:
            entries = merge_entries(self._read(LAG_MESSAGES))
            return self._take_entries(entries, self._encode_each(entries))
        if not lagging and not limiter.too_many(now):
            entries = merge_entries(self._read(CUT_MESSAGES)) if limiter.cuts_text else self._read(READ_MESSAGES)
        elif not lagging and now < self._merge_at:
            self.pause_s = self._merge_at - now
            return None
        else:
            self._merge_at = now + MERGE_INTERVAL_S
            entries = merge_entries(self._read(LAG_MESSAGES))
        limiter.count(now, len(entries))
        entries = [self._shorten(limiter, now, entry) for entry in entries]
        return self._take_entries(entries, self._encode_each(entries))

    @staticmethod
    def _shorten(limiter: RateLimiter, now: float, entry: Entry) -> Entry:
        if stream_key(entry) is None:
            return entry
        content = load_object(entry.frames[3], "content")
        size = len(entry.frames[3])
        allowed = limiter.allow_text(now, size)
        if allowed >= size:
            return entry
        content["text"] = cut_middle(content["text"], allowed)
        return entry.replaced([*entry.frames[:3], dump_json(content)])

    # --- the session's own -----------------------------------------------------------------------

    def _take_private(self, channel: str, frames: Sequence[bytes]) -> FrameBatch:
        def sent(number: int) -> None:
            if number:
                self._session.inbox.remove_first(frames)
                # JupyterLab shows a box for each input request, and opens a new WebSocket for each `restarting`:
                # that would hear it again, if the old one is not seen to be closed yet.
                if channel != "stdin" and not replies.tells_of_restart(frames):
                    self._session.remember(channel, frames)

        self._on_sent = sent
        return FrameBatch([self._encode(channel, frames)])

    def _take_notice(self, missing: int, dropped: int) -> FrameBatch:
        session = self._session
        cursor = max(session.cursor, self._log.first_seq)
        # With the parent of what comes next, so that a front end has a place to show it.
        following = self._log.read(cursor, 1, 1)
        parent = bytes(following[0].frames[1]) if following else EMPTY_DICT

        def sent(number: int) -> None:
            if number:
                session.cursor = max(session.cursor, cursor)
                session.inbox.dropped -= dropped

        self._on_sent = sent
        text = f"[{missing + dropped} messages are missing here: they came faster than they were read]\n"
        return FrameBatch([self._encode("iopub", replies.stream("stderr", text, self._kernel_session(), parent))])
