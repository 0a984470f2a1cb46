"""When shared documents were saved, for clients that ask whether a file is still the one that they know.

A page of JupyterLab compares the hash of the file with the one that it has, and asks its user what to do if they
differ. Of a shared document that the server has saved it learns by the document; then it asks for the model, without
content and hash, and believes the save when that is answered. Asked for the hash before, the server would say a new one
that the page does not know yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

UNHEARD_S = 2.0
"""Time that a page may take to learn of a save by the document. A busy page has taken more than 0.6 s."""
HEARD_S = 0.3
"""Time from the page's request, which it makes when it has learned of the save, until it believes it."""
LOOK_S = 0.05
"""Interval between two looks whether a page has asked."""
MAX_READS = 10
"""A document is saved at most once in a second, so that the second read is good."""


class SharedSaves:
    """The last save of each shared document that was saved just now."""

    def __init__(self) -> None:
        self._settled: dict[str, float] = {}  # when the pages know of the save

    def note(self, path: str) -> None:
        """A shared document has just been saved, or read again."""
        now = asyncio.get_running_loop().time()
        self._settled = {one: settled for one, settled in self._settled.items() if settled > now}
        self._settled[path.strip("/")] = now + UNHEARD_S

    def heard(self, path: str) -> None:
        """A page asks for the model without content and hash: it does that when it learns of a save."""
        path = path.strip("/")
        if path in self._settled:
            self._settled[path] = min(self._settled[path], asyncio.get_running_loop().time() + HEARD_S)

    async def read_apart(self, path: str, read: Callable[[], Awaitable[T]]) -> T:
        """Return what `read` returns when no save came while it read, or shortly before."""
        loop = asyncio.get_running_loop()
        path = path.strip("/")
        for _ in range(MAX_READS):
            while True:  # nothing tells when a page asks
                rest = self._settled.get(path, 0.0) - loop.time()
                if rest <= 0:
                    break
                await asyncio.sleep(min(rest, LOOK_S))
            found = await read()
            if self._settled.get(path, 0.0) <= loop.time():
                return found
        return await read()
