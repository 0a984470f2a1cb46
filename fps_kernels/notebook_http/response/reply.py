"""The response that the outputs of a cell make. Pure."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import dataclass
from typing import Any

from ..header_options import header_options, with_charset
from .cell_outputs import CellOutputs
from .negotiation import Accept, explicit_type
from .response_info import InvalidInfo, parse_info

_WITHOUT_CONTENT = frozenset({204, 304})
"""Statuses whose responses have no content."""
_BINARY = frozenset({"application/gzip", "application/octet-stream", "application/pdf", "application/zip"})
"""Types whose data a kernel sends in base64, besides pictures, sounds, films and fonts."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response. headers: all of them, with Content-Type and Content-Length."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of the first header of that name, in any case."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)


def respond(outputs: CellOutputs, response_info: CellOutputs | None = None, accept: str | None = None) -> Reply:
    """The response to a request, from what its cell has put out.

    response_info: what its ResponseInfo cell has put out; None if there is no such cell.
    accept: the Accept header. It counts when it names a type that the cell has shown, or image/*.
    """
    if outputs.failure is not None:
        return _failed(outputs.failure)
    if response_info is not None and response_info.failure is not None:
        return _failed(response_info.failure)
    media_type = explicit_type(outputs, Accept(accept))
    if media_type is not None:
        body = _encoded(media_type, outputs.shown[media_type])
    elif outputs.stdout or not outputs.result:
        body = outputs.stdout.encode("utf-8", "replace")
    else:
        body = json.dumps(outputs.result).encode()
    try:
        status, headers = (200, []) if response_info is None else parse_info(response_info.stdout)
        if media_type is not None:  # ResponseInfo gives the type of stdout: it is dropped if it is another one
            headers = [
                (name, value)
                for name, value in headers
                if name.lower() != "content-type" or header_options(value)[0] == media_type.lower()
            ]
        if outputs.shown:  # tells caches that the body depends on Accept
            headers.append(("Vary", "Accept"))
        return _reply(status, headers, media_type or "text/plain", body)
    except InvalidInfo as exc:
        return _failed(f"Invalid ResponseInfo: {exc}\n")


def head_reply(reply: Reply, *, of_get: bool) -> Reply:
    """The response without its body, for HEAD.

    of_get: whether the reply is the one to GET. Then its Content-Length is right; that of a cell for HEAD itself says
      nothing about GET, and must not be sent (RFC 9110, 8.6).
    """
    headers = [(name, value) for name, value in reply.headers if of_get or name.lower() != "content-length"]
    return Reply(reply.status, headers, b"")


def _encoded(media_type: str, data: Any) -> bytes:
    """The body for data of a type, as a kernel sends it: JSON, text, or bytes in base64."""
    if not isinstance(data, str):
        return json.dumps(data).encode()
    name = media_type.lower()
    is_binary = name in _BINARY or name.partition("/")[0] in ("image", "audio", "video", "font")
    if is_binary and not name.endswith(("+xml", "+json")):
        with contextlib.suppress(ValueError):  # some kernels send text in spite of the type
            return base64.b64decode("".join(data.split()), validate=True)
    return data.encode("utf-8", "replace")


def _failed(message: str) -> Reply:
    return _reply(500, [], "text/plain", message.encode("utf-8", "replace"))


def _reply(status: int, headers: list[tuple[str, str]], media_type: str, body: bytes) -> Reply:
    """A reply with its Content-Type and Content-Length. Raises InvalidInfo when the headers contradict these.

    media_type: the type of the body, unless `headers` have one: that is sent as its author wrote it.
    """
    names = [name.lower() for name, _ in headers]
    if names.count("content-type") > 1:
        raise InvalidInfo("there is more than one Content-Type")
    if status in _WITHOUT_CONTENT:  # nor a length: for 304 it would have to be that of the 200
        return Reply(status, [(name, value) for name, value in headers if name.lower() != "content-length"], b"")
    if status == 205:  # no content either, but a length of 0 (RFC 9110, 15.3.6)
        body = b""
    if any(value != str(len(body)) for name, value in headers if name.lower() == "content-length"):
        raise InvalidInfo("the Content-Length is not that of the body")
    headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
    if "content-type" not in names:
        headers.append(("Content-Type", with_charset(media_type)))
    return Reply(status, [*headers, ("Content-Length", str(len(body)))], body)
