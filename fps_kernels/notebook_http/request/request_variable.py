"""The JSON text of REQUEST: what a cell is told of the request that it answers. Pure."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from ..header_options import header_options
from .json_scan import is_readable_json
from .literals import printable
from .multipart import Part, parse_multipart
from .request_limits import RequestLimits
from .text_slices import Steps, base64_string, decoded, is_text, json_string
from .urlencoded import parse_urlencoded

_NOT_CHARSETS = frozenset(
    # Text encodings of Python that are not charsets: escapes, some with quadratic run time, and transport encodings.
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)


def request_pieces(
    headers: Iterable[tuple[bytes, bytes]],
    query: bytes,
    path_parameters: Mapping[str, str],
    body: bytes | bytearray,
    limits: RequestLimits,
) -> Steps[None]:
    """The JSON text of {"body", "args", "path", "headers"}, in printable ASCII, in pieces; some are empty.

    headers, query: as in the ASGI scope; the query is still encoded.
    path_parameters: the parameters of the path, decoded.
    There is also "body_encoding": "base64" when the body is neither text nor a form.

    Raises MalformedMultipart, TooManyFields, TooDeep.
    Source: "Getting the Request Data" in the documentation of Kernel Gateway.
    """
    grouped: dict[str, list[str]] = {}
    for name, value in headers:  # names are case-insensitive in HTTP; cells look them up in this case
        title = "-".join(word.capitalize() for word in name.decode("latin-1").split("-"))
        grouped.setdefault(title, []).append(value.decode("latin-1"))
    content_type = grouped.get("Content-Type", [""])[0]
    yield '{"body": '
    encoding = yield from _body(content_type, body, limits)
    args = yield from parse_urlencoded(query, "utf-8", "The query", limits.max_fields)
    rest: dict[str, Any] = {
        "args": args,
        "path": dict(path_parameters),
        "headers": {name: values[0] if len(values) == 1 else values for name, values in grouped.items()},
    }
    if encoding:
        rest["body_encoding"] = encoding
    yield ", " + printable(json.dumps(rest))[1:]


def request_json(
    headers: Iterable[tuple[bytes, bytes]],
    query: bytes,
    path_parameters: Mapping[str, str],
    body: bytes | bytearray,
    limits: RequestLimits = RequestLimits(),  # noqa: B008 - frozen
) -> str:
    """The pieces of request_pieces(), joined."""
    return "".join(request_pieces(headers, query, path_parameters, body, limits))


def _body(content_type: str, body: bytes | bytearray, limits: RequestLimits) -> Steps[str | None]:
    """The JSON text of a body; returns "base64" if that is how it is encoded."""
    media_type, options = header_options(content_type)
    charset = _charset(options.get("charset"))
    # A form without fields is still a form: cells look up its fields. `curl -d ''` sends one.
    if media_type == "application/x-www-form-urlencoded":
        form = yield from parse_urlencoded(body, charset or "utf-8", "The form", limits.max_fields)
        yield from _object((name, map(_string, values)) for name, values in form.items())
        return None
    if media_type == "multipart/form-data":
        parts: dict[str, list[Iterator[str]]] = {}
        for part in parse_multipart(options.get("boundary", ""), body, limits.max_fields) if body else ():
            parts.setdefault(part.name, []).append((yield from _value(part)))
        yield from _object(parts.items())
        return None
    if not body:
        yield '""'
        return None
    if media_type == "application/json":
        # Invalid JSON is given to the cell as a string, unchanged. So is NaN, which only Python takes for JSON, and a
        # number too large for a float: not every kernel's language could read them.
        text = yield from _as_utf8(body, charset)
        if text is not None and (yield from is_readable_json(text, limits.max_depth)):
            for piece in decoded(text, "utf-8"):
                yield printable(piece)
            return None
        del text
    if (yield from is_text(body, charset or "utf-8")):
        yield from _string(decoded(body, charset or "utf-8"))
        return None
    yield from base64_string(body)
    return "base64"


def _as_utf8(body: bytes | bytearray, charset: str | None) -> Steps[bytes | bytearray | None]:
    """The JSON in a body as UTF-8 without a byte order mark; None if it cannot be decoded.

    charset: None to find out whether it is UTF-8, UTF-16 or UTF-32.
    """
    found = charset or json.detect_encoding(body)
    if found == "utf-8":
        return body
    if found == "utf-8-sig":
        return body.removeprefix(codecs.BOM_UTF8)
    text = bytearray()
    try:
        for piece in decoded(body, found):
            text += piece.encode()
            yield ""
    except UnicodeError:
        return None
    return text


def _charset(name: str | None) -> str | None:
    """Python's name of a charset; None when there is none, and when Python does not know it."""
    if name is None:
        return None
    try:
        found = codecs.lookup(name)
        bytes(4).decode(found.name, "replace")  # raises for encodings that do not give text, such as base64
    except (LookupError, ValueError):
        return None
    if found.incrementaldecoder is None:
        return None
    return None if found.name in _NOT_CHARSETS else found.name


def _value(part: Part) -> Steps[Iterator[str]]:
    """The JSON text of a file, or of a field. A field that is not text is a file without a name, to lose nothing."""
    if not part.filename:  # it is empty when no file was chosen in a browser's form
        _, options = header_options(part.content_type or "")
        charset = _charset(options.get("charset")) or "utf-8"
        if (yield from is_text(part.data, charset)):
            return _string(decoded(part.data, charset))
    head = {"filename": part.filename or "", "content_type": part.content_type or "application/octet-stream"}
    return chain([f'{printable(json.dumps(head))[:-1]}, "data": '], base64_string(part.data), ["}"])


def _string(text: str | Iterator[str]) -> Iterator[str]:
    """The JSON text of a string."""
    return map(printable, json_string(iter([text]) if isinstance(text, str) else text))


def _object(members: Iterable[tuple[str, Iterable[Iterator[str]]]]) -> Steps[None]:
    """The JSON text of an object whose members are lists; each of their items is JSON text in pieces."""
    yield "{"
    for at, (name, items) in enumerate(members):
        yield f"{', ' if at else ''}{printable(json.dumps(name))}: ["
        for number, pieces in enumerate(items):
            yield ", " if number else ""
            yield from pieces
        yield "]"
    yield "}"
