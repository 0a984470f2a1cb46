"""What a server and a keeper write to each other, as bytes. Pure.

The stream is a sequence of frames, little-endian:

    u32 length of the body | u8 kind | u32 handle | body

A handle is the number that the keeper has given to a kernel; 0 where there is none. The kinds:

    PING    both ways         empty: are you there?
    PONG    both ways         empty: I am
    BATCH   keeper → server   what has passed on one channel of a kernel
    EVENT   keeper → server   JSON: what has happened, or the answer to a call
    SEND    server → keeper   a message for the kernel
    CALL    server → keeper   JSON: something to be done

The body of a BATCH, whose messages have consecutive numbers:

    u64 number of the first | u8 channel | u16 number of messages | u16 number of frames, for each message |
    u32 length, for each frame | the frames

The body of a SEND, which is one message:

    u8 channel | u16 number of frames | u32 length, for each frame | the frames

Its first frame is a note, which the keeper keeps with the message, and which does not go to the kernel.

A frame whose kind is unknown, or whose body is longer than its kind allows, cannot come from a peer that speaks this
protocol: nothing that follows it is believed.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from ..errors import FPSKernelsError
from ..kernel_driver.header import Buffer

PROTOCOL = 1
"""The version of the protocol."""
OLDEST = 1
"""The oldest version that is spoken as well: that of the release before, so that either side can be replaced first."""

PING, PONG, BATCH, EVENT, SEND, CALL = 0, 3, 1, 2, 16, 17

MAX_JSON_BYTES = 16 * 1024 * 1024
"""The longest call: it may have the environment and the command of a kernel, which Linux bounds at 6 MiB."""
MAX_BODY_BYTES = 2**31 - 1
"""The longest body of messages."""
BOUNDS = {PING: 0, PONG: 0, BATCH: MAX_BODY_BYTES, EVENT: MAX_JSON_BYTES, SEND: MAX_BODY_BYTES, CALL: MAX_JSON_BYTES}
"""The longest body of each kind."""
MAX_COUNT = 2**16 - 1
"""The most messages of a batch, and frames of a message."""

CHANNELS = ("shell", "control", "stdin", "iopub", "sent", "mark")
"""The channels by their numbers. `sent` has what was sent to the kernel, `mark` what a server wants to find there."""
NUMBERS = {name: number for number, name in enumerate(CHANNELS)}

LARGE_FRAME_BYTES = 65_536
"""From this size on, a frame of a message is written and read without being copied."""
CONTENTS = 5
"""The number of the frame with the contents of a message, from the delimiter on; buffers come after it."""
BEFORE_BUFFERS = 7
"""Frames that come before the buffers of a message at most; those are bytes, whatever their size."""

_HEADER = struct.Struct("<IBI")
_BATCH = struct.Struct("<QBH")
_SEND = struct.Struct("<BH")
HEADER_BYTES = _HEADER.size
_SWAP = sys.byteorder == "big"


class BadFrame(FPSKernelsError):
    """What came is not of this protocol; the message says what is wrong with it."""


class TooLarge(FPSKernelsError):
    """A message has more frames or bytes than one frame of the protocol can have."""


def spoken() -> str:
    """The versions that are spoken, in words."""
    return f"protocol {PROTOCOL}" if OLDEST == PROTOCOL else f"protocols {OLDEST} to {PROTOCOL}"


def common_protocol(newest: object, oldest: object) -> int | None:
    """The newest version that we and a peer, which has those from `oldest` to `newest`, both speak; None without one.

    A peer that names no oldest one speaks one version only.
    """
    if not isinstance(newest, int) or not isinstance(oldest, int | None):
        return None
    common = min(newest, PROTOCOL)
    return common if common >= max(newest if oldest is None else oldest, OLDEST) else None


class Frame(NamedTuple):
    """A frame: `data[start:stop]` is its body."""

    kind: int
    handle: int
    data: bytes
    start: int
    stop: int

    @property
    def body(self) -> bytes:
        return self.data[self.start : self.stop]


class Batch(NamedTuple):
    """The messages of a BATCH, each as its frames; `first` is the number of the first one."""

    first: int
    channel: str
    messages: list[list[bytes]]


class FrameReader:
    """Takes frames out of a stream of bytes."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._held = 0
        self._needed = HEADER_BYTES

    @property
    def rest(self) -> bytes:
        """What has come of a frame that has not ended."""
        return b"".join(self._chunks)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that end in `data`. To be read to the end. Raises BadFrame, after those that come before."""
        if self._chunks:
            self._chunks.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return
            data = b"".join(self._chunks)
            self._chunks.clear()
        at, end = 0, len(data)
        self._needed = HEADER_BYTES
        while end - at >= HEADER_BYTES:
            length, kind, handle = _HEADER.unpack_from(data, at)
            bound = BOUNDS.get(kind)
            if bound is None:
                raise BadFrame(f"a frame of an unknown kind: {kind}")
            if length > bound:
                raise BadFrame(f"a frame of kind {kind} with {length} bytes: at most {bound} are possible")
            start = at + HEADER_BYTES
            if start + length > end:
                self._needed = HEADER_BYTES + length
                break
            at = start + length
            yield Frame(kind, handle, data, start, at)
        if at < end:
            self._chunks.append(data[at:] if at else data)
        self._held = end - at


def encode(kind: int, handle: int = 0, body: bytes = b"") -> bytes:
    """A frame."""
    return _HEADER.pack(len(body), kind, handle) + body


def encode_json(kind: int, content: dict[str, Any], handle: int = 0) -> bytes:
    """A frame with JSON. Raises TooLarge."""
    body = json.dumps(content, separators=(",", ":")).encode()
    if len(body) > MAX_JSON_BYTES:
        raise TooLarge(f"{len(body)} bytes, of which {MAX_JSON_BYTES} are possible")
    return encode(kind, handle, body)


def decode_json(frame: Frame) -> dict[str, Any]:
    """The JSON of a frame. Raises BadFrame when it is no object."""
    try:
        content = json.loads(frame.body)
    except (ValueError, RecursionError) as exc:
        raise BadFrame("a frame is not valid JSON") from exc
    if not isinstance(content, dict):
        raise BadFrame("a frame is not a JSON object")
    return content


def encode_batch(handle: int, first: int, channel: str, messages: Sequence[Sequence[Buffer]]) -> list[Buffer]:
    """A BATCH, in pieces that are to be written one after the other. Raises TooLarge."""
    counts = [len(message) for message in messages]
    lengths = [len(frame) for message in messages for frame in message]
    if len(counts) > MAX_COUNT or max(counts, default=0) > MAX_COUNT:
        raise TooLarge(f"{max(counts)} frames in a message: at most {MAX_COUNT} are possible")
    head = _BATCH.pack(first, NUMBERS[channel], len(counts))
    return _join(BATCH, handle, head, counts, lengths, list(chain.from_iterable(messages)))


def encode_send(handle: int, channel: str, note: bytes, frames: Sequence[Buffer]) -> list[Buffer]:
    """A SEND, in pieces that are to be written one after the other. Raises TooLarge."""
    frames = [note, *frames]
    if len(frames) > MAX_COUNT:
        raise TooLarge(f"{len(frames)} frames in a message: at most {MAX_COUNT} are possible")
    head = _SEND.pack(NUMBERS[channel], len(frames))
    return _join(SEND, handle, head, [], [len(frame) for frame in frames], frames)


def _join(
    kind: int, handle: int, head: bytes, counts: list[int], lengths: list[int], frames: Sequence[Buffer]
) -> list[Buffer]:
    payload = sum(lengths)
    size = len(head) + 2 * len(counts) + 4 * len(lengths) + payload
    if size > MAX_BODY_BYTES:
        raise TooLarge(f"a message of {payload} bytes: {MAX_BODY_BYTES} are possible")
    joined: list[Buffer] = [_HEADER.pack(size, kind, handle), head, _numbers("H", counts), _numbers("I", lengths)]
    if max(lengths, default=0) < LARGE_FRAME_BYTES:
        joined += frames
        return [b"".join(joined)]
    pieces: list[Buffer] = []
    for frame in frames:
        if len(frame) < LARGE_FRAME_BYTES:
            joined.append(frame)
        else:
            pieces += [b"".join(joined), frame]
            joined = []
    if joined:
        pieces.append(b"".join(joined))
    return pieces


def _numbers(code: str, numbers: list[int]) -> bytes:
    packed = array(code, numbers)
    if _SWAP:
        packed.byteswap()
    return packed.tobytes()


def decode_batch(frame: Frame) -> Batch:
    """The messages of a BATCH; large buffers are views. Raises BadFrame."""
    data, at = frame.data, frame.start
    if frame.stop - at < _BATCH.size:
        raise BadFrame("a batch is cut off")
    first, number, count = _BATCH.unpack_from(data, at)
    counts, at = _read_numbers(frame, at + _BATCH.size, "H", count)
    messages: list[list[bytes]] = []
    lengths, at = _read_numbers(frame, at, "I", sum(counts))
    if sum(lengths) != frame.stop - at:
        raise BadFrame("the lengths of a batch do not add up")
    number_of = iter(lengths)
    for frames in counts:
        message: list[Any] = []  # bytes, and views: see message.Buffer
        for index in range(frames):
            stop = at + next(number_of)
            if index >= BEFORE_BUFFERS and stop - at >= LARGE_FRAME_BYTES:
                message.append(memoryview(data)[at:stop])
            else:
                message.append(data[at:stop])
            at = stop
        messages.append(message)
    return Batch(first, _channel(number), messages)


def decode_send(frame: Frame) -> tuple[str, bytes, list[Buffer]]:
    """The channel, the note and the frames of a SEND; large frames are views. Raises BadFrame."""
    data, at = frame.data, frame.start
    if frame.stop - at < _SEND.size:
        raise BadFrame("a message is cut off")
    number, count = _SEND.unpack_from(data, at)
    lengths, at = _read_numbers(frame, at + _SEND.size, "I", count)
    if not lengths or sum(lengths) != frame.stop - at:
        raise BadFrame("the lengths of a message do not add up")
    frames: list[Buffer] = []
    for index, length in enumerate(lengths):
        large = index >= BEFORE_BUFFERS and length >= LARGE_FRAME_BYTES
        frames.append(memoryview(data)[at : at + length] if large else data[at : at + length])
        at += length
    return _channel(number), bytes(frames[0]), frames[1:]


def largest_part(frames: Sequence[Buffer]) -> int | None:
    """The number of the largest frame of a message that is large; None if none of those with contents is.

    frames: from the delimiter on. Of each large message, the keeper says when the kernel's system has taken it.
    """
    large = [(len(frame), index) for index, frame in enumerate(frames) if index >= CONTENTS]
    size, index = max(large, default=(0, 0))
    return index if size >= LARGE_FRAME_BYTES else None


def _channel(number: int) -> str:
    if number >= len(CHANNELS):
        raise BadFrame(f"an unknown channel: {number}")
    return CHANNELS[number]


def _read_numbers(frame: Frame, at: int, code: str, count: int) -> tuple[array[int], int]:
    """So many numbers, and where what follows them begins. Raises BadFrame."""
    numbers = array(code)
    stop = at + count * numbers.itemsize
    if stop > frame.stop:
        raise BadFrame("a frame is shorter than it says")
    numbers.frombytes(frame.data[at:stop])
    if _SWAP:
        numbers.byteswap()
    return numbers, stop
