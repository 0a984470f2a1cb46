"""The headers that keep browsers from running what they should not, in every response."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

USER_CONTENT_POLICY = "sandbox allow-scripts; frame-ancestors 'self'"
"""For what users have put there: a page of theirs runs, but not as a page of this server."""


def api_policy(base_url: str) -> str:
    """The content security policy of JSON: nothing in it is run or loaded."""
    return f"{page_policy(base_url)}; default-src 'none'"


def page_policy(base_url: str) -> str:
    """The content security policy of pages: no other site may show them in a frame."""
    return f"frame-ancestors 'self'; report-uri {base_url}api/security/csp-report"


class PageHeaders:
    """Middleware that adds these headers to the responses of the server, of its plugins and of the framework.

    A response's own headers win.

    user_content: the beginnings of the paths of users' own files.
    referrer: what a browser tells the sites that a page leads to; see Referrer-Policy.
    """

    def __init__(
        self, app: ASGIApp, base_url: str, *, user_content: Collection[str] = (), referrer: str = "same-origin"
    ) -> None:
        self._app = app
        self._api_policy = api_policy(base_url)
        self._page_policy = page_policy(base_url)
        self._user_content = tuple(user_content)
        self._referrer = referrer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", self._referrer)
                headers.setdefault("Content-Security-Policy", self._policy(scope["path"], headers))
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] in ("http", "websocket") else send)

    def _policy(self, path: str, headers: MutableHeaders) -> str:
        if self._user_content and path.startswith(self._user_content):
            return USER_CONTENT_POLICY
        is_json = headers.get("content-type", "").startswith("application/json")
        return self._api_policy if is_json else self._page_policy
