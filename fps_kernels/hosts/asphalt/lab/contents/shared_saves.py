"""When shared documents were saved, for clients that ask whether a file is still the one that they know.

A page of JupyterLab compares the hash of the file with the one that it has, and asks its user what to do if they
differ. Of a shared document that the server has saved it learns by the document, and believes it after one more
request. Asked for the hash in between, the server would say a new one that the page does not know yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

SETTLE_S = 0.6
"""Time that a page may take to learn of a save: more than a request and an answer take from afar, or a busy page."""
MAX_READS = 10
"""A document is saved at most once in a second, so that the second read is good."""


class SharedSaves:
    """The last save of each shared document that was saved just now."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def note(self, path: str) -> None:
        """A shared document has just been saved, or read again."""
        now = asyncio.get_running_loop().time()
        self._last = {one: last for one, last in self._last.items() if now - last < SETTLE_S}
        self._last[path.strip("/")] = now

    async def read_apart(self, path: str, read: Callable[[], Awaitable[T]]) -> T:
        """Return what `read` returns when no save came while it read, or shortly before."""
        loop = asyncio.get_running_loop()
        path = path.strip("/")
        for _ in range(MAX_READS):
            last = self._last.get(path)
            if last is not None and (rest := last + SETTLE_S - loop.time()) > 0:
                await asyncio.sleep(rest)
                continue
            found = await read()
            if self._last.get(path) == last:
                return found
        return await read()
