"""CORS as the options say: the headers of every response, and the answers to preflight requests."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.responses import security_headers


class CORSHeaders:
    """Middleware that adds the configured headers to every response, and to the acceptance of a WebSocket.

    Not Starlette's middleware, which computes its headers: Jupyter Kernel Gateway sends what the options say,
    verbatim. As there, a response with CORS headers has no content security policy; here, pages keep theirs.
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
                is_page = headers.get("content-type", "").startswith("text/html")
                if "content-security-policy" in headers and not is_page:
                    del headers["content-security-policy"]
            await send(message)

        await self._app(scope, receive, send_with_headers if self._cors else send)


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
