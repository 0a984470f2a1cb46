"""The bytes between a server and a keeper: any split gives the same frames, and anything else is refused."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.keeper.keeper_wire import (
    BATCH,
    BOUNDS,
    CALL,
    CHANNELS,
    EVENT,
    LARGE_FRAME_BYTES,
    MAX_COUNT,
    MAX_JSON_BYTES,
    OLDEST,
    PING,
    PROTOCOL,
    SEND,
    BadFrame,
    Frame,
    FrameReader,
    TooLarge,
    common_protocol,
    decode_batch,
    decode_json,
    decode_send,
    encode,
    encode_batch,
    encode_json,
    encode_send,
)

HANDLES = st.integers(0, 2**32 - 1)
MESSAGES = st.lists(st.lists(st.binary(max_size=40), max_size=9), max_size=5)
JSON = st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none()), max_size=4)


def read(stream: bytes, cuts: list[int] | None = None) -> list[Frame]:
    reader = FrameReader()
    places = sorted({min(cut, len(stream)) for cut in cuts or []})
    chunks = [stream[start:stop] for start, stop in zip([0, *places], [*places, len(stream)], strict=True)]
    return [frame for chunk in chunks for frame in reader.feed(chunk)]


def only(stream: bytes) -> Frame:
    (frame,) = read(stream)
    return frame


@given(
    st.lists(st.tuples(st.sampled_from([BATCH, EVENT, SEND, CALL]), HANDLES, st.binary(max_size=50)), max_size=6),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_any_split_of_the_stream_gives_the_same_frames(frames: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(encode(kind, handle, body) for kind, handle, body in frames)
    assert [(one.kind, one.handle, one.body) for one in read(stream, cuts)] == frames


@given(
    st.lists(st.one_of(st.integers(0, 50), st.integers(LARGE_FRAME_BYTES - 20, 5 * LARGE_FRAME_BYTES)), max_size=5),
    st.lists(st.integers(0, 10 * LARGE_FRAME_BYTES), max_size=8),
)
def test_long_frames_among_short_ones_come_whole(sizes: list[int], cuts: list[int]) -> None:
    bodies = [bytes([number]) * size for number, size in enumerate(sizes)]
    stream = b"".join(encode(SEND, number, body) for number, body in enumerate(bodies))
    found = read(stream, cuts)
    assert [frame.handle for frame in found] == [*range(len(bodies))]
    assert [frame.body for frame in found] == bodies


@given(st.integers(1, 3 * LARGE_FRAME_BYTES), st.integers(0, 3 * LARGE_FRAME_BYTES))
def test_another_reader_goes_on_where_one_was_left(size: int, cut: int) -> None:
    stream = encode(PING) + encode(SEND, 7, b"x" * size)
    first, second = FrameReader(), FrameReader()
    found = list(first.feed(stream[:cut]))
    found += second.feed(first.rest)
    found += second.feed(stream[cut:])
    assert [(frame.kind, frame.stop - frame.start) for frame in found] == [(PING, 0), (SEND, size)]


@given(HANDLES, st.integers(0, 2**64 - 1), st.sampled_from(CHANNELS), MESSAGES)
def test_a_batch_is_read_as_it_was_written(handle: int, first: int, channel: str, messages: list[list[bytes]]) -> None:
    frame = only(b"".join(encode_batch(handle, first, channel, messages)))
    assert (frame.kind, frame.handle) == (BATCH, handle)
    assert decode_batch(frame) == (first, channel, messages)


@given(HANDLES, st.sampled_from(CHANNELS), st.binary(max_size=20), st.lists(st.binary(max_size=40), max_size=9))
def test_a_message_for_the_kernel_is_read_as_it_was_written(
    handle: int, channel: str, note: bytes, frames: list[bytes]
) -> None:
    frame = only(b"".join(encode_send(handle, channel, note, frames)))
    assert (frame.kind, frame.handle) == (SEND, handle)
    assert decode_send(frame) == (channel, note, frames)


@given(JSON)
def test_json_is_read_as_it_was_written(content: dict) -> None:
    assert decode_json(only(encode_json(CALL, content))) == content


def test_large_buffers_are_neither_joined_nor_copied() -> None:
    large = bytes(LARGE_FRAME_BYTES)
    message = [b"topic", b"delimiter", b"signature", b"h", large, b"{}", large, b"small", large, b"end"]
    pieces = encode_batch(1, 0, "iopub", [message, [b"next"]])
    assert sum(piece is large for piece in pieces) == 3
    batch = decode_batch(only(b"".join(pieces)))
    assert batch.messages == [message, [b"next"]]
    assert all(isinstance(frame, bytes) for frame in batch.messages[0][:8])
    assert [index for index, frame in enumerate(batch.messages[0]) if isinstance(frame, memoryview)] == [8]


@given(st.sampled_from(sorted(set(range(256)) - set(BOUNDS))), st.binary(min_size=8, max_size=30))
def test_a_kind_that_is_unknown_is_named(kind: int, body: bytes) -> None:
    good = encode(PING)
    found = FrameReader().feed(good + encode(kind, 0, body))
    assert next(found).kind == PING
    with pytest.raises(BadFrame, match=rf"unknown kind: {kind}"):
        next(found)


@pytest.mark.parametrize("kind", [PING, CALL, EVENT, SEND, BATCH])
def test_a_length_beyond_the_bound_is_refused_before_the_body_comes(kind: int) -> None:
    with pytest.raises(BadFrame, match=f"{BOUNDS[kind] + 1} bytes: at most {BOUNDS[kind]}"):
        list(FrameReader().feed(struct.pack("<IBI", BOUNDS[kind] + 1, kind, 0)))


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_else(garbage: bytes) -> None:
    with contextlib.suppress(BadFrame):
        for frame in FrameReader().feed(garbage):
            for decode in (decode_json, decode_batch, decode_send):
                decode(frame)


@given(st.sampled_from([decode_batch, decode_send, decode_json]), st.binary(max_size=60))
def test_a_body_of_garbage_raises_nothing_else(decode, body: bytes) -> None:
    with contextlib.suppress(BadFrame):
        decode(Frame(BATCH, 0, body, 0, len(body)))


@given(MESSAGES.filter(bool), st.data())
def test_a_batch_that_is_cut_is_refused(messages: list[list[bytes]], data: st.DataObject) -> None:
    body = only(b"".join(encode_batch(0, 0, "shell", messages))).body
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(BadFrame):
        decode_batch(Frame(BATCH, 0, body[:cut], 0, cut))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(TooLarge, match="frames"):
        encode_batch(0, 0, "shell", [[b""] * (MAX_COUNT + 1)])
    with pytest.raises(TooLarge, match="frames"):
        encode_send(0, "shell", b"", [b""] * MAX_COUNT)
    with pytest.raises(TooLarge, match="bytes"):
        encode_json(CALL, {"env": "x" * MAX_JSON_BYTES})


@given(st.integers(0, 2 * PROTOCOL + 2), st.integers(0, 2 * PROTOCOL + 2))
def test_the_newest_protocol_that_both_speak_is_spoken(newest: int, oldest: int) -> None:
    both = set(range(oldest, newest + 1)) & set(range(OLDEST, PROTOCOL + 1))
    assert common_protocol(newest, oldest) == max(both, default=None)


def test_who_names_no_oldest_protocol_speaks_one() -> None:
    assert common_protocol(PROTOCOL, None) == PROTOCOL
    assert common_protocol(PROTOCOL + 1, None) is None


@pytest.mark.parametrize(("newest", "oldest"), [(None, None), ("1", None), (1.0, 1), (PROTOCOL, "1"), ([], {})])
def test_what_is_no_number_of_a_protocol_is_none_that_is_spoken(newest: object, oldest: object) -> None:
    assert common_protocol(newest, oldest) is None
