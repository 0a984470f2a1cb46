"""What waits to be sent to a kernel that is not ready yet. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import QueueFull
from .message import Buffer, peek_msg_id


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

    def drop(self, msg_ids: Collection[str] | None) -> None:
        """Drop the messages with these ids; None for all."""
        for channel, frames in self.take_all():
            if msg_ids is not None and peek_msg_id(bytes(frames[0])) not in msg_ids:
                self.put(channel, frames)
