"""Everything that has passed between one kernel and its servers, numbered and bounded. Pure.

Theory of operation
===================

The keeper gives each message the next number, whatever its channel and its direction: what the kernel says on shell,
control, stdin and iopub, what servers send to it (`sent`, of which only headers are kept), and what servers want to be
kept there (`mark`). A number is never used twice, also over restarts of the kernel. Messages are kept as they are
written to servers, a batch at a time: each drain of a channel is one.

A server that has died knows nothing any more. The next one asks for everything *from a number on*, and comes to the
same state as the first by doing with it what the first did. How far the first had come for good, it has told by
`seen`: what lies before that is forgotten, with one exception. A reply cannot be routed without its request, so a
request stays until it was answered and the answer has been seen, too. Whoever attaches is given those first.

The bounds hold for two *lanes* apart, so that a flood of output cannot push out a reply or an input request: iopub is
the one, all the rest the other. Where one exceeds the bounds, its oldest batches are dropped, but never the only one.
How many messages somebody misses who asks for them later is known (`missing`).

A server that reads too slowly is no concern of the record: it is not a queue for anybody, but a place to read from.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any, NamedTuple, Self

from ..errors import MalformedMessage
from ..kernel_driver.header import DELIMITER, Buffer, peek_msg_id, peek_msg_type
from .keeper_wire import encode_batch

SPLIT_BYTES = 1024 * 1024
"""A batch that has more is kept as one batch for each message, so that what is dropped is not much."""
MAX_REQUESTS = 20_000
"""Requests without an answer that are kept; as many as a server remembers, see request_log.py."""
MAX_RANGES = 1_000
"""Dropped ranges that are told apart. Beyond that, `missing` may say more than is missing."""
ANSWERING = frozenset({"shell", "control"})
"""The channels on which kernels reply."""


PATIENCE = 4
"""How many times as many bytes are kept while a server lags that may only be slower for a moment."""


@dataclass(frozen=True, slots=True)
class RecordBounds:
    """How much is kept of a kernel, of iopub and of the rest each."""

    max_messages: int = 200_000
    max_bytes: int = 64 * 1024 * 1024


class Stored(NamedTuple):
    """A batch as it is kept.

    seq: the number of its first message. messages: how many it has. size: its bytes.
    pieces: it as a frame of the protocol, to be written one after the other.
    """

    seq: int
    messages: int
    size: int
    pieces: Sequence[Buffer]

    @property
    def end(self) -> int:
        """The number after that of its last message."""
        return self.seq + self.messages


class Record:
    """What has passed.

    handle: the kernel's number in the frames.
    next_seq: the number that the next message will have.
    seen: the number up to which no server needs anything any more.
    awaited: whether a server lags that may catch up.
    """

    def __init__(self, handle: int, bounds: RecordBounds | None = None, next_seq: int = 0) -> None:
        self.next_seq = next_seq
        self.seen = next_seq
        self.awaited = False
        self._handle = handle
        self._bounds = bounds = bounds or RecordBounds()
        self._iopub, self._rest = _Lane(bounds), _Lane(bounds)
        self._requests: OrderedDict[str, _Request] = OrderedDict()

    def state(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "next_seq": self.next_seq,
            "seen": self.seen,
            "max_messages": self._bounds.max_messages,
            "max_bytes": self._bounds.max_bytes,
            "iopub": self._iopub.state(),
            "rest": self._rest.state(),
            "requests": [[key, _plain(one.stored), one.answered_at] for key, one in self._requests.items()],
        }

    @classmethod
    def resume(cls, handle: int, state: Mapping[str, Any]) -> Self:
        """The record that had this state."""
        record = cls(handle, RecordBounds(state["max_messages"], state["max_bytes"]), state["next_seq"])
        record.seen = state["seen"]
        record._iopub.resume(state["iopub"])
        record._rest.resume(state["rest"])
        for msg_id, stored, answered_at in state["requests"]:
            record._requests[msg_id] = request = _Request(Stored(*stored))
            request.answered_at = answered_at
        return record

    @property
    def size(self) -> int:
        """The bytes of what is kept."""
        return self._iopub.size + self._rest.size

    @property
    def unfinished(self) -> int:
        """The number of requests that have no answer."""
        return sum(request.answered_at is None for request in self._requests.values())

    def add(self, channel: str, messages: Sequence[Sequence[Buffer]]) -> Stored:
        """Keep what the kernel said on a channel; returns it as it is written.

        messages: one of what `parts` gives. Raises TooLarge when that is larger than the protocol allows.
        """
        if channel in ANSWERING:
            self._note_answers(messages)
        return self._keep(channel, messages)

    def add_sent(self, channel: str, sender: bytes, note: bytes, frames: Sequence[Buffer]) -> Stored:
        """Keep that a message was sent to the kernel, with its header and its parent header.

        sender: the server that sent it. note: what that server wants to be kept with it.
        Returns what others are told: a message of five frames, channel, sender, note, header and parent header.
        """
        header, parent = _headers(frames)
        stored = self._keep("sent", [[channel.encode(), sender, note, header, parent]])
        if channel in ANSWERING:
            try:
                msg_id, msg_type = peek_msg_id(header), peek_msg_type(header)
            except MalformedMessage:
                return stored
            if msg_id and msg_type.endswith("_request"):
                self._requests.pop(msg_id, None)
                self._requests[msg_id] = _Request(stored)
                if len(self._requests) > MAX_REQUESTS:
                    self._requests.popitem(last=False)
        return stored

    def add_mark(self, sender: bytes, note: bytes) -> Stored:
        """Keep what a server wants to find here: a message of two frames."""
        return self._keep("mark", [[sender, note]])

    def _keep(self, channel: str, messages: Sequence[Sequence[Buffer]]) -> Stored:
        pieces = encode_batch(self._handle, self.next_seq, channel, messages)
        stored = Stored(self.next_seq, len(messages), sum(map(len, pieces)), pieces)
        self.next_seq = stored.end
        (self._iopub if channel == "iopub" else self._rest).add(stored, PATIENCE if self.awaited else 1)
        return stored

    def trim(self) -> None:
        """Drop what is kept only for servers that lag: none does any more."""
        for lane in (self._iopub, self._rest):
            lane.trim()

    def _note_answers(self, messages: Sequence[Sequence[Buffer]]) -> None:
        if not self._requests:
            return
        for number, message in enumerate(messages):
            try:
                request = self._requests.get(peek_msg_id(_headers(message)[1]))
            except MalformedMessage:
                continue
            if request is not None and request.answered_at is None:
                request.answered_at = self.next_seq + number

    def finish_all(self) -> None:
        """The process has ended, and that was dealt with: nothing is owed any more."""
        for request in self._requests.values():
            if request.answered_at is None:
                request.answered_at = self.next_seq

    def forget_before(self, seq: int) -> None:
        """A server has no need for what comes before `seq` any more, nor will the next one."""
        self.seen = seq = max(self.seen, min(seq, self.next_seq))
        self._iopub.forget_before(seq)
        self._rest.forget_before(seq)
        done = [one for one, request in self._requests.items() if request.is_done(seq)]
        for msg_id in done:
            del self._requests[msg_id]

    def shrink(self) -> None:
        """Drop the older half of what is kept."""
        self._iopub.shrink()
        self._rest.shrink()

    def clear(self) -> None:
        """Forget everything. Numbers go on."""
        self.finish_all()
        self.forget_before(self.next_seq)
        self._requests.clear()

    def requests_before(self, seq: int) -> list[Stored]:
        """The requests whose answers may come at `seq` or later, and which `read(seq)` does not give."""
        first = max(seq, self._rest.first_seq)
        return [one.stored for one in self._requests.values() if one.stored.seq < first and one.is_open(seq)]

    def read(self, seq: int, max_bytes: int) -> list[Stored]:
        """The batches from the one with the message `seq` on, up to the bound, but at least one if there is any."""
        found: list[Stored] = []
        size = 0
        for stored in merge(self._iopub.read(seq), self._rest.read(seq)):
            size += stored.size
            if found and size > max_bytes:
                break
            found.append(stored)
        return found

    @property
    def dropped_to(self) -> tuple[int, int]:
        """The numbers before which something was dropped because of a bound: of iopub, and of the rest."""
        return self._iopub.first_seq, self._rest.first_seq

    def missing(self, seq: int, known: tuple[int, int] = (0, 0)) -> int:
        """How many messages from `seq` on were dropped because of a bound.

        known: what `dropped_to` was when that was asked last, so that nothing is counted twice.
        """
        return self._iopub.missing(max(seq, known[0])) + self._rest.missing(max(seq, known[1]))


def parts(messages: Sequence[Sequence[Buffer]]) -> Sequence[Sequence[Sequence[Buffer]]]:
    """Messages that came together as they are to be kept: large ones each for itself."""
    if len(messages) > 1 and sum(len(frame) for message in messages for frame in message) > SPLIT_BYTES:
        return [[message] for message in messages]
    return [messages]


class _Request:
    """A request that was sent. answered_at: the number of its answer; None while there is none."""

    __slots__ = ("answered_at", "stored")

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.answered_at: int | None = None

    def is_open(self, seq: int) -> bool:
        """Whether the answer is not among what comes before `seq`."""
        return self.answered_at is None or self.answered_at >= seq

    def is_done(self, seq: int) -> bool:
        """Whether request and answer come before `seq`."""
        return self.stored.seq < seq and not self.is_open(seq)


class _Lane:
    """Batches, oldest first, and what was dropped of them."""

    def __init__(self, bounds: RecordBounds) -> None:
        self.size = 0
        self._bounds = bounds
        self._messages = 0
        self._batches: deque[Stored] = deque()
        self._dropped: deque[tuple[int, int, int]] = deque()  # first, end, number of messages

    def state(self) -> dict[str, Any]:
        return {"batches": list(map(_plain, self._batches)), "dropped": list(map(list, self._dropped))}

    def resume(self, state: Mapping[str, Any]) -> None:
        self._dropped.extend((first, end, count) for first, end, count in state["dropped"])
        for seq, messages, size, pieces in state["batches"]:
            self.add(Stored(seq, messages, size, pieces))

    @property
    def first_seq(self) -> int:
        """The number before which this has dropped something."""
        return self._dropped[-1][1] if self._dropped else 0

    def add(self, stored: Stored, patience: int = PATIENCE) -> None:
        self._batches.append(stored)
        self._messages += stored.messages
        self.size += stored.size
        self.trim(patience)

    def trim(self, patience: int = 1) -> None:
        max_bytes, max_messages = patience * self._bounds.max_bytes, self._bounds.max_messages
        while (self.size > max_bytes or self._messages > max_messages) and len(self._batches) > 1:
            self._drop()

    def shrink(self) -> None:
        for _ in range((len(self._batches) + 1) // 2):
            self._drop()

    def _drop(self) -> None:
        oldest = self._pop()
        self._dropped.append((oldest.seq, oldest.end, oldest.messages))
        if len(self._dropped) > MAX_RANGES:
            first, _, count = self._dropped.popleft()
            _, end, more = self._dropped.popleft()
            self._dropped.appendleft((first, end, count + more))

    def _pop(self) -> Stored:
        oldest = self._batches.popleft()
        self._messages -= oldest.messages
        self.size -= oldest.size
        return oldest

    def forget_before(self, seq: int) -> None:
        while self._batches and self._batches[0].end <= seq:
            self._pop()
        while self._dropped and self._dropped[0][1] <= seq:
            self._dropped.popleft()

    def read(self, seq: int) -> Iterator[Stored]:
        batches = self._batches
        if not batches or batches[-1].end <= seq:
            return iter(())
        start = bisect_left(batches, seq + 1, key=lambda one: one.end)
        return islice(batches, start, None)

    def missing(self, seq: int) -> int:
        return sum(count if seq <= first else min(count, end - seq) for first, end, count in self._dropped if end > seq)


def _plain(stored: Stored) -> list[Any]:
    return [stored.seq, stored.messages, stored.size, list(map(bytes, stored.pieces))]


def _headers(frames: Sequence[Buffer]) -> tuple[bytes, bytes]:
    """The header and the parent header in the frames of a message. Raises MalformedMessage."""
    for index, frame in enumerate(islice(frames, 8)):
        if frame == DELIMITER:
            if len(frames) < index + 4:
                break
            return bytes(frames[index + 2]), bytes(frames[index + 3])
    raise MalformedMessage("no message of a kernel")
