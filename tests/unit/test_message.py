"""Frames and headers of Jupyter messages, against the standard library's json."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fps_kernels.errors import MalformedMessage
from fps_kernels.kernel_driver.message import (
    DELIMITER,
    Message,
    dump_json,
    load_object,
    make_frames,
    make_header,
    peek_msg_id,
    peek_msg_type,
    peek_session,
    split_frames,
    utc_now,
)

from ..support.cases import for_each
from ..support.examples import examples

PEEKS = {"msg_id": peek_msg_id, "msg_type": peek_msg_type, "session": peek_session}
PARTS = [b'{"msg_type":"status"}', b"{}", b"{}", b'{"execution_state":"idle"}']

texts = st.text(st.characters(codec=None), max_size=20)  # lone surrogates, quotes and braces included
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PEEKS, "x"]) | texts, inner, max_size=3)
    ),
    max_leaves=8,
)
headers = st.dictionaries(st.sampled_from([*PEEKS, "username", "date"]) | texts, texts | values, max_size=8)


# --- frames -------------------------------------------------------------------------------------


@given(st.lists(st.binary().filter(lambda ident: ident != DELIMITER), max_size=3), st.binary(), st.lists(st.binary()))
def test_split_finds_signature_and_parts_behind_any_idents(
    idents: list[bytes], signature: bytes, buffers: list[bytes]
) -> None:
    frames = [*idents, DELIMITER, signature, *PARTS, *buffers]
    assert split_frames(frames) == (signature, PARTS + buffers)


@given(st.lists(st.binary(max_size=3) | st.just(DELIMITER), max_size=9))
def test_split_of_anything_else_is_a_malformed_message(frames: list[bytes]) -> None:
    whole = DELIMITER in frames and len(frames) - frames.index(DELIMITER) >= 6
    if whole:
        assert len(split_frames(frames)[1]) >= 4
    else:
        with pytest.raises(MalformedMessage):
            split_frames(frames)


def test_split_takes_the_first_delimiter_so_that_a_buffer_may_look_like_one() -> None:
    assert split_frames([DELIMITER, b"s", *PARTS, DELIMITER]) == (b"s", [*PARTS, DELIMITER])


def test_split_says_how_many_frames_there_were() -> None:
    with pytest.raises(MalformedMessage, match="4 frames after the delimiter"):
        split_frames([b"ident", DELIMITER, b"", b"{}", b"{}", b"{}"])


# --- looking into headers -----------------------------------------------------------------------


def expected_peek(header: dict[str, Any], key: str) -> str:
    value = header.get(key, "")
    return value if isinstance(value, str) else ""


@given(headers, st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=examples(500))
def test_peek_equals_a_parser(header: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    data = json.dumps(header, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    for key, peek in PEEKS.items():
        try:
            found = peek(data)
        except MalformedMessage:
            # Lone surrogates that are not escaped are not UTF-8; json lets them pass.
            with pytest.raises(UnicodeDecodeError):
                data.decode()
        else:
            assert found == expected_peek(json.loads(data), key)


@for_each(
    ("header", "expected"),
    [
        (b'{"msg_type":"status"}', "status"),
        (b'{ "msg_type" : "status" }', "status"),
        (b'{"x":{"msg_type":"inner"},"msg_type":"outer"}', "outer"),
        (b'{"msg_type":"outer","x":{"msg_type":"inner"}}', "outer"),
        (b'{"x":{"msg_type":"inner"}}', ""),
        (rb'{"x":"\"msg_type\":\"forged\"","msg_type":"true"}', "true"),
        (rb'{"x":"{\"msg_type\":\"forged\"","msg_type":"true"}', "true"),
        (rb'{"msg_type":"a\"b\\c\u00e9"}', 'a"b\\cé'),
        (rb'{"msg_\u0074ype":"escaped_key"}', "escaped_key"),
        ('{"msg_type":"é€😀"}'.encode(), "é€😀"),
        (rb'{"msg_type":"\ud800"}', "\ud800"),
        (b'{"msg_type":""}', ""),
        (b'{"msg_type":5}', ""),
        (b'{"msg_type":null}', ""),
        (b"{}", ""),
        (b"", ""),
    ],
)
def test_peek_of_special_headers(header: bytes, expected: str) -> None:
    assert peek_msg_type(header) == expected


@for_each(
    "header",
    [b"garbage", b"[1, 2]", b'"msg_type"', b'{"msg_id":', b'{"msg_type":"\xff\xfe"}', b"[" * 100_000],
)
def test_peek_of_garbage_is_a_malformed_message(header: bytes) -> None:
    with pytest.raises(MalformedMessage):
        peek_msg_type(header)


@given(st.binary(max_size=60) | st.binary(max_size=20).map(lambda end: b'{"msg_type":"a' + end))
def test_peek_of_any_bytes_raises_nothing_else(data: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        assert isinstance(peek_msg_type(data), str)


@given(st.binary())
def test_load_object_names_the_part_that_is_wrong(data: bytes) -> None:
    try:
        found: Any = load_object(data, "metadata")
    except MalformedMessage as exc:
        found = exc
    assert isinstance(found, dict) or found.message.startswith("metadata is not ")


def test_load_object_of_bottomless_nesting_is_a_malformed_message() -> None:
    with pytest.raises(MalformedMessage, match="content"):
        load_object(b'{"a":' * 100_000, "content")


# --- Message ------------------------------------------------------------------------------------


def test_message_shows_its_parts() -> None:
    frames = [
        b'{"msg_type":"stream","msg_id":"1"}',
        b'{"msg_id":"parent","session":"client"}',
        b'{"m":1}',
        b'{"text":"x"}',
        b"b1",
        b"",
    ]
    message = Message("iopub", frames)
    assert message.channel == "iopub"
    assert message.msg_type == "stream"
    assert message.parent_msg_id == "parent"
    assert message.parent_session == "client"
    assert message.header == {"msg_type": "stream", "msg_id": "1"}
    assert message.parent_header == {"msg_id": "parent", "session": "client"}
    assert message.metadata == {"m": 1}
    assert message.content == {"text": "x"}
    assert message.buffers == [b"b1", b""]
    assert message.request is None


def test_message_without_parent() -> None:
    message = Message("iopub", list(PARTS))
    assert (message.parent_msg_id, message.parent_session, message.buffers) == ("", "", [])


@for_each(("position", "name"), list(enumerate(["header", "parent_header", "metadata", "content"])))
def test_message_names_the_part_that_is_not_an_object(position: int, name: str) -> None:
    frames = list(PARTS)
    frames[position] = b"[1, 2]"
    with pytest.raises(MalformedMessage, match=f"^{name} is not a JSON object"):
        getattr(Message("shell", frames), name)


# --- making messages ----------------------------------------------------------------------------


@given(values)
def test_dumped_json_is_compact_ascii_and_keeps_lone_surrogates(value: Any) -> None:
    data = dump_json(value)
    assert data.isascii()
    assert json.loads(data) == value


def test_dumped_json_has_no_spaces() -> None:
    assert dump_json({"a": [1, 2], "b": {}}) == b'{"a":[1,2],"b":{}}'


def test_each_header_has_an_id_of_its_own() -> None:
    first, second = make_header("status", "s"), make_header("status", "s")
    assert first["msg_id"] != second["msg_id"]
    assert first.keys() == {"msg_id", "msg_type", "username", "session", "date", "version"}
    assert all(isinstance(value, str) for value in first.values())


def test_dates_are_utc_with_microseconds() -> None:
    text = utc_now()
    assert text.endswith("Z")
    assert len(text) == len("2026-01-01T00:00:00.000000Z")
    assert abs(datetime.fromisoformat(text).timestamp() - datetime.now().timestamp()) < 60


def test_parts_of_a_new_message() -> None:
    header, parent, metadata, content = make_frames("stream", {"text": "é"}, "session", b'{"msg_id":"p"}')
    assert peek_msg_type(header) == "stream"
    assert peek_session(header) == "session"
    assert parent == b'{"msg_id":"p"}'
    assert metadata == b"{}"
    assert json.loads(content) == {"text": "é"}
