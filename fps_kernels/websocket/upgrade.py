"""The opening handshake: an HTTP request that becomes a WebSocket, or is answered with a response of its own."""

from __future__ import annotations

import email.utils
import logging
from collections.abc import Iterable
from enum import Enum, auto
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from .writer import WebSocketWriter

logger = logging.getLogger("uvicorn.error")


RawHeaders = list[tuple[bytes, bytes]]
SHORTEST_REQUEST = b"GET / HTTP/1.1\r\n\r\n"
"""What the state machine is told to have received, see `read_request`."""


def read_request(data: bytes) -> tuple[Request, RawHeaders, tuple[HTTPStatus, str] | None]:
    """A request that wants to open a WebSocket, its headers as they came, and the error to answer with if it cannot.

    data: the request, which the HTTP server has parsed already and written down again.

    The state machine's own parser is not used: it has bounds of its own, 8 KiB for a line and 128 headers, and a cookie
    of a single sign-on is longer. How long a request may be is for the HTTP server to say, for all requests alike.
    """
    first, *lines = data[: data.index(b"\r\n\r\n")].split(b"\r\n")
    method, target, _ = first.split(b" ", 2)
    raw: RawHeaders = []
    for line in lines:
        name, _, value = line.partition(b":")
        raw.append((name, value.strip()))
    headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)
    wrong = None
    if method != b"GET":
        wrong = HTTPStatus.METHOD_NOT_ALLOWED, "a WebSocket is opened with GET"
    elif "Transfer-Encoding" in headers or not set(headers.get_all("Content-Length")) <= {"0"}:
        wrong = HTTPStatus.BAD_REQUEST, "the request has a body"
    return Request(target.decode("latin-1"), headers), raw, wrong


def request_scope(request: Request, headers: RawHeaders, root_path: str) -> dict[str, Any]:
    """The part of an ASGI scope that the request determines."""
    path, _, query = request.path.partition("?")
    return {
        "type": "websocket",
        "http_version": "1.1",
        "root_path": root_path,
        "path": root_path + unquote(path),
        "raw_path": (root_path + path).encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": headers,
        "subprotocols": [
            name.strip() for value in request.headers.get_all("Sec-WebSocket-Protocol") for name in value.split(",")
        ],
    }


class UpgradeState(Enum):
    PENDING = auto()
    """The request waits for an answer."""
    DENYING = auto()
    """The application answers with an HTTP response of its own, by ASGI's extension `websocket.http.response`."""
    ACCEPTED = auto()
    REFUSED = auto()


class Upgrade:
    """The answer to a request that wants to open a WebSocket.

    acceptance: the state machine's response that opens it. scope: the ASGI scope, for the log.
    """

    def __init__(
        self, machine: ServerProtocol, writer: WebSocketWriter, acceptance: Response, scope: dict[str, Any]
    ) -> None:
        self.state = UpgradeState.PENDING
        self._machine = machine
        self._writer = writer
        self._acceptance = acceptance
        self._scope = scope
        self._status = 0
        self._headers = Headers()
        self._body = b""

    def accept(self, headers: Iterable[tuple[bytes, bytes]], subprotocol: str | None) -> None:
        """Open the WebSocket, unless the connection is being closed.

        headers: additional headers of the response, those of the server included.
        """
        self._log(logging.INFO, "[accepted]")
        if self._writer.closing:
            return
        response = self._acceptance
        del response.headers["Date"]  # the server's headers contain it, if it is wanted
        response.headers.update((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
        if subprotocol:
            response.headers["Sec-WebSocket-Protocol"] = subprotocol
        self.state = UpgradeState.ACCEPTED
        self._writer.respond(response)

    def refuse(self, status: HTTPStatus) -> None:
        """Answer with nothing but a status: 403 when the application closes the WebSocket instead of accepting it."""
        if status is HTTPStatus.FORBIDDEN:
            self._log(logging.DEBUG, status.value)
        self.state = UpgradeState.REFUSED
        self._writer.respond(self._machine.reject(status, "" if status is HTTPStatus.FORBIDDEN else status.phrase))

    def begin_denial(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin the application's own response. Raises RuntimeError when there is no such status."""
        if not 100 <= status < 600:
            raise RuntimeError(f"Invalid HTTP status code '{status}' in response.")
        self._log(logging.DEBUG, status)
        self._status = status
        self._headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
        self.state = UpgradeState.DENYING

    def continue_denial(self, body: bytes, more_body: bool) -> None:
        """Add to the body of the application's response, which is sent when it is complete."""
        self._body += body
        if more_body:
            return
        self._headers.setdefault("Date", email.utils.formatdate(usegmt=True))
        self._headers.setdefault("Connection", "close")
        self._headers.setdefault("Content-Length", str(len(self._body)))
        self._headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        try:
            phrase = HTTPStatus(self._status).phrase
        except ValueError:  # not a status that Python knows
            phrase = ""
        self.state = UpgradeState.REFUSED
        self._writer.respond(Response(self._status, phrase, self._headers, self._body))

    def _log(self, level: int, outcome: int | str) -> None:
        client = self._scope["client"]
        target = quote(self._scope["path"])
        if query := self._scope["query_string"]:
            target += f"?{query.decode('latin-1')}"
        logger.log(level, '%s - "WebSocket %s" %s', "{}:{}".format(*client) if client else "", target, outcome)
