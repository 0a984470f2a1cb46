"""Large texts, a slice at a time: how a body is decoded and escaped without copies and without long pauses. Pure.

One call of Python's codecs, of `re` or of `json` holds up all threads until it ends. So whatever may be large is done
in slices. Generators here and in the modules that use this one yield after each, often an empty string: what runs them
can give way to others then.
"""

from __future__ import annotations

import base64
import codecs
import json
import sys
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[str, None, T]
"""Yields pieces of text, which may be empty, and returns a T."""
Data = bytes | bytearray | memoryview

SLICE_BYTES = 32 * 1024
"""A slice takes up to 3 ms: escaping is the slowest."""
_BASE64_BYTES = SLICE_BYTES // 3 * 3
"""Base64 of a multiple of three bytes needs no padding."""

_BYTE_ORDER_MARKS = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
"""The marks at the start of a text by charset. Python takes a text without one for one of this machine's byte order."""


def slices(data: Data, size: int | None = None) -> Iterator[bytes]:
    """The data in slices. size: of each, in bytes; None for SLICE_BYTES."""
    size = size or SLICE_BYTES
    for at in range(0, len(data), size):
        yield bytes(data[at : at + size])


def decoded(data: Data, charset: str, errors: str = "strict") -> Iterator[str]:
    """The text of the data, in slices. Raises UnicodeError, after some of them perhaps."""
    marks = _BYTE_ORDER_MARKS.get(charset)
    if marks and not bytes(data[:4]).startswith(marks):  # an incremental decoder would refuse it
        charset += "-le" if sys.byteorder == "little" else "-be"
    decoder = codecs.getincrementaldecoder(charset)(errors)
    for piece in slices(data):
        yield decoder.decode(piece)
    yield decoder.decode(b"", True)


def is_text(data: Data, charset: str) -> Steps[bool]:
    """Whether the data can be decoded."""
    try:
        for _ in decoded(data, charset):
            yield ""
    except UnicodeError:
        return False
    return True


def json_string(texts: Iterator[str]) -> Iterator[str]:
    """A JSON string, in ASCII."""
    yield '"'
    for text in texts:
        for at in range(0, len(text), SLICE_BYTES):
            yield json.dumps(text[at : at + SLICE_BYTES])[1:-1]
    yield '"'


def base64_string(data: Data) -> Iterator[str]:
    """A JSON string of the data in base64."""
    yield '"'
    for piece in slices(data, _BASE64_BYTES):
        yield base64.b64encode(piece).decode("ascii")
    yield '"'
