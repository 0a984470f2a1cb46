"""The fields of a query or of a urlencoded form. Pure.

`urllib.parse.parse_qs` makes lists of all that is between two percent signs: 40 times the size of a form.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from .request_limits import TooManyFields
from .text_slices import SLICE_BYTES, Data, Steps, decoded, slices


def parse_urlencoded(data: bytes | bytearray, charset: str, what: str, max_fields: int) -> Steps[dict[str, list[str]]]:
    """The values of each field, also empty ones; invalid bytes become replacement characters.

    charset: in which the fields are percent-encoded.
    what: the name of the data in errors, at the start of a sentence.
    Raises TooManyFields.
    """
    if not _has_ascii(charset):  # such as UTF-16: as for all servers, what is percent-encoded is UTF-8 then
        as_utf8 = bytearray()
        for text in decoded(data, charset, "replace"):
            as_utf8 += text.encode("utf-8", "replace")
            yield ""
        data, charset = as_utf8, "utf-8"
    if data.count(b"&") >= max_fields:
        raise TooManyFields(what, max_fields)
    fields: dict[str, list[str]] = {}
    for field in data.split(b"&"):
        if field:
            name, _, value = bytes(field).partition(b"=")
            key = yield from _unquoted(name, charset)
            fields.setdefault(key, []).append((yield from _unquoted(value, charset)))
    return fields


def _has_ascii(charset: str) -> bool:
    """Whether all ASCII characters are themselves in a charset."""
    text = "".join(map(chr, range(128)))
    return bytes(range(128)).decode(charset, "replace") == text


def _unquoted(data: bytes, charset: str) -> Steps[str]:
    if len(data) <= SLICE_BYTES:
        return unquote_to_bytes(data.replace(b"+", b" ")).decode(charset, "replace")
    plain = bytearray()
    for piece in _whole_escapes(data):
        plain += unquote_to_bytes(piece.replace(b"+", b" "))
        yield ""
    texts = []
    for text in decoded(plain, charset, "replace"):
        texts.append(text)
        yield ""
    return "".join(texts)


def _whole_escapes(data: Data) -> Iterator[bytes]:
    """Slices that do not end within an escape."""
    kept = b""
    for piece in slices(data):
        piece = kept + piece
        cut = piece.find(b"%", max(0, len(piece) - 2))
        if cut < 0:
            cut = len(piece)
        kept = piece[cut:]
        yield piece[:cut]
    yield kept
