"""What a cell is told of the request that it answers: the JSON text of REQUEST. Pure."""

from __future__ import annotations

import base64
import codecs
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict
from urllib.parse import parse_qs

from ..header_options import header_options
from .multipart import Part, parse_multipart

_NOT_CHARSETS = frozenset(
    # Python's text encodings that are not charsets: escapes, some of them quadratic in time, and transports.
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)


class File(TypedDict):
    """data: in base64."""

    filename: str
    content_type: str
    data: str


Fields = dict[str, list[Any]]
"""The values of each field, in the order in which they came: str, and File for a file."""


def request_json(
    headers: Iterable[tuple[bytes, bytes]], query: bytes, path_parameters: Mapping[str, str], body: bytes
) -> str:
    """The JSON text of {"body", "args", "path", "headers"}, in ASCII.

    headers, query: as in the ASGI scope, the query still encoded. path_parameters: decoded.
    "body_encoding" is there only when the body is bytes that no string can hold: it is "base64" then.

    Raises MalformedMultipart.
    Source: "Getting the Request Data" in the documentation of Kernel Gateway.
    """
    grouped = _grouped(headers)
    content_type = grouped.get("Content-Type", [""])[0]
    text, encoding = _body(content_type, body)
    pieces = [
        f'"body": {text}',
        f'"args": {json.dumps(_form(query))}',
        f'"path": {json.dumps(dict(path_parameters))}',
        f'"headers": {json.dumps({name: v[0] if len(v) == 1 else v for name, v in grouped.items()})}',
    ]
    if encoding:
        pieces.append(f'"body_encoding": {json.dumps(encoding)}')
    return f"{{{', '.join(pieces)}}}"


def _grouped(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    """The values of each header; HTTP's names have no case, and cells look them up in this one."""
    grouped: dict[str, list[str]] = {}
    for name, value in headers:
        title = "-".join(word.capitalize() for word in name.decode("latin-1").split("-"))
        grouped.setdefault(title, []).append(value.decode("latin-1"))
    return grouped


def _body(content_type: str, body: bytes) -> tuple[str, str | None]:
    """The JSON text of a body, and its encoding if it is not plain."""
    media_type, options = header_options(content_type)
    charset = _charset(options.get("charset"))
    # A form without fields is still one: cells look up its fields. `curl -d ''` sends such a form.
    if media_type == "application/x-www-form-urlencoded":
        return json.dumps(_form(body, charset or "utf-8")), None
    if media_type == "multipart/form-data":
        return json.dumps(_multipart(options.get("boundary", ""), body)), None
    if not body:
        return '""', None
    if media_type == "application/json":
        try:
            value = json.loads(body.decode(charset) if charset else body)
            # Also what is JSON for Python alone, NaN, or too large for a float becomes a string: not every
            # kernel's language could read it. So does what is nested too deeply, or has an endless integer.
            return json.dumps(value, allow_nan=False), None
        except (ValueError, RecursionError):
            pass  # an invalid body is given to the cell as it came
    return _text(body, charset)


def _text(body: bytes, charset: str | None) -> tuple[str, str | None]:
    try:
        return json.dumps(body.decode(charset or "utf-8")), None
    except UnicodeError:
        return json.dumps(base64.b64encode(body).decode()), "base64"


def _charset(name: str | None) -> str | None:
    """A charset as Python calls it; None for none, and for one that it does not know."""
    if name is None:
        return None
    try:
        found = codecs.lookup(name)
        bytes(4).decode(found.name, "replace")  # raises for what does not decode to text, such as base64
    except (LookupError, ValueError):
        return None
    return None if found.name in _NOT_CHARSETS else found.name


def _form(data: bytes, charset: str = "utf-8") -> Fields:
    """Empty values are values. What is not in the charset becomes replacement characters."""
    return dict(parse_qs(data.decode(charset, "replace"), keep_blank_values=True, encoding=charset, errors="replace"))


def _multipart(boundary: str, body: bytes) -> Fields:
    fields: Fields = {}
    for part in parse_multipart(boundary, body) if body else []:
        fields.setdefault(part.name, []).append(_value(part))
    return fields


def _value(part: Part) -> str | File:
    """A file, or the text of a field; a field that is no text is a file without a name, so that nothing is lost."""
    if not part.filename:  # empty: a browser's form in which no file was chosen
        _, options = header_options(part.content_type or "")
        try:
            return part.data.decode(_charset(options.get("charset")) or "utf-8")
        except UnicodeError:
            pass
    return {
        "filename": part.filename or "",
        "content_type": part.content_type or "application/octet-stream",
        "data": base64.b64encode(part.data).decode(),
    }
