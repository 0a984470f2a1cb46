"""Read: the body of a request, within the bounds of memory and time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from ...api.json_body import read_body
from ...errors import QueueFull
from ..deadline import RequestDeadline


class BodyReader:
    """Reads the bodies of requests, and bounds their size.

    max_bytes: the largest body.
    max_total_bytes: the bodies of all requests under way, together.
    """

    def __init__(self, max_bytes: int, max_total_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._total_bytes = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request, deadline: RequestDeadline) -> AsyncIterator[bytes]:
        """The body of a request, which counts until the context is left.

        Raises BodyTooLarge, QueueFull, TimeoutError, and Starlette's ClientDisconnect.
        """
        async with asyncio.timeout_at(deadline.at):
            body = await read_body(request, self._max_bytes)
        if self._total_bytes + len(body) > self._max_total_bytes:
            raise QueueFull("Too much data is waiting for a kernel")
        self._total_bytes += len(body)
        try:
            yield body
        finally:
            self._total_bytes -= len(body)
