"""Requests from pages of other origins: who may send them, and the CORS headers of every response."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.responses import security_headers
from ..serving.origin import is_own_origin
from .refusals import refuse


class CORSHeaders:
    """Middleware that adds the configured headers to every response, and to the acceptance of a WebSocket.

    Not Starlette's middleware, which computes its headers: Jupyter Kernel Gateway sends what the options say,
    verbatim. As there, a response with CORS headers has no content security policy.
    """

    def __init__(self, app: ASGIApp, cors: Mapping[str, str]) -> None:
        self._app = app
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers.update(self._cors)
                if "content-security-policy" in headers:
                    del headers["content-security-policy"]
            await send(message)

        await self._app(scope, receive, send_with_headers if self._cors else send)


class OriginCheck:
    """Middleware that answers preflight requests, and refuses requests from pages of foreign origins.

    allow_origin: the origin that is allowed besides the server's own; "*" allows all.
    """

    def __init__(self, app: ASGIApp, allow_origin: str, base_url: str) -> None:
        self._app = app
        self._allow_origin = allow_origin
        self._security = security_headers(base_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            app = Response(status_code=200, headers=self._security)
        elif scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if not self._allowed(origin, headers.get("host")):
                why = f"the origin {str(origin)[:200]!r}"
                if scope["type"] == "http":
                    app = refuse(scope, 404, "Not found", why)
                else:
                    app = refuse(scope, 403, "Cross origin request refused", why)
        await app(scope, receive, send)

    def _allowed(self, origin: str | None, host: str | None) -> bool:
        """Whether a request may come in. Programs send no Origin; the server's own is always allowed."""
        if origin is None or self._allow_origin == "*":
            return True
        allowed = self._allow_origin.rstrip("/").lower()
        return (bool(allowed) and origin.rstrip("/").lower() == allowed) or is_own_origin(origin, host)
