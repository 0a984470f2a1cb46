"""Read: the body of a request, within the bounds of memory and time."""

from __future__ import annotations

import asyncio
import math
import sys

from starlette.requests import Request

from ...api.json_body import check_encoding
from ...errors import BodyTooLarge, ClientError, QueueFull
from ..bounds import Bounds
from ..deadline import RequestDeadline

MAX_LENGTH_DIGITS = 18
"""Digits of a Content-Length that is looked at."""


class BodyTooSlow(ClientError):
    """The body of a request comes too slowly: it would keep its memory from others."""

    status = 408


class Body:
    """The body of a request, which counts until it is released.

    data: what has come so far.
    """

    def __init__(self, reader: BodyReader) -> None:
        self.data = bytearray()
        self._reader = reader
        self._counted = 0

    def count(self, size: int) -> None:
        """Have at least `size` bytes counted. Raises QueueFull when that is too much for the server."""
        more = size - self._counted
        if more > 0:
            self._reader.take(more)
            self._counted = size

    def release(self) -> None:
        """Count no more. May be called twice."""
        self._reader.total_bytes -= self._counted
        self._counted = 0


class BodyReader:
    """Reads the bodies of requests, and bounds their size.

    A body counts from the head of its request on, until it has been handed to a kernel: with what its Content-Length
    says, or with what has come of it if that is more.

    max_bytes: the largest body.
    total_bytes: what the bodies of all requests count now.
    """

    def __init__(self, max_bytes: int, bounds: Bounds) -> None:
        self.total_bytes = 0
        self._max_bytes = max_bytes
        self._bounds = bounds

    def take(self, size: int) -> None:
        """Count so many bytes. Raises QueueFull when that is too much."""
        if self.total_bytes + size > self._bounds.max_bodies_bytes:
            raise QueueFull("Too much data is waiting for a kernel")
        self.total_bytes += size

    async def read(self, request: Request, deadline: RequestDeadline) -> Body:
        """The body of a request, to be released; if this fails, nothing counts.

        Raises BodyTooLarge, CompressedBody, BodyTooSlow, QueueFull, TimeoutError, and Starlette's ClientDisconnect.
        """
        check_encoding(request.headers)
        body = Body(self)
        try:
            self._count(body, _content_length(request))
            await self._receive(body, request, deadline)
        except BaseException:
            body.release()
            raise
        return body

    async def _receive(self, body: Body, request: Request, deadline: RequestDeadline) -> None:
        start = asyncio.get_running_loop().time()
        at = math.inf if deadline.at is None else deadline.at
        bounds = self._bounds
        try:
            async with asyncio.timeout_at(min(at, start + bounds.body_grace_s)) as timeout:
                async for chunk in request.stream():
                    self._count(body, len(body.data) + len(chunk))
                    body.data += chunk
                    due = start + bounds.body_grace_s + len(body.data) / bounds.min_body_bytes_per_s
                    timeout.reschedule(min(at, due))
        except TimeoutError:
            if asyncio.get_running_loop().time() >= at:
                raise
            raise BodyTooSlow(
                f"The body comes too slowly: after {bounds.body_grace_s:g} s, at less than "
                f"{bounds.min_body_bytes_per_s} bytes per second"
            ) from None

    def _count(self, body: Body, size: int) -> None:
        if size > self._max_bytes:
            raise BodyTooLarge(f"The body is larger than {self._max_bytes} bytes, the server's max_body_bytes")
        body.count(size)


def _content_length(request: Request) -> int:
    """What a request says of its body's size; 0 if nothing that makes sense."""
    text = request.headers.get("content-length", "")
    if not (text.isascii() and text.isdecimal()):
        return 0
    return int(text[-MAX_LENGTH_DIGITS:]) if len(text.lstrip("0")) <= MAX_LENGTH_DIGITS else sys.maxsize
