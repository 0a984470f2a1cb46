"""The response that the outputs of a cell make. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from ..header_options import header_options
from .cell_outputs import CellOutputs
from .negotiation import Accept, explicit_type
from .response_info import InvalidInfo, parse_info

_WITHOUT_CONTENT = frozenset({204, 304})
_BINARY = frozenset({"application/gzip", "application/octet-stream", "application/pdf", "application/zip"})


@dataclass(frozen=True, slots=True)
class Reply:
    """headers: also the Content-Type and the Content-Length; nothing is to be added to them."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first one of that name."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)


def respond(outputs: CellOutputs, response_info: CellOutputs | None = None, accept: str | None = None) -> Reply:
    """The response of a cell.

    response_info: what the cell for the status and the headers put out, if there is one.
    accept: the Accept header. It counts when it names a type that the cell has shown, or image/*.
    """
    if outputs.failure is not None:
        return _failed(outputs.failure)
    if response_info is not None and response_info.failure is not None:
        return _failed(response_info.failure)
    media_type = explicit_type(outputs, Accept(accept))
    body = _default(outputs) if media_type is None else _encoded(media_type, outputs.shown[media_type])
    try:
        status, headers = (200, []) if response_info is None else parse_info(response_info.stdout)
        if media_type is not None:  # the type that ResponseInfo tells is that of stdout, unless it is the same
            headers = [(name, value) for name, value in headers if not _is_other_type(name, value, media_type)]
        if outputs.shown:  # a cache has to know that with another Accept there is another body
            headers.append(("Vary", "Accept"))
        return _reply(status, headers, media_type or "text/plain", body)
    except InvalidInfo as exc:
        return _failed(f"Invalid ResponseInfo: {exc}\n")


def head_reply(reply: Reply, *, of_get: bool) -> Reply:
    """The response without its body, for HEAD.

    of_get: it is the one that GET would get, so its Content-Length is true. That of a cell for HEAD itself
      tells nothing of GET's, and must not be sent (RFC 9110, 8.6).
    """
    headers = [(name, value) for name, value in reply.headers if of_get or name.lower() != "content-length"]
    return Reply(reply.status, headers, b"")


def _default(outputs: CellOutputs) -> bytes:
    """The body for who names no type."""
    text = outputs.stdout
    if not text and outputs.result:
        text = json.dumps(outputs.result)
    return text.encode("utf-8", "replace")


def _is_other_type(name: str, value: str, media_type: str) -> bool:
    return name.lower() == "content-type" and header_options(value)[0] != media_type.lower()


def _encoded(media_type: str, data: Any) -> bytes:
    if not isinstance(data, str):
        return json.dumps(data).encode()
    if _is_binary(media_type.lower()):
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except (binascii.Error, ValueError):
            pass  # a kernel that sends text in spite of the type
    return data.encode("utf-8", "replace")


def _is_binary(media_type: str) -> bool:
    """Whether a kernel sends data of this type in base64."""
    if media_type.endswith(("+xml", "+json")):
        return False
    return media_type in _BINARY or media_type.partition("/")[0] in ("image", "audio", "video", "font")


def _failed(message: str) -> Reply:
    return _reply(500, [], "text/plain", message.encode("utf-8", "replace"))


def _reply(status: int, headers: list[tuple[str, str]], content_type: str, body: bytes) -> Reply:
    """Raises InvalidInfo when headers contradict the body, or themselves."""
    names = [name.lower() for name, _ in headers]
    if names.count("content-type") > 1:
        raise InvalidInfo("there is more than one Content-Type")
    if status in _WITHOUT_CONTENT:  # and so without a length: that of a 304 would be the one of the 200
        return Reply(status, [(name, value) for name, value in headers if name.lower() != "content-length"], b"")
    if status == 205:  # has no content either, but says so (RFC 9110, 15.3.6)
        body = b""
    if any(value != str(len(body)) for name, value in headers if name.lower() == "content-length"):
        raise InvalidInfo("the Content-Length is not that of the body")
    headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
    if "content-type" not in names:
        headers.append(("Content-Type", content_type))
    return Reply(status, [*headers, ("Content-Length", str(len(body)))], body)
