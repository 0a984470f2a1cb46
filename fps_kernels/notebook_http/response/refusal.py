"""A response to a request whose body has not come to its end."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..bounds import Bounds


class Refusal:
    """A response that is sent at once, but not ended before the rest of the request has come, or too much of it.

    A server that ends a response early closes the connection. Its client is then told of a reset, often instead of the
    response, because it reads that only after it has sent all.
    """

    def __init__(self, response: Response, bounds: Bounds) -> None:
        self._response = response
        self._bounds = bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = self._response.raw_headers
        with contextlib.suppress(OSError):  # the client has gone
            await send({"type": "http.response.start", "status": self._response.status_code, "headers": headers})
            await send({"type": "http.response.body", "body": self._response.body, "more_body": True})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._bounds.refused_s):
                    await self._drop_rest(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drop_rest(self, receive: Receive) -> None:
        left = self._bounds.max_refused_bytes
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body", False):
                return
