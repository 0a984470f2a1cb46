"""A line in the log for each request that fails, whoever answers it, and not one for each of thousands."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access.refusal_log import RefusalLog, follow_refusals

ANSWERS = ("http.response.start", "websocket.accept", "websocket.close", "websocket.http.response.start")


class FailureLog:
    """Middleware that logs the status of answers that are errors, without the query, unless a line says more."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        asked = scope.get("method", "a WebSocket")
        logged = follow_refusals(scope)
        answered = False

        async def send_and_log(message: Message) -> None:
            nonlocal answered
            if not answered and message["type"] in ANSWERS:
                answered = True
                status = 403 if message["type"] == "websocket.close" else message.get("status", 0)
                if status >= 400 and not logged:
                    self._log.refused(scope, status, f"answer to {asked}")
            await send(message)

        await self._app(scope, receive, send_and_log)
