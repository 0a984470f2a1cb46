"""Streams: stdout on its way while the cell runs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.notebook_http.response.stream_formats import EventStream, PlainStream, stream_for

from ..support.cases import for_each
from ..support.events import parse_events


def test_a_text_is_an_event() -> None:
    assert EventStream().text("hi") == b"data: hi\n\n"


def test_a_text_of_several_lines_is_one_event() -> None:
    assert EventStream().text(" a\nb\n") == b"data:  a\ndata: b\ndata: \n\n"


def test_a_carriage_return_cannot_forge_an_event() -> None:
    assert parse_events(EventStream().text("a\r\revent: error\rdata: x")) == [("message", "a\n\nevent: error\ndata: x")]


def test_a_line_end_that_comes_in_two_texts_is_one() -> None:
    stream = EventStream()
    data = stream.text("a\r") + stream.text("\nb") + stream.text("c\r") + stream.text("\n") + stream.text("\nd")
    assert "".join(text for _, text in parse_events(data)) == "a\nbc\n\nd"


def test_an_error_is_an_event_of_its_own() -> None:
    stream = EventStream()
    data = stream.text("a") + stream.error("ValueError", "b\nc")
    kind, text = parse_events(data)[-1]
    assert kind == "error"
    assert json.loads(text) == {"ename": "ValueError", "evalue": "b\nc"}


def test_keeping_a_stream_alive_is_no_event() -> None:
    stream = EventStream()
    data = stream.keep_alive() + stream.text("a\r") + stream.keep_alive() + stream.text("\nb") + stream.keep_alive()
    assert data.count(b":\n\n") == 3
    assert parse_events(data) == [("message", "a\n"), ("message", "b")]


def test_plain_text_cannot_be_kept_alive() -> None:
    assert PlainStream().keep_alive() == b""


@given(st.lists(st.text(st.sampled_from("a \n\r:\f\u2028\0é\ufeff") | st.characters(codec="utf-8"))))
def test_the_data_of_all_events_is_what_was_printed(texts: list[str]) -> None:
    stream = EventStream()
    data = b"".join(stream.text(text) for text in texts) + stream.end()
    told = "".join(text for kind, text in parse_events(data))
    assert told == "".join(texts).replace("\r\n", "\n").replace("\r", "\n")


def test_plain_text_goes_out_as_it_is() -> None:
    stream = PlainStream()
    assert stream.text("é\r") + stream.text("") + stream.end() == "é\r".encode()


@pytest.mark.parametrize(("printed", "line_end"), [("a", "\n"), ("a\n", ""), ("", "")])
def test_an_error_in_plain_text_is_a_line(printed: str, line_end: str) -> None:
    stream = PlainStream()
    data = stream.text(printed) + stream.error("ValueError", "x")
    assert data.decode() == f"{printed}{line_end}Error ValueError: x \n"


def test_half_of_a_surrogate_pair_does_not_break_a_stream() -> None:
    assert EventStream().text("\ud800") == b"data: ?\n\n"
    assert PlainStream().text("\ud800") == b"?"


@for_each(
    ("accept", "declared", "kind"),
    [
        (None, False, None),
        ("*/*", False, None),
        ("text/*", False, None),
        ("text/event-stream;q=0", False, None),
        ("text/event-stream", False, EventStream),
        ("text/html, Text/Event-Stream; q=0.1", True, EventStream),
        ("*/*", True, PlainStream),
    ],
)
def test_who_gets_a_stream(accept: str | None, declared: bool, kind: type | None) -> None:
    stream = stream_for(accept, declared=declared)
    assert (stream and type(stream)) == kind
    if stream is not None:
        assert stream.content_type == ("text/event-stream" if kind is EventStream else "text/plain; charset=utf-8")
