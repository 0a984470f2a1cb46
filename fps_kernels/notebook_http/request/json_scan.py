"""Check: whether bytes are JSON that a kernel can read, without making objects of them. Pure.

What `json.loads` makes of 10 MiB takes up to 280 MiB, and holds up all threads for most of a second. Here the grammar
is checked by msgspec, which skips what it reads, at 150 to 3,000 MiB/s; and what msgspec does not look at, slice by
slice: the depth, and the size of numbers.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator
from itertools import accumulate

import msgspec

from .request_limits import TooDeep
from .text_slices import SLICE_BYTES, Steps, is_text

MAX_NUMBER_CHARS = 4_300
"""The longest number: Python refuses to convert longer integers."""

_LONG_CHARS = 200
"""Shorter numbers are too large only by an exponent of three digits."""

_decoder = msgspec.json.Decoder(msgspec.Raw)
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_NUMBER_END = re.compile(rb"[0-9.eE+-]*\Z")
_LARGE_NUMBER = re.compile(
    rb"(?<![0-9.eE+-])[0-9.eE+-]{%(long)d,}|(?<![0-9.])[0-9.]++[eE]\+?[0-9]{3,}" % {b"long": _LONG_CHARS}
)
"""A number that may be too large for a float: it is long, or its exponent has three digits."""
_EXPONENT = re.compile(rb"[eE]\+?[0-9]{3}")
_IN_NUMBERS = bytes(48 if chr(code) in "0123456789.eE+-" else 32 for code in range(256))
"""A 0 for each character of a number, and a space for all others."""
_LONG_NUMBER = b"0" * _LONG_CHARS
_SURROGATES = [f"\\u{d}{half}".encode() for d in "dD" for half in "89abcdefABCDEF"]
"""How the escapes of halves of surrogate pairs begin."""
_STEPS = bytes.maketrans(b"[{]}", b"\1\1\xff\xff")
"""A signed byte for what a bracket adds to the depth."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def is_readable_json(body: bytes | bytearray, max_depth: int) -> Steps[bool]:
    """Whether UTF-8 is JSON that any kernel can read.

    It is not when a number is too large for a float: then it is JSON that only some languages can read.
    Raises TooDeep, also when it is not JSON.
    """
    finite = True
    if body.count(b"[") + body.count(b"{") > max_depth or (yield from _may_have_large_numbers(body)):
        finite = yield from _scan(body, max_depth)
    return finite and (yield from is_text(body, "utf-8")) and _is_json(body, max_depth)


def _is_json(body: bytes | bytearray, max_depth: int) -> bool:
    try:
        _decoder.decode(body)
    except RecursionError:
        raise TooDeep(max_depth) from None
    except msgspec.DecodeError:
        # Halves of surrogate pairs can be escaped (RFC 8259, 8.2), but msgspec wants pairs.
        if b"\\ud" not in body and b"\\uD" not in body:
            return False
        for half in _SURROGATES:
            body = body.replace(half, b"\\u00")
        try:
            _decoder.decode(body)
        except msgspec.DecodeError:
            return False
    return True


def _may_have_large_numbers(body: bytes | bytearray) -> Steps[bool]:
    """Whether something, perhaps in a string, looks like a number that is too large."""
    for at in range(0, len(body), SLICE_BYTES):
        if _may_have_large_number(body[max(0, at - _LONG_CHARS) : at + SLICE_BYTES]):
            return True
        yield ""
    return False


def _may_have_large_number(text: bytes | bytearray) -> bool:
    """The same of a short text. This takes a twentieth of the time of _LARGE_NUMBER."""
    return _EXPONENT.search(text) is not None or _LONG_NUMBER in text.translate(_IN_NUMBERS)


def _scan(body: bytes | bytearray, max_depth: int) -> Steps[bool]:
    """Whether all numbers fit into a float. Raises TooDeep."""
    depth = 0
    finite = True
    number = b""  # the start of a number that may go on in the next slice
    for piece in _outside_strings(body):
        steps = array("b", piece.translate(_STEPS, _NO_BRACKETS))
        if depth + len(steps) > max_depth and depth + max(accumulate(steps), default=0) > max_depth:
            raise TooDeep(max_depth)
        depth += sum(steps)
        if finite:
            text = number + piece
            end = _NUMBER_END.search(text, max(0, len(text) - MAX_NUMBER_CHARS - 1))
            assert end is not None  # it may be empty
            number = end[0]
            finite = len(number) <= MAX_NUMBER_CHARS and all(map(_is_finite, _large_numbers(text[: end.start()])))
        yield ""
    return finite and all(map(_is_finite, _large_numbers(number)))


def _outside_strings(body: bytes | bytearray) -> Iterator[bytes]:
    """What is outside of strings, slice by slice, with a space for each string."""
    in_string = False
    at = 0
    while at < len(body):
        piece = bytes(body[at : at + SLICE_BYTES])
        at += len(piece)
        if b"\\" in piece:
            # An escape that the slice cuts in two goes on in the next one: an odd number of backslashes at the end.
            if (len(piece) - len(piece.rstrip(b"\\"))) % 2 and at < len(body):
                piece += body[at : at + 1]
                at += 1
            piece = _ESCAPED.sub(b"", piece)
        parts = piece.split(b'"')
        yield b" ".join(parts[in_string::2])
        in_string ^= len(parts) % 2 == 0


def _large_numbers(text: bytes) -> list[bytes]:
    return _LARGE_NUMBER.findall(text) if _may_have_large_number(text) else []


def _is_finite(number: bytes) -> bool:
    if len(number) > MAX_NUMBER_CHARS:
        return False
    if number.removeprefix(b"-").isdigit():
        return True  # as in Python
    try:
        return math.isfinite(float(number))
    except ValueError:
        return False  # not a number at all
