"""Text that a client or a kernel chose, made fit for one line of a log. Pure.

A terminal obeys escape sequences, and a reader believes that each line is a record: neither may come from outside.
"""

from __future__ import annotations

import re

MAX_LINE_CHARS = 2_000
"""The longest line of a log, in characters. A path of a request may have 64 KiB."""

_LINE_ENDS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NOT_PRINTABLE = re.compile(r"[^ -~]")


def escape(text: object) -> str:
    """Return the text with everything that is not printable written as in a literal of Python.

    That is line ends, tabs, control characters (C0, C1 and DEL, and with them all escape sequences), characters that
    change the direction of text or that nobody sees, separators other than the space, and halves of surrogate pairs.
    Backslashes stay as they are.
    """
    text = str(text)
    return text if text.isprintable() else _NOT_PRINTABLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    if char.isprintable():
        return char
    if char in _LINE_ENDS:
        return _LINE_ENDS[char]
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shorten(text: str, max_chars: int = MAX_LINE_CHARS) -> str:
    """Return the text, cut to this many characters and followed by a note of what is missing if it is longer."""
    missing = len(text) - max_chars
    return text if missing <= 0 else f"{text[:max_chars]}… ({missing} more characters)"


def printable(text: object, max_chars: int = MAX_LINE_CHARS) -> str:
    """Return the text escaped and cut."""
    text = str(text)
    missing = len(text) - max_chars
    # What is cut need not be escaped: a text may have gigabytes.
    cut = shorten(escape(text[:max_chars]), max_chars)
    return cut if missing <= 0 else f"{cut}… ({missing} more characters)"
