"""The first request to a server, by which it is known to be up."""

from __future__ import annotations

from collections.abc import Callable


class FirstRequest:
    """Calls back when the first request comes, before it is answered."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    async def note(self) -> None:
        """To be awaited before each request is answered."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
