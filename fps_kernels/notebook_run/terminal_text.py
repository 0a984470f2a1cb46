"""What kernels and notebooks say, as a terminal may show it: colours at most, and nothing else that it obeys. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..log_text import MAX_LINE_CHARS, escape, printable

MAX_LINES = 200
"""The longest traceback that is shown; what is left out is in its middle."""
RESET = "\x1b[0m"
_COLOUR = re.compile(r"(\x1b\[[0-9;]{0,40}m)")


def shown_line(line: str, *, colours: bool) -> str:
    """A line of a traceback. colours: whether they are kept."""
    if len(line) > MAX_LINE_CHARS:
        return printable(_COLOUR.sub("", line))
    pieces = _COLOUR.split(line.expandtabs())
    if not colours:
        return "".join(map(escape, pieces[::2]))
    text = "".join(piece if number % 2 else escape(piece) for number, piece in enumerate(pieces))
    return text + RESET if len(pieces) > 1 else text


def shown_lines(texts: Iterable[str], *, colours: bool, limit: int = MAX_LINES) -> list[str]:
    """The lines of a traceback, each of whose texts may have several."""
    lines = [line.rstrip("\r") for text in texts for line in str(text).split("\n")]
    if (missing := len(lines) - limit) > 0:
        half = limit // 2
        lines[half:-half] = [f"… ({missing} more lines)"]
    return [shown_line(line, colours=colours) for line in lines]


def first_line(source: str, max_chars: int = 60) -> str:
    """The first line of a cell that says something, cut to a width."""
    line = next((one.strip() for one in source.splitlines() if one.strip()), "")
    text = escape(line[: max_chars + 1])
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"
