"""The base URL, which all paths begin with and no route knows."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

from ..api.responses import error_response


class BelowBaseUrl:
    """Middleware that answers 404 outside of the base URL, and hides it from the routes."""

    def __init__(self, app: ASGIApp, base_url: str) -> None:
        self._app = app
        self._root_path = unquote(base_url).rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] in ("http", "websocket"):
            if f"{scope['path']}/".startswith(f"{self._root_path}/"):
                scope = {**scope, "root_path": self._root_path}
            else:
                app = error_response(404, f"Not found: {scope['path']}")
        await app(scope, receive, send)
