"""When shared documents were saved, for clients that ask whether a file is still the one that they know.

A page of JupyterLab compares the hash of the file with the one that it has, and asks its user what to do if they
differ. Of a shared document that the server has saved it learns by the document; then it asks for the model, without
content, hash, type and format, and believes the save when that is answered. Asked for the hash before, the server would
say a new one that the page does not know yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

UNHEARD_S = 2.0
"""Time that a page may take to learn of a save by the document. A busy page has taken more than 0.6 s."""
HEARD_S = 0.3
"""Time from the page's request, which it makes when it has learned of the save, until it believes it."""
LEAST_S = 0.6
"""Time that is waited after a save in any case: a request may be for another reason."""
LOOK_S = 0.05
"""Interval between two looks whether a page has asked."""
MAX_READS = 10
"""A document is saved at most once in a second, so that the second read is good."""


@dataclass(slots=True)
class _Saves:
    """When a document was saved without a request since, and the last save and the last request there were."""

    unheard: list[float] = field(default_factory=list)
    last: float = 0.0
    heard: float = 0.0

    def settled(self, now: float) -> float:
        """When the pages know of the last save, as far as is known now."""
        if unheard := [one for one in self.unheard if one + UNHEARD_S > now]:
            return unheard[-1] + UNHEARD_S
        return max(self.heard + HEARD_S, self.last + LEAST_S)


class SharedSaves:
    """The last saves of each shared document that was saved just now."""

    def __init__(self) -> None:
        self._saves: dict[str, _Saves] = {}

    def note(self, path: str) -> None:
        """A shared document has just been saved, or read again."""
        now = asyncio.get_running_loop().time()
        self._saves = {one: saves for one, saves in self._saves.items() if saves.settled(now) > now}
        saves = self._saves.setdefault(path.strip("/"), _Saves())
        saves.unheard = [*(one for one in saves.unheard if one + UNHEARD_S > now), now]
        saves.last = now

    def heard(self, path: str) -> None:
        """A page asks for the model without content, hash, type and format: it does that when it learns of a save."""
        saves = self._saves.get(path.strip("/"))
        if saves is not None and saves.unheard:
            saves.unheard.pop(0)
            saves.heard = asyncio.get_running_loop().time()

    def _rest(self, path: str) -> float:
        """Seconds until the pages know of the last save, as far as is known now."""
        now = asyncio.get_running_loop().time()
        saves = self._saves.get(path)
        return 0.0 if saves is None else saves.settled(now) - now

    async def read_apart(self, path: str, read: Callable[[], Awaitable[T]]) -> T:
        """Return what `read` returns when no save came while it read, or shortly before."""
        path = path.strip("/")
        for _ in range(MAX_READS):
            while True:  # nothing tells when a page asks
                rest = self._rest(path)
                if rest <= 0:
                    break
                await asyncio.sleep(min(rest, LOOK_S))
            found = await read()
            if self._rest(path) <= 0:
                return found
        return await read()
