"""The formats in which stdout is sent while its cell runs. Pure.

Both formats take the texts of stdout as they arrive. What has been sent cannot be taken back, so an error ends the
stream, in a form that the client can tell from text.
"""

from __future__ import annotations

import json
from typing import Protocol

from ..header_options import with_charset
from .cell_outputs import error_text
from .negotiation import Accept

EVENT_STREAM = "text/event-stream"
"""Server-sent events. They are always UTF-8 (HTML standard)."""
PLAIN = "text/plain"
"""Text; its charset is told by `with_charset`."""


class Stream(Protocol):
    """A format: its methods return the bytes to send. `error` or `end` comes last."""

    content_type: str

    def text(self, text: str) -> bytes:
        """A text of stdout; may return nothing."""
        ...

    def keep_alive(self) -> bytes:
        """A sign of life while stdout is silent; may return nothing."""
        ...

    def error(self, ename: str, evalue: str) -> bytes:
        """The error that ends the cell."""
        ...

    def end(self) -> bytes:
        """The end of a cell without an error."""
        ...


def stream_for(accept: str | None, *, declared: bool) -> Stream | None:
    """The format in which a response is streamed; None if it is not.

    accept: the Accept header. A client that names text/event-stream gets events.
    declared: whether the metadata of the cell has `"stream": true`.
    """
    rank = Accept(accept).rank(EVENT_STREAM)
    if rank is not None and rank.quality > 0:
        return EventStream()
    return PlainStream() if declared else None


class EventStream:
    """Server-sent events: each text is one event, and the data of all events, joined, is what was printed.

    So the data keeps the line feeds of prints. The format cannot carry a carriage return: it becomes a line feed,
    together with a line feed that follows it, even at the start of the next text.
    An error is an event named `error` whose data is the JSON {"ename", "evalue"}.

    Source: "Server-sent events" in the HTML standard.
    """

    content_type = EVENT_STREAM

    def __init__(self) -> None:
        self._after_return = False

    def text(self, text: str) -> bytes:
        if self._after_return:  # the line feed has been sent for the carriage return
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
    # Not splitlines(): it also splits at form feeds and others. The client removes one space from each line, and the
    # line feed after the last one.
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ("".join(f"data: {line}\n" for line in lines) + "\n").encode("utf-8", "replace")


class PlainStream:
    """What was printed, unchanged; an error is one more line, in the words of a response that is not streamed."""

    content_type = with_charset(PLAIN)

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
