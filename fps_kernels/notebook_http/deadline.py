"""How long a request may take: until its time is over, or until its client has disconnected."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from ..tasks import cancel_and_wait

T = TypeVar("T")


class ClientDisconnected(Exception):
    """The client has hung up before its request was answered."""


class RequestDeadline:
    """The deadline of a request, which begins now.

    timeout_s: seconds from now; 0 for no deadline.
    at: the deadline on the clock of the event loop, or None.
    """

    def __init__(self, request: Request, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.at = asyncio.get_running_loop().time() + timeout_s if timeout_s else None
        self._request = request

    async def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, and cancel it when the deadline passes or the client disconnects.

        The body of the request must have been read. Raises ClientDisconnected, TimeoutError.
        """
        working = asyncio.create_task(work, name="request")
        disconnecting = asyncio.create_task(self._disconnected(), name="client")
        left_s = None if self.at is None else max(0.0, self.at - asyncio.get_running_loop().time())
        try:
            # Not asyncio.timeout: in its last moment it can cancel work that has just succeeded, and a kernel be lost.
            await asyncio.wait([working, disconnecting], timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if disconnecting.done():
                raise ClientDisconnected
            raise TimeoutError
        finally:
            await cancel_and_wait(working, disconnecting)

    async def _disconnected(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
