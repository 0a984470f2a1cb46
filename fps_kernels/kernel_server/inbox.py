"""Messages for one session alone: replies, input requests, and what the server itself has to tell it. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .iopub_log import ReplayLimits


class Inbox:
    """A bounded queue of messages for one session, each with its place among the iopub messages.

    dropped: how many messages were dropped because of a bound. Reset it by what the client has been told.
    """

    def __init__(self, limits: ReplayLimits) -> None:
        self._limits = limits
        self._items: deque[tuple[int, str, Sequence[bytes]]] = deque()
        self._bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def size(self) -> int:
        """The bytes of the messages."""
        return self._bytes

    def put(self, after: int, channel: str, frames: Sequence[bytes]) -> None:
        """Add a message.

        after: its place, which is the number of the next iopub message at the time it came.
        """
        self._items.append((after, channel, frames))
        self._bytes += sum(map(len, frames))
        while len(self._items) > 1 and (
            len(self._items) > self._limits.max_messages or self._bytes > self._limits.max_bytes
        ):
            self.pop()
            self.dropped += 1

    def due(self, cursor: int) -> tuple[str, Sequence[bytes]] | None:
        """The channel and frames of the next message, if all iopub messages before it have been heard."""
        if self._items and self._items[0][0] <= cursor:
            _, channel, frames = self._items[0]
            return channel, frames
        return None

    def places(self) -> set[int]:
        """The places of all messages. iopub messages must not be merged across one of them."""
        return {after for after, _, _ in self._items}

    def next_place(self) -> int | None:
        """The place of the next message, up to which iopub messages may be read; None when the inbox is empty."""
        return self._items[0][0] if self._items else None

    def put_first(self, after: int, messages: Sequence[tuple[str, Sequence[bytes]]]) -> None:
        """Add messages before all others."""
        for channel, frames in reversed(messages):
            self._items.appendleft((after, channel, frames))
            self._bytes += sum(map(len, frames))

    def pop(self) -> tuple[str, Sequence[bytes]]:
        """Take the next message."""
        _, channel, frames = self._items.popleft()
        self._bytes -= sum(map(len, frames))
        return channel, frames

    def remove_first(self, frames: Sequence[bytes]) -> None:
        """Remove what `due` gave, which was sent. Does nothing if it was dropped or discarded meanwhile."""
        if self._items and self._items[0][2] is frames:
            self.pop()

    def move_up(self, after: int) -> None:
        """Give all messages the place `after`: the iopub messages before it will not come."""
        self._items = deque((after, channel, frames) for _, channel, frames in self._items)

    def discard(self, channel: str) -> None:
        """Forget the messages of one channel."""
        self._items = deque(item for item in self._items if item[1] != channel)
        self._bytes = sum(sum(map(len, frames)) for _, _, frames in self._items)
