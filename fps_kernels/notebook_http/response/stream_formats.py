"""The form in which stdout is sent while the cell still runs. Pure.

Both forms take the texts of stdout as they come. What was sent cannot be taken back, so an error ends the stream,
in a form that the client can tell from the text.
"""

from __future__ import annotations

import json
from typing import Protocol

from .cell_outputs import error_text
from .negotiation import Accept

EVENT_STREAM = "text/event-stream"
"""Always UTF-8, says the HTML standard."""
PLAIN = "text/plain"
"""Without a charset, like every response of a cell. The text is UTF-8."""


class Stream(Protocol):
    """Gives the bytes to send; nothing more after `error` or `end`."""

    content_type: str

    def text(self, text: str) -> bytes:
        """For what came on stdout; may be empty."""
        ...

    def keep_alive(self) -> bytes:
        """For a time in which nothing came on stdout; may be empty."""
        ...

    def error(self, ename: str, evalue: str) -> bytes:
        """For the error that ends the cell."""
        ...

    def end(self) -> bytes:
        """For the end of a cell without an error."""
        ...


def stream_for(accept: str | None, *, declared: bool) -> Stream | None:
    """How a response is streamed; None if it is not.

    accept: the header; who names text/event-stream gets events. declared: the cell's metadata has `"stream": true`.
    """
    rank = Accept(accept).rank(EVENT_STREAM)
    if rank is not None and rank.quality > 0:
        return EventStream()
    return PlainStream() if declared else None


class EventStream:
    """Server-sent events: each text is one event, and the data of all events, joined, is what was printed.

    So data ends with a line feed where a print ends. A carriage return, which the format cannot carry, becomes a line
    feed, and so does one with a line feed after it, also when that is in the next text.
    An error is an event `error`, and its data the JSON {"ename", "evalue"}.

    Source: "Server-sent events" in the HTML standard.
    """

    content_type = EVENT_STREAM

    def __init__(self) -> None:
        self._after_return = False

    def text(self, text: str) -> bytes:
        if self._after_return:  # which is a line feed already, with the one that follows
            text = text.removeprefix("\n")
            self._after_return = False
        if not text:
            return b""
        self._after_return = text.endswith("\r")
        return _event(text)

    def keep_alive(self) -> bytes:
        return b":\n\n"  # a comment

    def error(self, ename: str, evalue: str) -> bytes:
        return b"event: error\n" + _event(json.dumps({"ename": ename, "evalue": evalue}))

    def end(self) -> bytes:
        return b""


def _event(data: str) -> bytes:
    # Not splitlines(): to it a form feed and others end a line, too. The client takes away one space and the last
    # line feed, which is the one after the last line.
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ("".join(f"data: {line}\n" for line in lines) + "\n").encode("utf-8", "replace")


class PlainStream:
    """What was printed, as it is; an error is one more line, worded as in a response that is not streamed."""

    content_type = PLAIN

    def __init__(self) -> None:
        self._in_line = False

    def text(self, text: str) -> bytes:
        if text:
            self._in_line = not text.endswith("\n")
        return text.encode("utf-8", "replace")

    def keep_alive(self) -> bytes:
        return b""  # whatever is sent is part of the text

    def error(self, ename: str, evalue: str) -> bytes:
        return ("\n" * self._in_line + error_text(ename, evalue)).encode("utf-8", "replace")

    def end(self) -> bytes:
        return b""
