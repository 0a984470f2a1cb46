"""How long a request may wait: until its time is over, or whoever asked has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

T = TypeVar("T")


class ClientDisconnected(Exception):
    """Whoever asked has hung up."""


class RequestDeadline:
    """timeout_s: from now; 0: none. deadline: when that is, None: never; on the loop's clock."""

    def __init__(self, request: Request, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._request = request
        self.at = asyncio.get_running_loop().time() + timeout_s if timeout_s else None

    async def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, which is cancelled at the deadline. Raises ClientDisconnected, TimeoutError.

        For requests whose body has been read.
        """
        working = asyncio.create_task(work, name="request")
        gone = asyncio.create_task(self._disconnect(), name="client")
        try:
            # Not asyncio.timeout: at its very end it may cancel what has just succeeded, and a kernel be lost.
            await asyncio.wait([working, gone], timeout=self._left_s(), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if gone.done():
                raise ClientDisconnected
            raise TimeoutError
        finally:
            working.cancel()
            gone.cancel()
            await asyncio.gather(working, gone, return_exceptions=True)

    def _left_s(self) -> float | None:
        return None if self.at is None else max(0.0, self.at - asyncio.get_running_loop().time())

    async def _disconnect(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
