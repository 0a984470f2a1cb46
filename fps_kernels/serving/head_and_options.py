"""HEAD and OPTIONS for routes that know only the method they were written for, as FastAPI's do."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .json_responses import error_response


class HeadAndOptions:
    """Middleware that answers HEAD as GET, without the body, and OPTIONS with the methods of a path.

    Monitors and proxies ask by HEAD, and read an error as a server that is down. A route that has the method itself
    keeps it: only what the application answers with 405 is answered here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        allowed = await self._passed_on(scope, receive, send)
        if allowed is None:
            return
        if scope["method"] == "OPTIONS":
            await Response(status_code=204, headers={"Allow": _with_head(allowed, "OPTIONS")})(scope, receive, send)
            return
        # Not only where Allow has GET: FastAPI names the methods of the first of several routes with one path.
        allowed = await self._passed_on({**scope, "method": "GET"}, receive, _without_body(send))
        if allowed is not None:
            await error_response(405, "HEAD is not allowed here", {"Allow": allowed})(scope, receive, send)

    async def _passed_on(self, scope: Scope, receive: Receive, send: Send) -> str | None:
        """Have the application answer, unless it says 405; the methods that it names then, else None."""
        refused: list[str] = []

        async def send_unless_refused(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                refused.append(Headers(raw=message.get("headers", [])).get("allow", ""))
            elif not refused:
                await send(message)

        await self._app(scope, receive, send_unless_refused)
        return refused[0] if refused else None


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head


def _with_head(allowed: str, *more: str) -> str:
    methods = {name.strip() for name in allowed.split(",") if name.strip()} | set(more)
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
