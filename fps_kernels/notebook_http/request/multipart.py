"""The parts of a multipart/form-data body. Pure.

This is our own code because none of the libraries fits. The standard library has a parser for mail: it would also
parse a file that is a mail itself, and it repairs malformed input. python-multipart cannot be required: fps-auth pins a
version that is years old. Tornado's parser, which Kernel Gateway uses, imports asyncio, and accepts a boundary in the
middle of a line. With the whole body at hand, there is little to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import InvalidBody
from ..header_options import header_options
from .request_limits import TooManyFields

MAX_BOUNDARY_CHARS = 70
"""The longest boundary (RFC 2046, 5.1.1)."""
MAX_HEAD_BYTES = 16_384
"""The largest head of a part: what servers accept for the headers of a whole request."""

_BOUNDARY_END = re.compile(rb"(--)?[ \t]*+(?:\r\n|\Z)")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class MalformedMultipart(InvalidBody):
    """A multipart/form-data body is not what its Content-Type says."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Malformed multipart/form-data body: {what}")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form: a field, or a file.

    filename: None for a field.
    data: a view of the body.
    """

    name: str
    filename: str | None
    content_type: str | None
    data: memoryview


def parse_multipart(boundary: str, body: bytes | bytearray, max_parts: int) -> Iterator[Part]:
    """The parts of a body, in their order.

    boundary: the boundary that the Content-Type names. What is before the first one and after the last is ignored.
    Raises MalformedMultipart, TooManyFields.
    Source: RFC 7578, and RFC 2046, 5.1.1, for the boundaries.
    """
    if not 0 < len(boundary) <= MAX_BOUNDARY_CHARS or not boundary.isascii():
        raise MalformedMultipart(f"its Content-Type has no boundary of up to {MAX_BOUNDARY_CHARS} ASCII characters")
    number = 0
    start: int | None = None
    for before, after, is_last in _boundaries(boundary.encode(), body):
        if start is not None:
            number += 1
            if number > max_parts:
                raise TooManyFields("The multipart/form-data body", max_parts)
            yield _parse_part(number, memoryview(body)[start:before])
        if is_last:
            return
        start = after
    raise MalformedMultipart("it has no boundary" if start is None else "it ends before its last boundary")


def _boundaries(boundary: bytes, body: bytes | bytearray) -> Iterator[tuple[int, int, bool]]:
    """Where each line of a boundary starts and ends, with the line breaks on both sides, and whether it is the last."""
    delimiter = b"\r\n--" + boundary
    found = -2 if body.startswith(delimiter[2:]) else body.find(delimiter)
    while found != -1:
        after = found + len(delimiter)
        if rest := _BOUNDARY_END.match(body, after):
            after = rest.end()
            yield found, after, rest[1] is not None
        found = body.find(delimiter, after)


def _parse_part(number: int, part: memoryview) -> Part:
    head, empty_line, _ = bytes(part[: MAX_HEAD_BYTES + 4]).partition(b"\r\n\r\n")
    if not empty_line:
        if len(part) > MAX_HEAD_BYTES:
            raise MalformedMultipart(f"part {number} has headers of more than {MAX_HEAD_BYTES} bytes")
        raise MalformedMultipart(f"part {number} has no empty line after its headers")
    headers: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):  # UTF-8, in spite of HTTP (RFC 7578, 5.1.1)
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise MalformedMultipart(f"part {number} has a line that is not a header")
        headers.setdefault(name.lower(), value.strip())
    disposition, options = header_options(headers.get("content-disposition", ""))
    if disposition != "form-data":
        raise MalformedMultipart(f"part {number} has no Content-Disposition of the type form-data")
    if "name" not in options:
        raise MalformedMultipart(f"part {number} has no name")
    return Part(options["name"], options.get("filename"), headers.get("content-type"), part[len(head) + 4 :])
