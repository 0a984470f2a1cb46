"""The response that the outputs of a cell make. Pure."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..header_options import header_options
from .negotiation import Accept

MAX_CHARS = 64 * 1024 * 1024
"""What a cell may put out, about: as much as a shared document takes of one."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MEDIA_TYPE = re.compile(rf"{_TOKEN.pattern}/{_TOKEN.pattern}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_RESERVED = frozenset(
    # Of the connection and not of the response (RFC 9110, 7.6.1): the server sets them, or does not.
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
_WITHOUT_CONTENT = frozenset({204, 304})
_BINARY = frozenset({"application/gzip", "application/octet-stream", "application/pdf", "application/zip"})

Bundle = Mapping[str, Any]
"""Data by MIME type, as in the messages of a kernel."""


@dataclass(frozen=True, slots=True)
class Reply:
    """headers: also the Content-Type and the Content-Length; nothing is to be added to them."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first one of that name."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)


class Outputs:
    """What the execution of a cell has put out so far.

    Feed it the contents of the messages; it takes any JSON, as a kernel may send what it likes.
    too_large: it has put out more than max_chars; of what came since, nothing is kept.
    """

    def __init__(self, max_chars: int = MAX_CHARS) -> None:
        self.too_large = False
        self._max_chars = max_chars
        self._size = 0
        self._clear_next = False
        self._error: str | None = None
        self._stdout = io.StringIO()  # not a list: a kernel may send characters one by one
        self._result: Bundle = {}
        self._displayed: dict[str, Any] = {}

    @property
    def failure(self) -> str | None:
        """What the client is told instead of the outputs, if the cell failed."""
        if self._error is not None:
            return self._error
        if self.too_large:
            return f"The cell put out more than {self._max_chars} characters\n"
        return None

    @property
    def stdout(self) -> str:
        return self._stdout.getvalue()

    @property
    def result(self) -> Bundle:
        """That of the last execute_result."""
        return self._result

    @property
    def shown(self) -> dict[str, Any]:
        """The data of each type: of the result, or else of the last output that was displayed in this type."""
        displayed = {name: data for name, data in self._displayed.items() if name not in self._result}
        return {name: data for name, data in {**self._result, **displayed}.items() if _MEDIA_TYPE.fullmatch(name)}

    def add(self, msg_type: str, content: Mapping[str, Any]) -> None:
        """The content of an iopub message; what is not an output is ignored."""
        if msg_type == "stream":
            self.stream(content)
        elif msg_type == "execute_result":
            self.execute_result(content)
        elif msg_type in ("display_data", "update_display_data"):
            self.display_data(content)
        elif msg_type == "error":
            self.error(content)
        elif msg_type == "clear_output":
            self.clear_output(content)

    def stream(self, content: Mapping[str, Any]) -> None:
        """Only stdout is kept, and what a kernel does not say the stream of."""
        self._start_anew()
        text = content.get("text")
        if content.get("name", "stdout") == "stdout" and isinstance(text, str) and text and self._takes(len(text)):
            self._stdout.write(text)

    def execute_result(self, content: Mapping[str, Any]) -> None:
        self._start_anew()
        data = content.get("data")
        if isinstance(data, dict) and self._takes(_size(data) - _size(self._result)):
            self._result = data

    def display_data(self, content: Mapping[str, Any]) -> None:
        """Also update_display_data: it is the last that was displayed then."""
        self._start_anew()
        data = content.get("data")
        if isinstance(data, dict):
            replaced = {name: self._displayed[name] for name in data if name in self._displayed}
            if self._takes(_size(data) - _size(replaced)):
                self._displayed.update(data)

    def error(self, content: Mapping[str, Any]) -> None:
        # What clear_output announced is not done: the outputs before an error are not sent anyway.
        self._error = error_text(str(content.get("ename", "")), str(content.get("evalue", "")))

    def reply(self, content: Mapping[str, Any]) -> None:
        """The content of the execute_reply: it tells of errors that iopub did not have, and of an abort."""
        status = content.get("status")
        if status == "error" and self._error is None:
            self.error(content)
        elif status in ("abort", "aborted"):
            self.error({"ename": "Aborted", "evalue": "The cell was not executed"})

    def clear_output(self, content: Mapping[str, Any]) -> None:
        if content.get("wait"):
            self._clear_next = True
        else:
            self._clear()

    def _clear(self) -> None:
        self._clear_next = False
        self._size = 0
        self._stdout = io.StringIO()
        self._result, self._displayed = {}, {}

    def _start_anew(self) -> None:
        if self._clear_next:
            self._clear()

    def _takes(self, size: int) -> bool:
        self._size += size
        self.too_large = self.too_large or self._size > self._max_chars
        return not self.too_large


def _size(data: Bundle) -> int:
    """In characters, as JSON, about."""
    return sum(len(name) + len(v if isinstance(v, str) else json.dumps(v)) for name, v in data.items())


def error_text(ename: str, evalue: str) -> str:
    """An error as the original words it."""
    return f"Error {ename}: {evalue} \n"


def respond(outputs: Outputs, response_info: Outputs | None = None, accept: str | None = None) -> Reply:
    """The response of a cell.

    response_info: what the cell for the status and the headers put out, if there is one.
    accept: the Accept header. It counts when it names a type that the cell has shown, or image/*.
    """
    if outputs.failure is not None:
        return _failed(outputs.failure)
    if response_info is not None and response_info.failure is not None:
        return _failed(response_info.failure)
    media_type = _explicit(outputs, Accept(accept))
    body = _default(outputs) if media_type is None else _encoded(media_type, outputs.shown[media_type])
    try:
        status, headers = (200, []) if response_info is None else _parse_info(response_info.stdout)
        if media_type is not None:  # the type that ResponseInfo tells is that of stdout, unless it is the same
            headers = [(name, value) for name, value in headers if not _is_other_type(name, value, media_type)]
        if outputs.shown:  # a cache has to know that with another Accept there is another body
            headers.append(("Vary", "Accept"))
        return _reply(status, headers, media_type or "text/plain", body)
    except _InvalidInfo as exc:
        return _failed(f"Invalid ResponseInfo: {exc}\n")


def head_reply(reply: Reply, *, of_get: bool) -> Reply:
    """The response without its body, for HEAD.

    of_get: it is the one that GET would get, so its Content-Length is true. That of a cell for HEAD itself
      tells nothing of GET's, and must not be sent (RFC 9110, 8.6).
    """
    headers = [(name, value) for name, value in reply.headers if of_get or name.lower() != "content-length"]
    return Reply(reply.status, headers, b"")


# --- the body ------------------------------------------------------------------------------------


def _default(outputs: Outputs) -> bytes:
    """The body for who names no type."""
    text = outputs.stdout
    if not text and outputs.result:
        text = json.dumps(outputs.result)
    return text.encode("utf-8", "replace")


def _explicit(outputs: Outputs, accept: Accept) -> str | None:
    """The type of those shown that the client names and likes best; None to answer as if there were no Accept."""
    anything = accept.rank("*/*")
    ranked = []
    for media_type in outputs.shown:
        name = media_type.lower()
        if name in ("text/plain", "application/json") and anything is not None:
            continue  # what clients name that take anything; axios names both
        if name == "text/plain" and outputs.stdout:
            continue  # stdout is plain text as well, and comes before the other outputs
        rank = accept.rank(name)
        if rank is None and name.startswith("image/"):
            rank = accept.rank("image/*")
        if rank is not None and rank.quality > 0:
            ranked.append((rank, media_type))
    if not ranked:
        return None
    best, chosen = max(ranked, key=lambda item: item[0])
    if anything is not None:
        return chosen if best.quality >= anything.quality else None
    plain = accept.rank("text/plain") if outputs.stdout else None
    return chosen if plain is None or best > plain else None


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


# --- ResponseInfo --------------------------------------------------------------------------------


class _InvalidInfo(Exception):
    """A ResponseInfo cell said what cannot be sent; the text is for who wrote it."""


def _parse_info(text: str) -> tuple[int, list[tuple[str, str]]]:
    """The status and the headers that a ResponseInfo cell printed. Raises _InvalidInfo."""
    try:
        info = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _InvalidInfo("it is not JSON" if text.strip() else "nothing was printed") from exc
    if not isinstance(info, dict):
        raise _InvalidInfo("it is not a JSON object")
    status = info.get("status", 200)
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise _InvalidInfo("the status is not an integer from 200 to 599")
    headers = info.get("headers", {})
    if not isinstance(headers, dict):
        raise _InvalidInfo("the headers are not an object")
    by_name: dict[str, list[tuple[str, str]]] = {}
    for name, value in headers.items():
        values = [_header(name, item) for item in (value if isinstance(value, list) else [value])]
        by_name[name.lower()] = values  # the last of those that differ in case only
    return status, [header for values in by_name.values() for header in values]


def _header(name: str, value: object) -> tuple[str, str]:
    if not _TOKEN.fullmatch(name):
        raise _InvalidInfo(f"{json.dumps(name[:100])} is not the name of a header")
    if name.lower() in _RESERVED:
        raise _InvalidInfo(f"the header {name} is the server's own")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # as the original does: notebooks print counts
    if not isinstance(value, str):
        raise _InvalidInfo(f"the header {name} is neither a string nor a list of strings")
    value = value.strip(" \t")
    if not _VALUE.fullmatch(value):
        raise _InvalidInfo(f"the header {name} has a line break, or another character that no header can have")
    return name, value


# --- the reply -----------------------------------------------------------------------------------


def _failed(message: str) -> Reply:
    return _reply(500, [], "text/plain", message.encode("utf-8", "replace"))


def _reply(status: int, headers: list[tuple[str, str]], content_type: str, body: bytes) -> Reply:
    """Raises _InvalidInfo when headers contradict the body, or themselves."""
    names = [name.lower() for name, _ in headers]
    if names.count("content-type") > 1:
        raise _InvalidInfo("there is more than one Content-Type")
    if status in _WITHOUT_CONTENT:  # and so without a length: that of a 304 would be the one of the 200
        return Reply(status, [(name, value) for name, value in headers if name.lower() != "content-length"], b"")
    if status == 205:  # has no content either, but says so (RFC 9110, 15.3.6)
        body = b""
    if any(value != str(len(body)) for name, value in headers if name.lower() == "content-length"):
        raise _InvalidInfo("the Content-Length is not that of the body")
    headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
    if "content-type" not in names:
        headers.append(("Content-Type", content_type))
    return Reply(status, [*headers, ("Content-Length", str(len(body)))], body)
