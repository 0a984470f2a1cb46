"""The iopub messages of a kernel that some session has yet to hear. Pure: time is passed in.

Sequence numbers count messages. Merging adjacent stream messages makes one entry of several, which covers the numbers
of all of them; a cursor never points into the middle of an entry. See journal.py for what cursors are.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from ..errors import MalformedMessage
from ..kernel_driver.message import Message, dump_json, load_object, peek_msg_type
from .tally import FROM_KERNEL, Tally

MERGED_MAX_BYTES = 1024 * 1024
"""The largest size of a merged stream message, for those who do not say another one."""


@dataclass(frozen=True, slots=True)
class ReplayLimits:
    """How much is kept for sessions that are away.

    max_messages, max_bytes: in the log, and in each inbox. max_age_s: in the log, in seconds.
    max_sessions: how many sessions that are away are remembered.
    """

    max_messages: int = 10_000
    max_bytes: int = 64 * 1024 * 1024
    max_age_s: float = 600.0
    max_sessions: int = 100


class Entry:
    """One message of the log, or several stream messages merged into one.

    seq: the number of its first message. count: how many messages it stands for.
    offset: the size of all messages that came before it, in bytes.
    """

    __slots__ = ("count", "frames", "is_status", "offset", "seq", "size", "time")

    def __init__(
        self, seq: int, time: float, frames: Sequence[bytes], is_status: bool, count: int = 1, offset: int = 0
    ) -> None:
        self.seq = seq
        self.count = count
        self.time = time
        self.frames = frames
        self.is_status = is_status
        self.offset = offset
        self.size = sum(map(len, frames))

    def replaced(self, frames: Sequence[bytes]) -> Entry:
        """An entry at the same place in the log with other frames."""
        return Entry(self.seq, self.time, frames, self.is_status, self.count, self.offset)

    @property
    def end(self) -> int:
        """The number that follows that of its last message."""
        return self.seq + self.count


class IopubLog:
    """A log of iopub messages, oldest first.

    next_seq: the number that the next message will have. first_seq: the number below which nothing is kept.
    bytes: the size of what is kept. total_bytes: the size of all that ever came.
    tally: counts what becomes of the messages.
    """

    def __init__(self, limits: ReplayLimits) -> None:
        self.tally = Tally()
        self._flow = self.tally.flows[FROM_KERNEL, "iopub"]
        self.limits = limits
        self.next_seq = 0
        self.first_seq = 0
        self.bytes = 0
        self.total_bytes = 0
        self._entries: list[Entry] = []
        self._merged_at = 0  # number of entries that were left of those that were merged last

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, batch: Sequence[Message], now: float) -> None:
        """Add messages that came at the time `now`, in seconds."""
        seq = self.next_seq
        for message in batch:
            entry = Entry(seq, now, message.frames, message.msg_type == "status", 1, self.total_bytes)
            self._entries.append(entry)
            self.bytes += entry.size
            self.total_bytes += entry.size
            seq += 1
        self.next_seq = seq
        self._flow.messages += len(batch)
        self._flow.bytes = self.total_bytes

    def read(self, cursor: int, max_messages: int, max_bytes: int) -> list[Entry]:
        """The entries from `cursor` on, up to the bounds, but at least one if there is any."""
        entries = self._entries
        start = self._index(cursor)
        stop = min(len(entries), start + max_messages)
        found = entries[start:stop]
        size = 0
        for number, entry in enumerate(found):
            size += entry.size
            if size > max_bytes and number:
                return found[:number]
        return found

    def missing(self, cursor: int) -> int:
        """How many messages from `cursor` on were dropped because of a bound."""
        return max(0, self.first_seq - cursor)

    def exceeds_bounds(self, now: float) -> bool:
        """Whether there is something for `keep_bounds` to do."""
        limits = self.limits
        return (
            len(self._entries) > limits.max_messages
            or self.bytes > limits.max_bytes
            or (bool(self._entries) and now - self._entries[0].time > limits.max_age_s)
        )

    def forget_before(self, cursor: int) -> None:
        """Forget what comes before `cursor`: all sessions have heard it."""
        self._drop(self._index(cursor))
        self.first_seq = max(self.first_seq, min(cursor, self.next_seq))

    def clear(self) -> None:
        """Forget everything that is kept. Numbers go on."""
        self.forget_before(self.next_seq)

    def keep_bounds(self, cursors: Collection[int], now: float, keep_from: int) -> None:
        """Merge, then drop the oldest, until the limits hold for what only sessions that are away have to hear.

        cursors: where sessions are or, once what is in flight has been sent, may be next. Entries on the two sides of
          one are not merged.
        keep_from: the first message that an attached session has to hear. From there on nothing is merged or dropped.
        """
        limits = self.limits
        count = self._index(keep_from)
        size = self.bytes - self.waiting(keep_from)[1]
        too_many = count > limits.max_messages or size > limits.max_bytes
        if too_many and count > self._merged_at + limits.max_messages // 10:
            runs = _runs(self._entries[:count], frozenset(cursors))
            merged = [run[0] if len(run) == 1 else _merge_run(run) for run in runs]
            size = sum(entry.size for entry in merged)
            self._entries[:count] = merged
            self.bytes = sum(entry.size for entry in self._entries)
            self.tally.merged += count - len(merged)
            self._merged_at = count = len(merged)
        number = 0
        for entry in islice(self._entries, count):
            old = now - entry.time > limits.max_age_s
            if not (old or count > limits.max_messages or size > limits.max_bytes):
                break
            number += 1
            count -= 1
            size -= entry.size
        if number:
            self.first_seq = self._entries[number - 1].end
            self._drop(number)

    def waiting(self, cursor: int) -> tuple[int, int]:
        """How many entries come from `cursor` on, and their size in bytes before any merging."""
        index = self._index(cursor)
        count = len(self._entries) - index
        return count, self.total_bytes - self._entries[index].offset if count else 0

    def _index(self, cursor: int) -> int:
        entries = self._entries
        if not entries or cursor <= entries[0].seq:
            return 0
        if cursor >= self.next_seq:
            return len(entries)
        index = cursor - entries[0].seq  # exact as long as nothing was merged
        if index < len(entries) and entries[index].seq == cursor:
            return index
        return bisect_left(entries, cursor, key=lambda entry: entry.seq)

    def _drop(self, number: int) -> None:
        if number:
            self.bytes -= sum(entry.size for entry in self._entries[:number])
            del self._entries[:number]
            self._merged_at = max(0, self._merged_at - number)


def merge_entries(entries: Sequence[Entry], max_bytes: int = MERGED_MAX_BYTES) -> list[Entry]:
    """Merge stream messages that are adjacent and have the same parent and name, for a reader that lags.

    max_bytes: the largest size of a merged message.
    """
    return [run[0] if len(run) == 1 else _merge_run(run) for run in _runs(entries, frozenset(), max_bytes)]


def _runs(
    entries: Sequence[Entry], cursors: frozenset[int], max_bytes: int = MERGED_MAX_BYTES
) -> Iterator[list[Entry]]:
    """Split entries into runs that may become one message each."""
    run: list[Entry] = []
    key: tuple[bytes, str] | None = None
    size = 0
    for entry in entries:
        this = stream_key(entry)
        if run and this is not None and this == key and size + entry.size <= max_bytes and entry.seq not in cursors:
            run.append(entry)
            size += entry.size
            continue
        if run:
            yield run
        run, key, size = [entry], this, entry.size
    if run:
        yield run


def is_stream(entry: Entry) -> bool:
    """Whether it is text on stdout or stderr."""
    header = entry.frames[0]
    if b'"stream"' not in header:
        return False
    try:
        return peek_msg_type(header) == "stream"
    except MalformedMessage:
        return False


def stream_key(entry: Entry) -> tuple[bytes, str] | None:
    """What two stream messages must have in common to be merged; None for a message that is not merged."""
    frames = entry.frames
    if len(frames) != 4 or not is_stream(entry):
        return None
    try:
        content = load_object(frames[3], "content")
    except MalformedMessage:
        return None
    name, text = content.get("name"), content.get("text")
    if not isinstance(name, str) or not isinstance(text, str) or len(content) != 2:
        return None
    return frames[1], name


def _merge_run(run: Sequence[Entry]) -> Entry:
    """Merge entries into one: the text of all; header, parent and metadata of the first."""
    first = run[0]
    contents = [json.loads(entry.frames[3]) for entry in run]
    text = "".join(content["text"] for content in contents)
    content = dump_json({"name": contents[0]["name"], "text": text})
    return Entry(first.seq, first.time, [*first.frames[:3], content], False, run[-1].end - first.seq, first.offset)
