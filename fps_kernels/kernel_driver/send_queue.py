"""What waits to be sent to a kernel that is not ready yet. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import QueueFull
from .message import Buffer


class SendQueue:
    """A bounded queue of messages, each with its channel."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: list[tuple[str, Sequence[Buffer]]] = []
        self._bytes = 0

    def put(self, channel: str, frames: Sequence[Buffer]) -> None:
        """Add a message. Raises QueueFull."""
        size = sum(map(len, frames))
        if len(self._messages) >= self._max_messages or self._bytes + size > self._max_bytes:
            raise QueueFull("The kernel is not ready yet, and too much waits for it")
        self._messages.append((channel, frames))
        self._bytes += size

    def take_all(self) -> list[tuple[str, Sequence[Buffer]]]:
        """Empty the queue; returns what was in it, oldest first."""
        messages, self._messages, self._bytes = self._messages, [], 0
        return messages
