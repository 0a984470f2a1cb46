"""What one WebSocket is to be sent next, of its session's inbox and of the log. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_not
from typing import Protocol

from ..kernel_driver.message import EMPTY_DICT, dump_json, load_object
from ..websocket.frame_batch import FrameBatch
from . import stand_in
from .client_session import ClientSession
from .encoder import Encoder
from .iopub_log import MERGED_MAX_BYTES, Entry, IopubLog, is_stream, merge_entries, stream_key
from .page_pace import COLLECTED_MAX_BYTES, PagePace
from .rate_limit import MERGE_INTERVAL_S, RateLimiter, RateLimits, cut_middle

READ_MESSAGES = 64
"""How many messages are read from the log at a time: a millisecond's work at most, and more than one drain of the
kernel's socket brings, so that what comes faster than it is sent waits in libzmq and not here."""

READ_BYTES = 1024 * 1024
"""How many bytes are read from the log at a time, unless a single message has more."""

CUT_MESSAGES = 2 * READ_MESSAGES
"""How many messages are merged before their text is cut: one notice of the cut serves for all of them."""

LAG_MESSAGES = 2_000
"""How far behind a client that reads slowly must be to get adjacent stream messages merged."""


class HasKernelSession(Protocol):
    """What is needed of a kernel's client: the session in the headers of the kernel's messages."""

    @property
    def kernel_session(self) -> str: ...


class SessionOutbox:
    """The outbox of one WebSocket: what its session has yet to hear, in order and within the rate limits.

    pace: how text comes to a page in a browser; None for other clients.

    pause_s: when `take` returned None, the seconds after which to ask again; 0 means when there is something new.
    """

    def __init__(
        self,
        session: ClientSession,
        log: IopubLog,
        limits: RateLimits,
        encoder: Encoder,
        kernel: HasKernelSession,
        pace: PagePace | None = None,
    ) -> None:
        self.pause_s = 0.0
        self._session = session
        self._log = log
        self._limiter = RateLimiter(limits) if limits.on else None
        self._encoder = encoder
        self._kernel = kernel
        self._pace = pace
        self._collected = 0
        self._waited = False
        self._merge_at = 0.0
        self._on_sent: Callable[[int, float], None] | None = None

    def take(self, now: float) -> FrameBatch | None:
        """The next messages to send; None when nothing is due. Call `sent` before taking more."""
        self.pause_s = 0.0
        session, log = self._session, self._log
        missing, dropped = log.missing(session.cursor), session.inbox.dropped
        if missing or dropped:
            return self._take_notice(missing, dropped)
        due = session.inbox.due(session.cursor)
        if due is not None:
            return self._take_private(*due)
        if session.cursor >= log.next_seq:
            return None
        lagging = self._waited and log.next_seq - session.cursor > LAG_MESSAGES
        if self._limiter is not None:
            return self._take_limited(self._limiter, now, lagging)
        if lagging:
            entries = self._merge(LAG_MESSAGES)
            return self._take_entries(entries, self._encoder.encode_each(entries))
        if self._pace is not None:
            return self._take_paced(self._pace, now)
        return self._take_as_it_is()

    def _take_as_it_is(self) -> FrameBatch:
        session = self._session
        entries = self._read(READ_MESSAGES)
        encode = self._encoder.encode_each if session.hears_other_ids else self._encoder.encode_run
        return self._take_entries(entries, encode(entries))

    def sent(self, number: int, now: float, *, waited: bool) -> None:
        """So many messages of the last `take` were handed to the transport, the others were not.

        waited: whether the transport did not take them immediately.
        """
        self._waited = waited
        on_sent, self._on_sent = self._on_sent, None  # which held the messages
        if on_sent is not None:
            on_sent(number, now)

    def _read(self, max_messages: int, max_bytes: int = READ_BYTES) -> list[Entry]:
        """Read from the log, up to where a message of the inbox has its place."""
        session = self._session
        entries = self._log.read(session.cursor, max_messages, max_bytes)
        place = session.inbox.next_place()
        if place is not None and entries[-1].seq >= place:
            entries = [entry for entry in entries if entry.seq < place]
        return session.as_heard(entries)

    def _merge(
        self, max_messages: int, max_bytes: int = READ_BYTES, largest_bytes: int = MERGED_MAX_BYTES
    ) -> list[Entry]:
        """Read from the log, and merge what was read."""
        entries = self._read(max_messages, max_bytes)
        merged = merge_entries(entries, largest_bytes)
        self._log.tally.merged += len(entries) - len(merged)
        return merged

    def _take_paced(self, pace: PagePace, now: float) -> FrameBatch | None:
        """Read from the log for a page: text of a cell of which it has much is collected and merged."""
        [first] = self._log.read(self._session.cursor, 1, 1)
        parent = bytes(first.frames[1])
        if not pace.is_much(parent):
            return self._take_as_it_is()
        if (wait_s := pace.wait_s(parent, now)) > 0 and self._is_all_text(first):
            self.pause_s = wait_s
            return None
        entries = self._merge(LAG_MESSAGES, COLLECTED_MAX_BYTES, COLLECTED_MAX_BYTES)
        return self._take_entries(entries, self._encoder.encode_each(entries))

    def _is_all_text(self, first: Entry) -> bool:
        """Whether all that waits is text of one cell, and not too much of it. first: the first of it."""
        session, log = self._session, self._log
        if session.inbox.next_place() is not None:
            return False
        start = max(self._collected, session.cursor)
        for entry in log.read(start, log.next_seq - start, COLLECTED_MAX_BYTES):
            if not is_stream(entry) or entry.frames[1] != first.frames[1]:
                return False
            self._collected = entry.end
        return log.total_bytes - first.offset < COLLECTED_MAX_BYTES

    def _take_limited(self, limiter: RateLimiter, now: float, lagging: bool) -> FrameBatch | None:
        """Read from the log for a client with rate limits: when there are too many stream messages, merge them."""
        if lagging or limiter.too_many(now):
            if not lagging and now < self._merge_at:
                self.pause_s = self._merge_at - now
                return None
            self._merge_at = now + MERGE_INTERVAL_S
            entries = self._merge(LAG_MESSAGES)
        elif limiter.cuts_text:
            entries = self._merge(CUT_MESSAGES)
        else:
            entries = self._read(READ_MESSAGES)
        limiter.count(now, len(entries))
        shortened = [_shorten(limiter, now, entry) for entry in entries]
        self._log.tally.truncated += sum(map(is_not, shortened, entries))
        return self._take_entries(shortened, self._encoder.encode_each(shortened))

    def _take_entries(self, entries: Sequence[Entry], run: FrameBatch) -> FrameBatch:
        session = self._session

        def sent(number: int, now: float) -> None:
            session.in_flight = ()
            if number:
                session.cursor = max(session.cursor, entries[number - 1].end)  # a restart may have moved it on
                for entry in entries[:number]:
                    if entry.is_status:
                        session.remember("iopub", entry.frames, now)
                    elif self._pace is not None and is_stream(entry):
                        self._pace.sent(bytes(entry.frames[1]), len(entry.frames[3]), now)

        session.in_flight = entries
        self._on_sent = sent
        return run

    def _take_private(self, channel: str, frames: Sequence[bytes]) -> FrameBatch:
        session = self._session

        def sent(number: int, now: float) -> None:
            if number:
                session.inbox.remove_first(frames)
                # JupyterLab shows a box for each input request, and opens a new WebSocket for each `restarting`,
                # where it would hear that again if the old one is not yet known to be closed.
                if channel != "stdin" and not stand_in.tells_of_restart(frames):
                    session.remember(channel, frames, now)

        self._on_sent = sent
        return FrameBatch([self._encoder.encode(channel, frames)])

    def _take_notice(self, missing: int, dropped: int) -> FrameBatch:
        """Say how many messages of the log and of the inbox were dropped because of a bound."""
        session = self._session
        cursor = max(session.cursor, self._log.first_seq)
        # With the parent of what comes next, so that a front end has a place to show it.
        following = session.as_heard(self._log.read(cursor, 1, 1))
        parent = bytes(following[0].frames[1]) if following else EMPTY_DICT

        def sent(number: int, now: float) -> None:
            if number:
                session.cursor = max(session.cursor, cursor)
                session.inbox.dropped -= dropped
                self._log.tally.missing += missing + dropped

        self._on_sent = sent
        kernel_session = self._kernel.kernel_session
        text = f"[{missing + dropped} messages are missing here: they came faster than they were read]\n"
        return FrameBatch([self._encoder.encode("iopub", stand_in.stream("stderr", text, kernel_session, parent))])


def _shorten(limiter: RateLimiter, now: float, entry: Entry) -> Entry:
    """The entry with the middle of its text cut out, if it is a stream message with more than may be sent now."""
    if stream_key(entry) is None:
        return entry
    size = len(entry.frames[3])
    allowed = limiter.allow_text(now, size)
    if allowed >= size:
        return entry
    content = load_object(entry.frames[3], "content")
    content["text"] = cut_middle(content["text"], allowed)
    return entry.replaced([*entry.frames[:3], dump_json(content)])
