"""A response of server-sent events that ends when its client leaves, or its events do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import FPSKernelsError
from ..kernels_page.kernel_feed import HEADERS
from ..tasks import cancel_and_wait

Watch = Callable[[], AbstractContextManager[AsyncIterator[bytes]]]


class EventStream(Response):
    """Events as they come. A client that does not read keeps them waiting, one at a time.

    watch: returns a context in which the events come. It is entered when the response is sent; if there is no room
      then, the stream has no events.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            sending = asyncio.create_task(self._send_events(send), name="stream of events")
            leaving = asyncio.create_task(_wait_gone(receive), name="end of a stream's client")
            try:
                await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancel_and_wait(sending, leaving)
            if not sending.cancelled():
                sending.result()  # what has gone wrong, if anything has
        await send({"type": "http.response.body", "body": b""})

    async def _send_events(self, send: Send) -> None:
        try:
            with self._watch() as events:
                async for event in events:
                    await send({"type": "http.response.body", "body": event, "more_body": True})
        except (FPSKernelsError, OSError):  # no room any more, or the client has gone
            return


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
