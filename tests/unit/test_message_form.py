"""What kernels send in an odd form is repaired, and what nobody could read is malformed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fps_kernels.errors import MalformedMessage
from fps_kernels.kernel_driver.message import Message
from fps_kernels.kernel_driver.message_form import CHECKED_MAX_BYTES, FormReader

from ..support.cases import for_each
from ..support.examples import examples

HEADER: dict[str, Any] = {
    "msg_id": "1",
    "msg_type": "stream",
    "session": "kernel",
    "username": "me",
    "version": "5.3",
    "date": "2026-01-01T00:00:00Z",
}
PARENT = {"msg_id": "parent", "msg_type": "execute_request", "session": "client", "username": "me", "version": "5.3"}
CONTENT = {"name": "stdout", "text": "hi"}


class Read:
    """A message as it is after it was read. repairs: what was told of it."""

    def __init__(self, *frames: bytes, channel: str = "iopub", version: str = "5.4") -> None:
        self.repairs: list[str] = []
        reader = FormReader(lambda channel, what: self.repairs.append(what))
        reader.kernel_session = "known"
        reader.version = version
        self.message: Message = reader.read(channel, list(frames))
        self.frames = self.message.frames
        for frame in self.frames[:4]:
            assert isinstance(strict(frame), dict)

    @property
    def header(self) -> Any:
        return json.loads(self.frames[0])

    @property
    def content(self) -> Any:
        return json.loads(self.frames[3])


def strict(frame: bytes) -> Any:
    """The value as a browser reads it."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(frame.decode(), parse_constant=refuse)


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def frames(header: Any = HEADER, parent: Any = PARENT, metadata: Any = None, content: Any = CONTENT) -> list[bytes]:
    return [part if isinstance(part, bytes) else dump(part) for part in (header, parent, metadata or {}, content)]


# --- what is as it should be ----------------------------------------------------------------------


@for_each("content", [CONTENT, {}, {"text": "ä€😀"}, {"x": [1, {"y": None}]}, {"big": 10**30}])
@for_each("ascii_only", [True, False])
def test_a_good_message_keeps_its_bytes(content: Any, ascii_only: bool) -> None:
    parts = [json.dumps(part, ensure_ascii=ascii_only).encode() for part in (HEADER, PARENT, {"m": 1}, content)]
    read = Read(*parts, b"buffer", b"")
    assert read.frames == [*parts, b"buffer", b""]
    assert read.repairs == []
    message = read.message
    assert (message.msg_type, message.parent_msg_id, message.parent_session) == ("stream", "parent", "client")


@pytest.mark.parametrize("content", [b'{\n "text": "h\\ud83di" }', b'{"text": "\\u0000", "x": 1e999}', b" {} "])
def test_what_json_allows_is_kept(content: bytes) -> None:
    """A lone surrogate too, which is legal as an escape."""
    read = Read(*frames(content=content))
    assert json.loads(read.frames[3]) == json.loads(content)


def test_messages_of_one_cell_have_the_same_parent() -> None:
    reader = FormReader(lambda channel, what: None)
    one, two, other = (
        reader.read("iopub", frames(parent=parent)) for parent in (PARENT, PARENT, PARENT | {"msg_id": "other"})
    )
    assert one.parent is two.parent
    assert (one.parent_msg_id, other.parent_msg_id) == ("parent", "other")


def test_an_odd_message_does_not_change_what_is_read_of_the_next() -> None:
    reader = FormReader(lambda channel, what: None)
    ids = [reader.read("iopub", frames(parent=one)).parent_msg_id for one in (PARENT, b"null", PARENT, b"x", PARENT)]
    assert [one for one in ids if one == "parent"] == ["parent"] * 3
    assert ids[1] == ""


# --- headers --------------------------------------------------------------------------------------


@for_each(
    ("odd", "fixed"),
    [
        ({"msg_id": 17}, {"msg_id": "17"}),
        ({"msg_id": 1.5}, {"msg_id": "1.5"}),
        ({"session": None}, {"session": "known"}),
        ({"session": 5}, {"session": "5"}),
        ({"username": None}, {"username": ""}),
        ({"username": ["a"]}, {"username": ""}),
        ({"version": 5}, {"version": "5"}),
        ({"version": None}, {"version": "5.4"}),
        ({"version": [5, 0]}, {"version": "5.4"}),
        ({"msg_type": 8}, {"msg_type": "8"}),
        ({"date": None}, {"date": None}),
        ({"date": 1700000000}, {"date": 1700000000}),
        ({"date": "yesterday"}, {"date": "yesterday"}),
        ({"date": "2026-06-06T17:21"}, {"date": "2026-06-06T17:21"}),
    ],
)
def test_a_header_gets_strings_where_clients_need_them(odd: dict[str, Any], fixed: dict[str, Any]) -> None:
    assert Read(*frames(HEADER | odd)).header == HEADER | fixed


@pytest.mark.parametrize(("missing", "default"), [("session", "known"), ("username", ""), ("version", "5.4")])
def test_a_header_gets_what_it_lacks(missing: str, default: str) -> None:
    read = Read(*frames({name: value for name, value in HEADER.items() if name != missing}))
    assert read.header == HEADER | {missing: default}
    assert read.repairs == [f"header: {missing}"]


def test_a_header_without_an_id_gets_one() -> None:
    ids = {Read(*frames(HEADER | {"msg_id": None})).header["msg_id"] for _ in range(3)}
    assert len(ids) == 3


def test_version_4_of_the_spec_has_no_version() -> None:
    header = {name: value for name, value in HEADER.items() if name != "version"}
    assert Read(*frames(header), version="").header == header


@for_each("header", [b"", b"x", b"null", b"[]", b"{}", {"msg_type": None}, {"msg_type": ""}, b'{"msg_type": "\xff"}'])
def test_a_message_of_no_type_is_malformed(header: Any) -> None:
    with pytest.raises(MalformedMessage, match=r"^header"):
        Read(*frames(header))


# --- parent headers -------------------------------------------------------------------------------


@for_each("channel", ["iopub", "shell"])
@for_each("parent", [b"null", b"", b"[]", b'""', b"5", b" "])
def test_a_parent_that_is_no_object_is_none(parent: bytes, channel: str) -> None:
    read = Read(*frames(parent=parent), channel=channel)
    assert read.frames[1] == b"{}"
    assert (read.message.parent_msg_id, read.message.parent_session) == ("", "")


@for_each(
    ("parent", "expected"),
    [
        ({}, ("", "", "")),
        ({"msg_id": "a"}, ("a", "", "")),
        ({"msg_id": "a", "session": None, "msg_type": "x"}, ("a", "x", "")),
        ({"msg_id": 5, "session": 6}, ("5", "", "6")),
        (PARENT | {"x": [1]}, ("parent", "execute_request", "client")),
        (b'{"msg_id": "a", "username": "\\ud83d"}', ("a", "", "")),
    ],
)
def test_an_odd_parent_says_what_it_can_and_is_kept(parent: Any, expected: tuple[str, str, str]) -> None:
    read = Read(*frames(parent=parent))
    found = read.message.parent
    assert (found.msg_id, found.msg_type, found.session) == expected
    assert json.loads(read.frames[1]) == (json.loads(parent) if isinstance(parent, bytes) else parent)


@pytest.mark.parametrize("parent", [b"nonsense", b'{"msg_id":"a', b'{"msg_id":"\xff"}'])
def test_a_parent_that_nobody_can_read_answers_nothing(parent: bytes) -> None:
    read = Read(*frames(parent=parent))
    assert read.frames[1] == b"{}"
    assert read.message.parent_msg_id not in ("", "a")
    for channel, header in (("shell", HEADER), ("iopub", HEADER | {"msg_type": "status"})):
        with pytest.raises(MalformedMessage, match=r"^parent_header"):
            Read(*frames(header, parent=parent), channel=channel)


# --- metadata and content -------------------------------------------------------------------------


@for_each("metadata", [b"", b"null", b"[]", b"x", b'{"a": NaN', b"\xff\xfe"])
def test_metadata_of_no_use_are_none(metadata: bytes) -> None:
    read = Read(*frames(metadata=metadata) if metadata else [*frames()[:2], b"", frames()[3]])
    assert read.frames[2] == b"{}"
    assert read.content == CONTENT


@for_each(
    ("content", "expected"),
    [
        (json.dumps(CONTENT).encode("utf-16"), CONTENT),
        (json.dumps(CONTENT).encode("utf-16-le"), CONTENT),
        (json.dumps(CONTENT).encode("utf-32"), CONTENT),
        (json.dumps(CONTENT).encode("utf-8-sig"), CONTENT),
        (b'{"text": "h\xff\xfei"}', {"text": "h\ufffd\ufffdi"}),
        (b'{"text": "h\xed\xa0\xbdi"}', {"text": "h\ud83di"}),
        (b'{"text": "a\nb\x00"}', {"text": "a\nb\x00"}),
        (b'{"x": NaN, "y": [Infinity, -Infinity]}', {"x": None, "y": [None, None]}),
        (b'{"x": NaN, "y": 1e999}', {"x": None, "y": None}),
    ],
)
def test_what_is_nearly_json_is_read(content: bytes, expected: Any) -> None:
    read = Read(*frames(content=content))
    assert read.content == expected
    assert read.repairs == ["content is not a JSON object in UTF-8"]


UNREADABLE = [b"", b"null", b"[]", b'"text"', b"5", b"text", b'{"text": ', b"{'text': 1}", b'{"a": 1} {}', b"{" * 9]


@for_each("content", UNREADABLE)
def test_a_content_that_nobody_can_read_is_malformed_on_iopub(content: bytes) -> None:
    with pytest.raises(MalformedMessage, match="content of a message of type stream"):
        Read(*frames(content=content))


@for_each("content", UNREADABLE)
def test_a_reply_that_nobody_can_read_is_an_error(content: bytes) -> None:
    read = Read(*frames(HEADER | {"msg_type": "execute_reply"}, content=content), channel="shell")
    assert (read.content["status"], read.content["ename"]) == ("error", "MalformedMessage")


@for_each("content", UNREADABLE)
def test_a_question_that_nobody_can_read_can_be_answered(content: bytes) -> None:
    read = Read(*frames(HEADER | {"msg_type": "input_request"}, content=content), channel="stdin")
    assert read.content == {"prompt": "", "password": False}


def test_a_large_content_is_not_looked_through() -> None:
    large = dump({"text": "x" * CHECKED_MAX_BYTES})
    assert Read(*frames(content=large)).frames[3] is large
    with pytest.raises(MalformedMessage):
        Read(*frames(content=large[:-1]))


def test_a_deep_content_is_passed_on() -> None:
    deep = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    message = FormReader(lambda channel, what: None).read("iopub", frames(content=deep))
    assert message.frames[3] == deep


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"null", b"{}", *frames()]), min_size=4, max_size=6))
@settings(max_examples=examples(300))
def test_whatever_comes_is_read_by_all_or_malformed(parts: list[bytes]) -> None:
    try:
        read = Read(*parts)
    except MalformedMessage:
        return
    assert all(isinstance(read.header[name], str) for name in ("msg_id", "msg_type", "session", "username", "version"))
    assert read.frames[4:] == parts[4:]
