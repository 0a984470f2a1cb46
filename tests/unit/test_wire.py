"""The two WebSocket protocols, against a codec of the tests' own and against any bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fps_kernels.errors import MalformedMessage
from fps_kernels.kernel_driver.message import RequestHeader, peek_msg_id, peek_msg_type
from fps_kernels.kernel_server.wire import (
    CHANNELS,
    decode_default,
    decode_request,
    decode_v1,
    encode_default,
    encode_v1,
)
from fps_kernels.websocket.frames import LARGE_BYTES

from ..support.cases import for_each
from ..support.messages import pack_default, pack_v1, unpack_default, unpack_v1

Json = dict[str, Any]
NAMES = ("header", "parent_header", "metadata", "content")
relaxed = settings(deadline=None)

channels = st.sampled_from(sorted(CHANNELS))
texts = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, values, max_size=4)
buffers = st.lists(st.binary(max_size=40), max_size=4)
messages = st.fixed_dictionaries(
    {
        "channel": channels,
        "header": st.fixed_dictionaries({"msg_id": texts, "msg_type": texts, "session": texts}, optional={"x": values}),
        "parent_header": objects,
        "metadata": objects,
        "content": objects,
        "buffers": buffers,
    }
)
MESSAGE: Json = {
    "channel": "shell",
    "header": {"msg_id": "1", "msg_type": "execute_request", "session": "é"},
    "parent_header": {},
    "metadata": {"m": [1]},
    "content": {"code": "print('é€😀\\u2028')"},
    "buffers": [b"buffer", b"", b"\x00\xff"],
}
WITHOUT_BUFFERS = MESSAGE | {"buffers": []}


def parts_of(message: Json) -> list[bytes]:
    return [*(json.dumps(message[name], ensure_ascii=False).encode() for name in NAMES), *message["buffers"]]


def loaded(channel: str, frames: Sequence[bytes | memoryview], header: Json | None = None) -> Json:
    """The message, as a client's own decoder gives it; `header` must be what its frame says."""
    assert header is None or header == json.loads(bytes(frames[0]))
    return dict(zip(NAMES, map(json.loads, map(bytes, frames[:4])), strict=True)) | {
        "channel": channel,
        "buffers": list(frames[4:]),
    }


def only(message: Json) -> Json:
    return {key: message[key] for key in ("channel", *NAMES, "buffers")}


def malformed(decode: Any, data: Any) -> MalformedMessage:
    with pytest.raises(MalformedMessage) as caught:
        decode(data)
    return caught.value


def decodes_or_refuses(decode: Any, data: str | bytes) -> None:
    """Whatever comes is either a message in its right form or a MalformedMessage with a close code."""
    refusal: MalformedMessage | None = None
    try:
        channel, frames, *_ = decode(data)
    except MalformedMessage as exc:
        refusal = exc
    if refusal is not None:
        assert refusal.close_code in (1003, 1007)
        assert len(refusal.message.encode()) <= 123, "does not fit into a close frame"
        return
    assert channel in CHANNELS
    assert len(frames) >= 4
    assert all(type(frame) is bytes for frame in frames)
    assert sum(map(len, frames[4:])) <= len(data)


# --- v1 -----------------------------------------------------------------------------------------


@given(channels, st.lists(st.binary(max_size=60), min_size=4, max_size=9))
@relaxed
def test_v1_round_trip_keeps_every_byte(channel: str, frames: list[bytes]) -> None:
    assert decode_v1(encode_v1(channel.encode(), frames)) == (channel, frames)


@given(messages)
@example(MESSAGE)
@example(WITHOUT_BUFFERS)
@relaxed
def test_v1_frames_are_read_by_another_decoder(message: Json) -> None:
    frame = encode_v1(message["channel"].encode(), parts_of(message))
    assert only(unpack_v1(frame)) == message


@given(messages)
@example(MESSAGE)
@example(WITHOUT_BUFFERS)
@relaxed
def test_v1_frames_of_another_encoder_are_read(message: Json) -> None:
    assert loaded(*decode_v1(pack_v1(message))) == message


@given(st.lists(st.binary(max_size=20), min_size=4, max_size=7))
@relaxed
def test_v1_offsets_begin_behind_themselves_and_end_with_the_frame(frames: list[bytes]) -> None:
    frame = encode_v1(b"iopub", frames)
    (count,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    assert count == len(frames) + 2
    assert offsets[0] == 8 * (count + 1)
    assert offsets[-1] == len(frame)


@given(st.binary(max_size=200))
@relaxed
def test_v1_any_bytes(data: bytes) -> None:
    decodes_or_refuses(decode_v1, data)


@given(st.lists(st.integers(0, 80) | st.integers(0, 2**64 - 1), min_size=1, max_size=9), st.binary(max_size=60))
@relaxed
def test_v1_any_offsets(numbers: list[int], rest: bytes) -> None:
    decodes_or_refuses(decode_v1, struct.pack(f"<{len(numbers)}Q", *numbers) + rest)


@given(messages, st.data())
@relaxed
def test_v1_mutated_frame(message: Json, data: st.DataObject) -> None:
    decodes_or_refuses(decode_v1, mutated(pack_v1(message), data))


@given(messages, st.data())
@relaxed
def test_v1_truncated_frame_is_refused(message: Json, data: st.DataObject) -> None:
    frame = pack_v1(message)
    malformed(decode_v1, frame[: data.draw(st.integers(0, len(frame) - 1))])


def mutated(frame: bytes, data: st.DataObject) -> bytes:
    """The frame with a few bytes changed, removed or put in, preferably among the offsets."""
    result = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, min(70, len(result))) | st.integers(0, len(result)))
        length = data.draw(st.integers(0, 9))
        result[position : position + length] = data.draw(st.binary(max_size=9))
    return bytes(result)


def v1_frame(count: int, offsets: list[int], rest: bytes = b"") -> bytes:
    return struct.pack(f"<{len(offsets) + 1}Q", count, *offsets) + rest


GOOD = [56, 61, 63, 65, 67, 69]
REST = b"shell{}{}{}{}"


def test_v1_the_smallest_frame() -> None:
    assert decode_v1(v1_frame(6, GOOD, REST)) == ("shell", [b"{}"] * 4)


@for_each(
    "frame",
    [
        b"",
        b"\x01" * 7,
        b"\x01" * 8,
        struct.pack("<Q", 10**14),
        struct.pack("<Q", 2**64 - 1) + b"x" * 100,
        struct.pack("<Q", 0),
        v1_frame(5, [48, 53, 55, 57, 59], b"shell{}{}{}"),
        v1_frame(7, GOOD, REST),
        v1_frame(6, GOOD[:3]),
        v1_frame(6, GOOD, REST[:-1]),
        v1_frame(6, GOOD, REST + b"more"),
        v1_frame(6, [0, *GOOD[1:]], REST),
        v1_frame(6, [*GOOD[:5], 10**14], REST),
        v1_frame(6, [56, 10**14, *GOOD[2:]], REST),
        v1_frame(6, [56, 61, 65, 63, 67, 69], REST),
        v1_frame(6, [56, 8, 63, 65, 67, 69], REST),
        v1_frame(6, [56, 61, 63, 65, 2**63, 69], REST),
        v1_frame(6, [56, 61, 63, 65, 2**64 - 1, 69], REST),
    ],
)
def test_v1_offsets_that_contradict_the_frame(frame: bytes) -> None:
    assert malformed(decode_v1, frame).close_code == 1007


def test_v1_empty_parts_are_taken_as_they_are() -> None:
    assert decode_v1(v1_frame(6, [56, 61, 61, 61, 61, 61], b"shell")) == ("shell", [b""] * 4)


@for_each("channel", [b"nonsense", b"", b"Shell", b"hb", b"\xff\xfe", b"shell\0", b"x" * 10_000])
def test_v1_unknown_channel(channel: bytes) -> None:
    exc = malformed(decode_v1, encode_v1(channel, [b"{}"] * 4))
    assert exc.close_code == 1003
    assert len(exc.message) < 80


def test_v1_more_buffers_than_any_client_makes() -> None:
    decode_v1(encode_v1(b"shell", [b"{}"] * 4 + [b""] * 65_536))
    malformed(decode_v1, encode_v1(b"shell", [b"{}"] * 4 + [b""] * 65_537))


def test_v1_does_not_touch_the_json() -> None:
    frames = [b'{ "msg_id":1.0,"a":1,"a":2}', b"\xff", b"", b"not json"]
    assert decode_v1(encode_v1(b"stdin", frames)) == ("stdin", frames)


# --- default ------------------------------------------------------------------------------------


@given(messages)
@example(MESSAGE)
@example(WITHOUT_BUFFERS)
@relaxed
def test_default_round_trip(message: Json) -> None:
    assert loaded(*decode_default(encode_default(message["channel"], parts_of(message)))) == message


@given(messages)
@example(MESSAGE)
@example(WITHOUT_BUFFERS)
@relaxed
def test_default_frames_are_read_by_another_decoder(message: Json) -> None:
    frame = encode_default(message["channel"], parts_of(message))
    assert isinstance(frame, bytes if message["buffers"] else str)
    unpacked = unpack_default(frame)
    assert only(unpacked) == message
    assert unpacked["msg_id"] == message["header"]["msg_id"]
    assert unpacked["msg_type"] == message["header"]["msg_type"]


@given(messages)
@example(MESSAGE)
@example(WITHOUT_BUFFERS)
@relaxed
def test_default_frames_of_another_encoder_are_read(message: Json) -> None:
    assert loaded(*decode_default(pack_default(message))) == message


def test_default_offsets_have_four_bytes_and_point_to_each_piece() -> None:
    frame = encode_default("iopub", parts_of(MESSAGE))
    assert isinstance(frame, bytes)
    count, first, *others = struct.unpack_from("!5I", frame)
    assert count == 4
    assert first == 20
    assert others == [len(frame) - 8, len(frame) - 2, len(frame) - 2]


@given(st.binary(max_size=200))
@relaxed
def test_default_any_bytes(data: bytes) -> None:
    decodes_or_refuses(decode_default, data)


@given(st.text(st.characters(codec=None), max_size=100) | values.map(json.dumps))
@relaxed
def test_default_any_text(data: str) -> None:
    decodes_or_refuses(decode_default, data)


@given(
    st.dictionaries(st.sampled_from(["channel", *NAMES, "buffers"]), values | objects | channels, max_size=6).map(
        json.dumps
    )
)
@relaxed
def test_default_any_object(data: str) -> None:
    decodes_or_refuses(decode_default, data)


@given(st.lists(st.integers(0, 40) | st.integers(0, 2**32 - 1), min_size=1, max_size=6), st.binary(max_size=60))
@relaxed
def test_default_any_offsets(numbers: list[int], rest: bytes) -> None:
    decodes_or_refuses(decode_default, struct.pack(f"!{len(numbers)}I", *numbers) + rest)


@given(messages, st.data())
@relaxed
def test_default_mutated_frame(message: Json, data: st.DataObject) -> None:
    frame = pack_default(message)
    if isinstance(frame, str):
        decodes_or_refuses(decode_default, mutated(frame.encode(), data).decode("utf-8", "surrogateescape"))
    else:
        decodes_or_refuses(decode_default, mutated(frame, data))


BODY = json.dumps({key: value for key, value in WITHOUT_BUFFERS.items() if key != "buffers"}).encode()


def default_frame(count: int, offsets: list[int], rest: bytes = BODY) -> bytes:
    return struct.pack(f"!{len(offsets) + 1}I", count, *offsets) + rest


def test_default_binary_frame_without_buffers() -> None:
    assert loaded(*decode_default(default_frame(1, [8]))) == WITHOUT_BUFFERS


@for_each(
    "frame",
    [
        b"",
        b"\x01" * 3,
        b"\x01" * 7,
        default_frame(0, []),
        default_frame(2**32 - 1, [8]),
        default_frame(100, [8], b""),
        default_frame(1, [0]),
        default_frame(1, [7]),
        default_frame(1, [9]),
        default_frame(1, [2**32 - 1]),
        default_frame(2, [12, 2**32 - 1]),
        default_frame(2, [12, 4]),
        default_frame(3, [16, 40, 30]),
        default_frame(3, [16, 16 + len(BODY) + 5, 16 + len(BODY)], BODY + b"buffers"),
        default_frame(4, [20, 20 + len(BODY), 20 + len(BODY) + 5, 20], BODY + b"buffers"),
        default_frame(2, [12, 20]),
        default_frame(1, [8], b"\xff\xfe"),
    ],
)
def test_default_offsets_that_contradict_the_frame(frame: bytes) -> None:
    assert malformed(decode_default, frame).close_code == 1007


def test_default_more_buffers_than_any_client_makes() -> None:
    count = 65_538
    offsets = [4 * (count + 1), *[4 * (count + 1) + len(BODY)] * (count - 1)]
    malformed(decode_default, default_frame(count, offsets))


@pytest.mark.parametrize("channel", [{}, {"channel": None}, {"channel": ""}])
def test_default_without_channel_is_shell(channel: Json) -> None:
    assert decode_default(json.dumps({"header": {}} | channel))[0] == "shell"


@for_each("channel", ["nonsense", "Shell", "hb", "é", "\ud800", "x" * 10_000])
def test_default_unknown_channel(channel: str) -> None:
    exc = malformed(decode_default, json.dumps({"channel": channel, "header": {}}))
    assert exc.close_code == 1003
    assert len(exc.message) < 80


@for_each(
    "data",
    [
        "",
        "nonsense",
        "[]",
        "null",
        "5",
        "{}",
        '{"header": null}',
        '{"header": []}',
        '{"header": "x"}',
        '{"channel": "shell"}',
        '{"channel": 5, "header": {}}',
        '{"channel": ["shell"], "header": {}}',
        '{"header": {}, "content": []}',
        '{"header": {}, "content": "x"}',
        '{"header": {}, "metadata": 1}',
        '{"header": {}, "parent_header": true}',
        '{"header": {"x": %s}}' % ("9" * 5000),
        '{"header": {}',
    ],
)
def test_default_json_that_is_no_message(data: str) -> None:
    assert malformed(decode_default, data).close_code == 1007


def test_default_deep_nesting_is_read_or_refused() -> None:
    for depth in (*range(900, 1010), 100_000):
        content = '{"a":' * depth + "1" + "}" * depth
        decodes_or_refuses(decode_default, f'{{"header": {{}}, "content": {content}}}')


def test_default_parts_that_are_missing_are_empty() -> None:
    assert decode_default('{"header": {"msg_id": "1"}}') == (
        "shell",
        [b'{"msg_id":"1"}', b"{}", b"{}", b"{}"],
        {"msg_id": "1"},
    )


@pytest.mark.parametrize("escaped", [True, False])
def test_default_lone_surrogates_survive(escaped: bool) -> None:
    text = json.dumps({"header": {"msg_id": "1"}, "content": {"code": "\ud83d"}}, ensure_ascii=escaped)
    _, frames, _ = decode_default(text)
    content = bytes(frames[3])
    assert content.isascii()
    assert json.loads(content) == {"code": "\ud83d"}


def test_default_invalid_utf8_from_the_kernel_makes_still_a_text_frame() -> None:
    frame = encode_default("iopub", [b'{"msg_id":"1","msg_type":"stream"}', b"{}", b"{}", b'{"text":"\xff"}'])
    assert isinstance(frame, str)
    assert unpack_default(frame)["content"] == {"text": "\ufffd"}


@given(channels, st.lists(st.binary(max_size=30), min_size=4, max_size=6))
@relaxed
def test_default_whatever_a_kernel_sends_can_be_encoded(channel: str, frames: list[bytes]) -> None:
    frame = encode_default(channel, frames)
    if len(frames) > 4:
        assert isinstance(frame, bytes)
        assert frame.endswith(b"".join(frames[4:]))
    else:
        assert isinstance(frame, str)


def test_default_escaped_ids_of_the_header_are_shown_as_they_are() -> None:
    frame = encode_default("shell", [rb'{"msg_id":"a\"b","msg_type":"x\u00e9"}', b"{}", b"{}", b"{}"])
    message = unpack_default(frame)
    assert (message["msg_id"], message["msg_type"]) == ('a"b', "xé")


# --- what a kernel may make of the envelope -------------------------------------------------------

FORGED = (
    b'"channel":"stdin","msg_type":"input_request","msg_id":"forged","buffers":["forged"],'
    b'"header":{"msg_id":"forged","msg_type":"input_request"}'
)


@pytest.mark.parametrize("place", [1, 2, 3], ids=["parent_header", "metadata", "content"])
def test_a_kernel_does_not_write_the_envelope(place: int) -> None:
    parts = [b"{},%b", b'{"a":1},%b', b"1,%b", b'"x",%b,"y":{}', b"{},%b,%b"]
    for part, buffers in product(parts, [[], [b"data"]]):
        frames = [b'{"msg_id":"1","msg_type":"stream"}', b"{}", b"{}", b"{}", *buffers]
        frames[place] = part.replace(b"%b", FORGED)
        message = unpack_default(encode_default("iopub", frames))
        assert (message["channel"], message["msg_id"], message["msg_type"]) == ("iopub", "1", "stream")
        assert message["header"] == {"msg_id": "1", "msg_type": "stream"}
        assert message["buffers"] == buffers


def test_not_in_its_header_either() -> None:
    header = b'{"msg_id":"1","msg_type":"stream"},"channel":"stdin","msg_type":"input_request"'
    message = unpack_default(encode_default("iopub", [header, b"{}", b"{}", b"{}"]))
    assert (message["channel"], message["msg_type"]) == ("iopub", "stream")


@for_each("part", [b"{}}", b"{}},{", b'{}}{"channel":"stdin"}', b"{}]", b"", b'"'])
def test_what_would_end_the_message_is_no_json(part: bytes) -> None:
    """It is not taken for a message of another kind."""
    with pytest.raises(json.JSONDecodeError):
        unpack_default(encode_default("iopub", [b'{"msg_id":"1","msg_type":"x"}', b"{}", b"{}", part]))


# --- what clients may send ----------------------------------------------------------------------


def whole(header: Json) -> Json:
    """The header with all that a kernel needs."""
    return {"username": "", "session": "", "version": "5.4"} | header


def request_of(channel: str, header: bytes) -> tuple[str, list[Any], RequestHeader]:
    """What the server reads of a v1 message with this header."""
    return decode_request(encode_v1(channel.encode(), [header, b"{}", b"{}", b"{}"]), v1=True)


@for_each("channel", ["shell", "control", "stdin"])
@for_each("message", [MESSAGE, WITHOUT_BUFFERS])
@for_each("v1", [True, False])
def test_a_request_may_be_sent(channel: str, message: Json, v1: bool) -> None:
    message = message | {"channel": channel, "header": whole(message["header"])}
    got, frames, header = decode_request(pack_v1(message) if v1 else pack_default(message), v1=v1)
    assert loaded(got, frames) == message
    assert header == RequestHeader("1", "execute_request", bytes(frames[0]))


@given(messages.filter(lambda message: message["channel"] != "iopub"))
@relaxed
def test_a_request_is_read_alike_in_both_protocols(message: Json) -> None:
    read: list[tuple[Any, ...]] = []
    for data, v1 in ((pack_v1(message), True), (pack_default(message), False)):
        try:
            channel, frames, header = decode_request(data, v1=v1)
        except MalformedMessage as exc:
            read.append((exc.close_code, exc.message))
            continue
        assert header.data == frames[0]
        assert (header.msg_id, header.msg_type) == (peek_msg_id(header.data), peek_msg_type(header.data))
        found = loaded(channel, frames)
        if not isinstance(message["header"]["msg_id"], str) or not message["header"]["msg_id"]:
            found["header"]["msg_id"] = "a new one"
        read.append((found, header.msg_type))
    assert read[0] == read[1]


@pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])
def test_iopub_goes_only_the_other_way(v1: bool) -> None:
    message = MESSAGE | {"channel": "iopub", "header": {}}
    with pytest.raises(MalformedMessage, match="iopub") as caught:
        decode_request(pack_v1(message) if v1 else pack_default(message), v1=v1)
    assert caught.value.close_code == 1003


def test_v1_has_no_text() -> None:
    with pytest.raises(MalformedMessage) as caught:
        decode_request(str(pack_default(WITHOUT_BUFFERS)), v1=True)
    assert caught.value.close_code == 1003


@for_each(
    "header",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b"{}",
        b'{"msg_id":"1"}',
        b'{"msg_type":"x"}',
        b'{"msg_id":"1","msg_type":""}',
        b'{"msg_id":"1","msg_type":null}',
        b'{"msg_id":[1],"msg_type":"x"}',
        b'{"msg_id":"1","msg_type":["x"]}',
        b'{"msg_id":"1","msg_type":"x","session":{}}',
        b'{"msg_id":"1","msg_type":"\xff"}',
        b'{"msg_id":"1","msg_type":"\xed\xa0\x80"}',
        b'{"msg_id":"\xed\xa0\x80","msg_type":"x"}',
        b"[" * 100_000,
    ],
)
def test_a_request_without_a_proper_header_is_refused(header: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        request_of("shell", header)
    assert caught.value.close_code == 1007


@for_each(
    "header",
    [
        {},
        {"msg_id": "1"},
        {"msg_type": "x"},
        {"msg_id": "1", "msg_type": ""},
        {"msg_id": "1", "msg_type": None},
        {"msg_id": {}, "msg_type": "x"},
        {"msg_id": "1", "msg_type": ["x"]},
    ],
)
def test_default_request_without_a_proper_header_is_refused(header: Json) -> None:
    with pytest.raises(MalformedMessage, match="header has no msg_") as caught:
        decode_request(json.dumps({"channel": "shell", "header": header}), v1=False)
    assert caught.value.close_code == 1007


@pytest.mark.parametrize(
    "header",
    [
        b'{"msg_id":"1","msg_type":"complete_request","msg_type":"execute_request"}',
        rb'{"msg_id":"1","msg_type":"complete_request","msg_\u0074ype":"execute_request"}',
        b'{"msg_id":"1","msg_id":"2","msg_type":"execute_request"}',
    ],
)
def test_a_header_that_kernel_and_server_could_read_differently_is_refused(header: bytes) -> None:
    with pytest.raises(MalformedMessage):
        request_of("shell", header)


def test_default_of_two_equal_keys_the_kernel_gets_the_one_that_was_read() -> None:
    rest = '"username":"","session":"","version":"5.4"'
    text = f'{{"header":{{"msg_id":"1","msg_type":"complete_request","msg_type":"execute_request",{rest}}}}}'
    _, frames, header = decode_request(text, v1=False)
    data = f'{{"msg_id":"1","msg_type":"execute_request",{rest}}}'.encode()
    assert header == RequestHeader("1", "execute_request", data)
    assert header.data == frames[0]


@for_each(
    "header",
    [
        rb'{"msg_id":"1","msg_\u0074ype":"execute_request"}',
        rb'{"msg_id":"1","msg_type":"execute\u005frequest"}',
        b'{"msg_id":"1","x":{},"msg_type":"complete_request","msg_type":"execute_request"}',
        rb'{"msg_id":"1","x":{},"msg_type":"complete_request","msg_\u0074ype":"execute_request"}',
        '{"msg_id":"1","msg_type":"execute_request"}'.encode("utf-16-le"),
        '{"msg_id":"1","msg_type":"execute_request"}'.encode("utf-16"),
        '{"msg_id":"1","msg_type":"execute_request"}'.encode("utf-32"),
        '{"msg_id":"1","msg_type":"execute_request","username":"ä"}'.encode(),
    ],
)
def test_a_kernel_gets_the_header_that_was_read(header: bytes) -> None:
    """However it is spelt: a kernel's parser may take the first of two keys, or not know UTF-16."""
    _, frames, read = request_of("shell", header)
    assert (read.msg_id, read.msg_type) == ("1", "execute_request")
    assert read.data == frames[0]
    assert frames[0].isascii()
    pairs = json.loads(frames[0], object_pairs_hook=list)
    assert [value for key, value in pairs if key == "msg_type"] == ["execute_request"]
    assert b"\\u00" not in frames[0].replace(rb"\u00e4", b"")


def test_a_plain_header_is_passed_on_as_it_is() -> None:
    header = b'{ "msg_type":"x",  "msg_id": "1", "date": "2026", "username":"", "session":"", "version": "4"}'
    _, frames, read = request_of("shell", header)
    assert frames[0] == read.data == header


ODD_HEADERS = [
    {"version": None},
    {"msg_id": 12345},
    {"msg_id": 1.5},
    {"msg_id": ""},
    {"msg_id": None},
    {"msg_id": False},
    {"msg_type": 7},
    {"session": 5},
    {"session": None},
    {"username": None, "version": 5},
]


@for_each("v1", [True, False])
@for_each("odd", ODD_HEADERS)
def test_an_odd_header_gets_what_kernels_need(odd: Json, v1: bool) -> None:
    header = whole({"msg_id": "1", "msg_type": "x", "date": 0}) | odd
    message = MESSAGE | {"channel": "shell", "header": header}
    _, frames, read = decode_request(pack_v1(message) if v1 else pack_default(message), v1=v1)
    sent = json.loads(bytes(frames[0]))
    assert read.data == frames[0]
    assert (read.msg_id, read.msg_type) == (sent["msg_id"], sent["msg_type"])
    assert read.msg_id
    assert all(isinstance(sent[name], str) for name in ("msg_id", "msg_type", "session", "username", "version"))
    assert sent["date"] == 0
    assert read.written is not None
    assert json.loads(read.written) == header


@pytest.mark.parametrize("missing", ["version", "session", "username"])
def test_what_a_header_lacks_is_filled_in(missing: str) -> None:
    header = whole({"msg_id": "1", "msg_type": "x"})
    del header[missing]
    _, frames, _ = request_of("shell", json.dumps(header).encode())
    assert json.loads(bytes(frames[0])) == whole(header)


@for_each("place", [1, 2, 3])
@for_each("empty", [b"", b"null", b" \n"])
def test_an_empty_frame_of_v1_stands_for_an_object(place: int, empty: bytes) -> None:
    frames = [json.dumps(whole({"msg_id": "1", "msg_type": "x"})).encode(), b"{}", b"{}", b"{}"]
    frames[place] = empty
    assert decode_request(encode_v1(b"shell", frames), v1=True)[1][1:] == [b"{}"] * 3


@for_each(("place", "name"), [(1, "parent_header"), (2, "metadata"), (3, "content")])
@for_each("odd", [b"[]", b"5", b"x", b"{", b"{'code': 1}", b'{"a": 1} x', b"x" * 300_000])
def test_a_frame_of_v1_that_is_no_object_is_refused(place: int, name: str, odd: bytes) -> None:
    frames = [json.dumps(whole({"msg_id": "1", "msg_type": "x"})).encode(), b"{}", b"{}", b"{}"]
    frames[place] = odd
    with pytest.raises(MalformedMessage, match=f"^{name} is not"):
        decode_request(encode_v1(b"shell", frames), v1=True)


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda end: b'{"msg_id":"1","msg_type":"x' + end))
@relaxed
def test_a_request_with_any_header(header: bytes) -> None:
    try:
        _, _, read = request_of("shell", header)
    except MalformedMessage:
        return
    assert json.loads(read.written or read.data) == json.loads(header)
    assert (read.msg_id, read.msg_type) == (json.loads(header)["msg_id"], json.loads(header)["msg_type"])
    assert read.msg_id


@given(st.binary(max_size=200), st.booleans())
@relaxed
def test_a_request_of_any_bytes(data: bytes, v1: bool) -> None:
    decodes_or_refuses(lambda data: decode_request(data, v1=v1), data)


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_only_large_contents_and_buffers_of_a_v1_frame_are_views(kind: type[bytes | bytearray]) -> None:
    large, header = bytes(LARGE_BYTES), b'{"msg_id": "' + b"x" * LARGE_BYTES + b'"}'
    frame = kind(encode_v1(b"shell", [header, b"{}", b"{}", large, b"small", large]))
    channel, frames = decode_v1(frame)
    assert channel == "shell"
    assert frames == [header, b"{}", b"{}", large, b"small", large]
    assert [type(frame) for frame in frames] == [bytes, bytes, bytes, memoryview, bytes, memoryview]
