"""Ids of requests: each comes from a proxy in front, as X-Request-ID, or is made here, and is sent back."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .log_context import LogContext, enter

HEADER = "X-Request-ID"
TRACE_PARENT = "traceparent"
"""Where a request says which trace it is part of. Source: W3C, Trace Context."""
VALID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
"""An id that is taken over from a client; others are replaced."""
KERNEL_PATH = re.compile(r"/api/kernels/([A-Za-z0-9_-]{1,100})(/channels)?(?=/|$)")


class RequestIds:
    """An application whose requests have ids, in its log and in its answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Not a coroutine: each message of a WebSocket would have one more to pass through."""
        if scope["type"] not in ("http", "websocket"):
            return self._app(scope, receive, send)
        headers = Headers(scope=scope)
        given = headers.get(HEADER, "")
        found = KERNEL_PATH.search(scope["path"])
        context = LogContext(given if VALID.fullmatch(given) else uuid.uuid4().hex, found[1] if found else "")
        context.trace_parent = headers.get(TRACE_PARENT, "")
        if found and found[2]:
            context.session_id = parse_qs(scope["query_string"].decode("latin-1")).get("session_id", [""])[0]
        task = asyncio.current_task()  # of this request alone
        assert task is not None
        enter(context)
        task.add_done_callback(context.end)
        return self._app(scope, receive, send if scope["type"] == "websocket" else _with_id(send, context.request_id))


def _with_id(send: Send, request_id: str) -> Send:
    """A `send` that tells the client the id of its request."""

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (HEADER.lower().encode(), request_id.encode())]
        await send(message)

    return send_with_id
