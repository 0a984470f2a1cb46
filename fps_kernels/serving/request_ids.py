"""Ids of requests: each comes from a proxy in front, as X-Request-ID, or is made here, and is sent back."""

from __future__ import annotations

import re
import uuid
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .log_context import LogContext, enter

HEADER = "X-Request-ID"
VALID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
"""An id that is taken over from a client; others are replaced."""
KERNEL_PATH = re.compile(r"/api/kernels/([A-Za-z0-9_-]{1,100})(/channels)?(?=/|$)")


class RequestIds:
    """An application whose requests have ids, in its log and in its answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if VALID.fullmatch(given) else uuid.uuid4().hex
        found = KERNEL_PATH.search(scope["path"])
        context = LogContext(request_id, found[1] if found else "")
        if found and found[2]:
            context.session_id = parse_qs(scope["query_string"].decode("latin-1")).get("session_id", [""])[0]
        header = (HEADER.lower().encode(), request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        leave = enter(context)
        try:
            await self._app(scope, receive, send_with_id if scope["type"] == "http" else send)
        finally:
            leave()
