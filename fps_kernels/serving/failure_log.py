"""A line in the log for each request that fails, whoever answers it, and not one for each of thousands."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access.refusal_log import RefusalLog, is_logged_already


class FailureLog:
    """Middleware that logs the status of answers that are errors, without the query, unless a line says more."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_and_log(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400 and not is_logged_already(scope):
                self._log.refused(scope, message["status"], f"answer to {scope['method']}")
            await send(message)

        await self._app(scope, receive, send_and_log)
