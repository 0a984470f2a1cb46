"""Messages that are sent to a client together, in the form that its transport takes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from .frames import LARGE_BYTES, frame_header

OutgoingMessage = str | bytes
"""A WebSocket message to a client: text or binary."""

IncomingMessage = str | bytes | bytearray
"""A WebSocket message from a client. It must not be changed."""

Chunks = tuple[bool, Sequence[bytes]]
"""A message that is not joined yet: whether it is text (then encoded as UTF-8), and its bytes in pieces."""


class FrameBatch:
    """A sequence of messages, encoded only once for all clients that get them."""

    __slots__ = ("_buffers", "_joined", "messages")

    def __init__(self, messages: Sequence[Chunks]) -> None:
        self.messages = messages
        self._joined: list[OutgoingMessage] | None = None
        self._buffers: list[bytes] | None = None

    def __len__(self) -> int:
        """The number of messages."""
        return len(self.messages)

    def joined(self) -> list[OutgoingMessage]:
        """The messages, for a transport that takes one at a time."""
        if self._joined is None:
            self._joined = [
                b"".join(pieces).decode() if is_text else b"".join(pieces) for is_text, pieces in self.messages
            ]
        return self._joined

    def buffers(self) -> list[bytes]:
        """The messages as WebSocket frames, for a transport that takes bytes.

        Small pieces share a buffer; a large one is a buffer by itself, not copied.
        """
        if self._buffers is None:
            self._buffers = []
            small: list[bytes] = []
            for is_text, pieces in self.messages:
                size = sum(map(len, pieces))
                small.append(frame_header(is_text, size))
                if size < LARGE_BYTES:
                    small += pieces
                    continue
                for piece in pieces:
                    if len(piece) < LARGE_BYTES:
                        small.append(piece)
                    else:
                        self._buffers += (b"".join(small), piece)
                        small.clear()
            if small:
                self._buffers.append(b"".join(small))
        return self._buffers
