"""Kernels of another major version of the message spec."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.kernel_server.spec_adapter import Adapter

from ..support.cases import for_each


def frames(msg_type: str, content: Any, version: str | None = "5.4") -> list[bytes]:
    header = {"msg_id": "a", "msg_type": msg_type, "session": "s", "date": "2026-01-01T00:00:00.000000Z"}
    header |= {"version": version} if version else {}
    return [json.dumps(part).encode() for part in (header, {}, {}, content)]


@for_each("version", ["5", "5.0", "5.4", None, "", "x", [], [5], [5, 3], 5.4, {}])
def test_a_kernel_of_our_version_or_none_needs_no_adapter(version: Any) -> None:
    assert Adapter.for_kernel({"protocol_version": version}) is None


def test_a_kernel_that_does_not_say_its_version_needs_no_adapter() -> None:
    assert Adapter.for_kernel({}) is None


@for_each("version", ["4.1", "4", [4, 1], [4]])
def test_a_kernel_of_version_4_needs_an_adapter(version: Any) -> None:
    adapter = Adapter.for_kernel({"protocol_version": version})
    assert adapter is not None
    header, *_ = adapter.from_kernel(frames("pyout", {}, None))
    assert json.loads(header)["msg_type"] == "execute_result"


def test_a_kernel_of_a_version_without_adapter_is_left_alone() -> None:
    adapter = Adapter.for_kernel({"protocol_version": "6.0"})
    assert adapter is not None
    assert [json.loads(bytes(part)) for part in adapter.to_kernel(frames("execute_request", {"code": "1"}))] == [
        json.loads(frame) for frame in frames("execute_request", {"code": "1"})
    ]


def test_a_request_for_version_4() -> None:
    adapter = Adapter(4)
    request = frames("inspect_request", {"code": "f(x", "cursor_pos": 1, "detail_level": 0})
    header, _, _, content = adapter.to_kernel(request)
    assert json.loads(bytes(header))["msg_type"] == "object_info_request"
    assert json.loads(bytes(content)) == {"oname": "f", "detail_level": 0}


def test_a_header_without_a_date_gets_one() -> None:
    header = json.dumps({"msg_id": "a", "msg_type": "pyerr", "session": "s"}).encode()
    adapted = json.loads(Adapter(4).from_kernel([header, b"{}", b"{}", b"{}"])[0])
    assert (adapted["msg_type"], len(adapted["date"])) == ("error", 27)


@for_each(
    "message",
    [
        frames("complete_reply", {}, None),
        frames("stream", {}, None),
        frames("stream", [], None),
        frames("stream", {"data": 1}, "x.y"),
        [b"", b"", b"", b""],
        [b"{}", b"{}", b"{}", b"{}"],
        [b"[]", b"{}", b"{}", b"{}"],
        [b"\xff", b"{}", b"{}", b"{}", b"buffer"],
    ],
)
def test_what_cannot_be_adapted_goes_through(message: list[bytes]) -> None:
    assert Adapter(4).from_kernel(message) == message


@given(st.lists(st.binary() | st.just(b"{}"), min_size=4, max_size=6))
def test_no_bytes_are_too_strange(message: list[bytes]) -> None:
    assert list(Adapter(4).from_kernel(message))[4:] == message[4:]
    assert list(Adapter(4).to_kernel(message))[4:] == message[4:]
