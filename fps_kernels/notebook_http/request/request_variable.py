"""The JSON text of REQUEST: what a cell is told of the request that it answers. Pure."""

from __future__ import annotations

import base64
import codecs
import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict
from urllib.parse import parse_qs

from ..header_options import header_options
from .multipart import Part, parse_multipart

_NOT_CHARSETS = frozenset(
    # Text encodings of Python that are not charsets: escapes, some with quadratic run time, and transport encodings.
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)


class File(TypedDict):
    """A file of a form. data: its content in base64."""

    filename: str
    content_type: str
    data: str


Fields = dict[str, list[Any]]
"""The values of each field of a form, in the order of the request: str, or File for a file."""


def request_json(
    headers: Iterable[tuple[bytes, bytes]], query: bytes, path_parameters: Mapping[str, str], body: bytes
) -> str:
    """The JSON text of {"body", "args", "path", "headers"}, in ASCII.

    headers, query: as in the ASGI scope; the query is still encoded.
    path_parameters: the parameters of the path, decoded.
    There is also "body_encoding": "base64" when the body is neither text nor a form.

    Raises MalformedMultipart.
    Source: "Getting the Request Data" in the documentation of Kernel Gateway.
    """
    grouped: dict[str, list[str]] = {}
    for name, value in headers:  # names are case-insensitive in HTTP; cells look them up in this case
        title = "-".join(word.capitalize() for word in name.decode("latin-1").split("-"))
        grouped.setdefault(title, []).append(value.decode("latin-1"))
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


def _body(content_type: str, body: bytes) -> tuple[str, str | None]:
    """The JSON text of a body, and "base64" if that is how it is encoded."""
    media_type, options = header_options(content_type)
    charset = _charset(options.get("charset"))
    # A form without fields is still a form: cells look up its fields. `curl -d ''` sends one.
    if media_type == "application/x-www-form-urlencoded":
        return json.dumps(_form(body, charset or "utf-8")), None
    if media_type == "multipart/form-data":
        fields: Fields = {}
        for part in parse_multipart(options.get("boundary", ""), body) if body else []:
            fields.setdefault(part.name, []).append(_value(part))
        return json.dumps(fields), None
    if not body:
        return '""', None
    if media_type == "application/json":
        # Invalid JSON is given to the cell as a string, unchanged. So is NaN, which only Python takes for JSON, a
        # number too large for a float, and what is nested too deeply: not every kernel's language could read them.
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(body.decode(charset) if charset else body)
            return json.dumps(value, allow_nan=False), None
    try:
        return json.dumps(body.decode(charset or "utf-8")), None
    except UnicodeError:
        return json.dumps(base64.b64encode(body).decode()), "base64"


def _charset(name: str | None) -> str | None:
    """Python's name of a charset; None when there is none, and when Python does not know it."""
    if name is None:
        return None
    try:
        found = codecs.lookup(name)
        bytes(4).decode(found.name, "replace")  # raises for encodings that do not give text, such as base64
    except (LookupError, ValueError):
        return None
    return None if found.name in _NOT_CHARSETS else found.name


def _form(data: bytes, charset: str = "utf-8") -> Fields:
    """The fields of a urlencoded form, also empty ones; invalid bytes become replacement characters."""
    return dict(parse_qs(data.decode(charset, "replace"), keep_blank_values=True, encoding=charset, errors="replace"))


def _value(part: Part) -> str | File:
    """A file, or the text of a field; a field that is not text is a file without a name, so that nothing is lost."""
    if not part.filename:  # it is empty when no file was chosen in a browser's form
        _, options = header_options(part.content_type or "")
        with contextlib.suppress(UnicodeError):
            return part.data.decode(_charset(options.get("charset")) or "utf-8")
    return {
        "filename": part.filename or "",
        "content_type": part.content_type or "application/octet-stream",
        "data": base64.b64encode(part.data).decode(),
    }
