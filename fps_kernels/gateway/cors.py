"""CORS as the options say: the headers of every response, and the answers to preflight requests."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.responses import security_headers
from ..serving.origin import AllowedOrigins

ALLOW_ORIGIN = "Access-Control-Allow-Origin"
ASKS_FOR_NETWORK = "access-control-request-private-network"


class CORSHeaders:
    """Middleware that adds the configured headers to every response, and to the acceptance of a WebSocket.

    Not Starlette's middleware, which computes its headers: Jupyter Kernel Gateway sends what the options say,
    verbatim. As there, JSON with CORS headers has no content security policy, which it has no use for. The original
    drops that of all responses, as it has no others; what a browser may show, as pages and pictures, keeps it here.

    An origin that only a pattern allows is named to its own pages, as Jupyter Server does: no header has patterns.

    origins: the origins whose pages may use the server.
    """

    def __init__(self, app: ASGIApp, cors: Mapping[str, str], origins: AllowedOrigins) -> None:
        self._app = app
        self._cors = cors
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        by_pattern = self._origins.pattern is not None and ALLOW_ORIGIN not in self._cors

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers.update(self._cors)
                request = Headers(scope=scope)
                origin = request.get("origin", "")
                if by_pattern:
                    headers.add_vary_header("Origin")
                    if self._origins.allows(origin):
                        headers[ALLOW_ORIGIN] = origin
                # Of a page of the internet that asks for a server of this machine or its network.
                if request.get(ASKS_FOR_NETWORK) == "true" and self._origins.allows(origin):
                    headers["Access-Control-Allow-Private-Network"] = "true"
                if self._cors and "content-security-policy" in headers and _shows_nothing(headers):
                    del headers["content-security-policy"]
            await send(message)

        await self._app(scope, receive, send_with_headers if self._cors or by_pattern else send)


def _shows_nothing(headers: Headers) -> bool:
    """Whether a response is JSON, or has no body: nothing that a policy is about."""
    return headers.get("content-type", "").partition(";")[0].strip() in ("", "application/json")


class Preflights:
    """Middleware that answers OPTIONS, which browsers send without credentials. CORS headers say what may follow."""

    def __init__(self, app: ASGIApp, base_url: str) -> None:
        self._app = app
        self._security = security_headers(base_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            await Response(status_code=200, headers=self._security)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
