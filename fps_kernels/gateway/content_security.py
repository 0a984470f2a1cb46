"""The headers that keep browsers from running what the server answers."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.responses import security_headers


class SecurityHeaders:
    """Middleware that adds the headers of the API's own responses to those of a personality and the framework.

    Pages of a personality get no content security policy: they have scripts and images.
    """

    def __init__(self, app: ASGIApp, base_url: str) -> None:
        self._app = app
        self._csp = security_headers(base_url)["Content-Security-Policy"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                if headers.get("content-type", "").startswith("application/json"):
                    headers.setdefault("Content-Security-Policy", self._csp)
            await send(message)

        await self._app(scope, receive, send_with_headers)
