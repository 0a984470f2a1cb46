"""The events of a page of kernels, as the page gets them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from .client import Client
from .messages import Json

EVENTS = "/kernels/events"


class PageEvents:
    """An open stream.

    server, kernels, sessions: what the page knows by now. samples: how many have come. ended: whether the server
    has ended the stream.
    """

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.server: Json = {}
        self.kernels: dict[str, Json] = {}
        self.sessions: dict[str, list[Json]] = {}
        self.samples = 0
        self.ended = False
        self._lines = response.aiter_lines()

    async def next(self) -> None:
        """Take in the next event."""
        name = ""
        with contextlib.suppress(httpx.RemoteProtocolError):  # a server that ends without a word
            async for line in self._lines:
                kind, _, value = line.partition(": ")
                if kind == "event":
                    name = value
                elif kind == "data":
                    self._take(name, json.loads(value))
                    return
        self.ended = True

    def _take(self, name: str, data: Json) -> None:
        if name == "server":
            self.server = data
            return
        assert name == "kernels"
        self.samples += 1
        if data["all"]:
            self.kernels, self.sessions = {}, {}
        self.kernels |= data["kernels"]
        self.sessions |= data["sessions"]
        for kernel_id in data["gone"]:
            del self.kernels[kernel_id]
            self.sessions.pop(kernel_id, None)

    async def until(self, condition: Callable[[PageEvents], Any], timeout_s: float = 60) -> Any:
        """Take in events until the condition is true, and return what it is then."""
        async with asyncio.timeout(timeout_s):
            while not (found := condition(self)):
                assert not self.ended, "the stream has ended"
                await self.next()
            return found

    async def until_kernel(self, kernel_id: str, condition: Callable[[Json], Any], timeout_s: float = 60) -> Json:
        """Take in events until a kernel is shown that fulfils the condition."""
        await self.until(lambda page: kernel_id in page.kernels and condition(page.kernels[kernel_id]), timeout_s)
        return self.kernels[kernel_id]

    async def until_ended(self, timeout_s: float = 60) -> None:
        async with asyncio.timeout(timeout_s):
            while not self.ended:
                await self.next()


@contextlib.asynccontextmanager
async def watching(client: Client, **headers: str) -> AsyncIterator[PageEvents]:
    """A stream of events. Whoever is refused has only the response."""
    async with client.http.stream("GET", EVENTS, headers=headers) as response:
        page = PageEvents(response)
        if response.status_code != 200:
            await response.aread()
        yield page
