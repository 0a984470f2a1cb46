"""Who may come in: the token, origins and CORS, before any route. One ASGI middleware.

It wraps the whole application, so that what FastAPI, a personality or the framework answers is no exception.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs, unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.responses import error_response, security_headers
from .config.settings import Access

logger = logging.getLogger(__name__)

OPEN_PATHS = ("healthz", "readyz")
"""Below the base URL; they need no token, and are the server's own."""


class AccessControl:
    """known(scope): whether some route answers this path; one that is not there is 404 for everybody.

    open_paths: of the personality, as OPEN_PATHS.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        base_url: str,
        known: Callable[[Scope], bool],
        open_paths: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._access = access
        self._open = {unquote(base_url) + path for path in (*OPEN_PATHS, *open_paths)}
        self._known = known
        self._policy = security_headers(base_url)["Content-Security-Policy"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        await (self._refusal(scope) or self._app)(scope, receive, self._with_headers(send))

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        http = scope["type"] == "http"
        if http and scope["method"] == "OPTIONS":
            return Response(status_code=200, headers={"Content-Security-Policy": self._policy})
        if not self._origin_allowed(headers):
            if http:
                return _refuse(scope, 404, "Not found", f"the origin {headers['origin'][:200]!r}")
            return _refuse(scope, 403, "Cross origin request refused", f"the origin {headers['origin'][:200]!r}")
        if not self._known(scope):
            # Starlette closes a WebSocket that no route takes, which is a 403.
            return None if http else error_response(404, f"Not found: {scope['path']}")
        if not self._token_matches(scope, headers) and scope["path"] not in self._open:
            return _refuse(scope, 401, "", "no token, or a wrong one")
        return None

    def _token_matches(self, scope: Scope, headers: Headers) -> bool:
        """A token in the URL beats the header, also when it is empty."""
        expected = self._access.token
        if not expected:
            return True
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if "token" in query:
            return hmac.compare_digest(query["token"][-1].encode(), _utf8(expected))
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ("token", "bearer"):
            return False
        # Headers have no charset of their own: curl sends what the terminal has, Tornado's client latin-1.
        data = given.strip().encode("latin-1")
        return any([hmac.compare_digest(data, form) for form in (_utf8(expected), _latin_1(expected))])

    def _origin_allowed(self, headers: Headers) -> bool:
        """Programs send no Origin. The server's own is always good, whatever allow_origin says."""
        origin = headers.get("origin")
        allowed = self._access.allow_origin
        if origin is None or allowed == "*":
            return True
        if allowed and origin.rstrip("/").lower() == allowed.rstrip("/").lower():
            return True
        try:
            netloc = urlsplit(origin).netloc
        except ValueError:  # such as http://[
            return False
        return bool(netloc) and netloc.lower() == headers.get("host", "").lower()

    def _with_headers(self, send: Send) -> Send:
        cors = self._access.cors

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                if message["type"] != "websocket.accept":
                    headers.setdefault("X-Content-Type-Options", "nosniff")
                    if headers.get("content-type", "").startswith("application/json"):
                        # What else there is are a personality's pages, and have scripts and pictures.
                        headers.setdefault("Content-Security-Policy", self._policy)
                for name, value in cors.items():
                    headers[name] = value
                if cors and "content-security-policy" in headers:
                    del headers["content-security-policy"]
            await send(message)

        return send_with_headers


def _refuse(scope: Scope, status: int, message: str, why: str) -> Response:
    """Also to the log: an operator wants to know who knocks. Without the query, which may hold a token."""
    host = (scope.get("client") or ("an unknown client",))[0]
    logger.warning("%d for %r from %s: %s", status, scope["path"], host, why)
    return error_response(status, message)


def _utf8(token: str) -> bytes:
    return token.encode(errors="surrogateescape")  # as it was on the command line


def _latin_1(token: str) -> bytes:
    try:
        return token.encode("latin-1")
    except UnicodeEncodeError:
        return _utf8(token)
