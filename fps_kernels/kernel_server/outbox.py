"""What one WebSocket of a session is to be sent next: of its inbox and of the log, within rate limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

from ..kernel_driver.message import EMPTY_DICT, dump_json, load_object
from ..websocket.frame_batch import Run
from . import stand_in as replies
from .client_session import ClientSession
from .encoder import Encoder
from .iopub_log import Entry, IopubLog, merge_entries, stream_key
from .rate_limit import MERGE_INTERVAL_S, RateLimiter, RateLimits, cut_middle

READ_MESSAGES = 24
READ_BYTES = 1024 * 1024
"""What a writer takes from the log at a time: a millisecond's work, and more than a drain of the kernel's
socket brings, so that what comes faster than it is sent waits in libzmq and not here."""
CUT_MESSAGES = 2 * READ_MESSAGES
"""What is merged before its text is cut, so that there are few notices of that."""
LAG_MESSAGES = 2_000
"""A client that is so far behind, because it reads too slowly, gets adjacent stream messages as one."""


class HasKernelSession(Protocol):
    """What is needed of a kernel's client: the session in the headers of what the kernel says."""

    @property
    def kernel_session(self) -> str: ...


class SessionOutbox:
    """What one WebSocket of a session is to be sent: its inbox and the log, in order."""

    def __init__(
        self, session: ClientSession, log: IopubLog, limits: RateLimits, encoder: Encoder, kernel: HasKernelSession
    ) -> None:
        self.pause_s = 0.0
        self._session = session
        self._log = log
        self._limiter = RateLimiter(limits) if limits.on else None
        self._encoder = encoder
        self._kernel = kernel
        self._merge_at = 0.0
        self._on_sent: Callable[[int], None] | None = None

    def take(self) -> Run | None:
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
            return self._take_entries(entries, self._encoder.encode_run(entries))
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

    def _take_entries(self, entries: Sequence[Entry], run: Run) -> Run:
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

    def _take_merged(self) -> Run | None:
        """For a client that lags, or has a rate limit: stream messages as few as possible."""
        limiter, now = self._limiter, monotonic()
        lagging = self._lags
        if limiter is None:
            entries = merge_entries(self._read(LAG_MESSAGES))
            return self._take_entries(entries, self._encoder.encode_each(entries))
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
        return self._take_entries(entries, self._encoder.encode_each(entries))

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

    def _take_private(self, channel: str, frames: Sequence[bytes]) -> Run:
        def sent(number: int) -> None:
            if number:
                self._session.inbox.remove_first(frames)
                # JupyterLab shows a box for each input request, and opens a new WebSocket for each `restarting`:
                # that would hear it again, if the old one is not seen to be closed yet.
                if channel != "stdin" and not replies.tells_of_restart(frames):
                    self._session.remember(channel, frames)

        self._on_sent = sent
        return Run([self._encoder.encode(channel, frames)])

    def _take_notice(self, missing: int, dropped: int) -> Run:
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
        return Run([self._encoder.encode("iopub", replies.stream("stderr", text, self._kernel.kernel_session, parent))])
