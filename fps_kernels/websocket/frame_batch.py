"""Messages that go to a client together, in the form that its transport takes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from .frames import LARGE_BYTES, frame_header

OutgoingMessage = str | bytes
"""A message of a WebSocket: text or binary."""

IncomingMessage = str | bytes | bytearray
"""The same from a client; nobody changes it."""

Chunks = tuple[bool, Sequence[bytes]]
"""The same before it is put together: whether it is text, which is UTF-8 then, and its bytes in pieces."""


class FrameBatch:
    """Some messages in order; put together once, for all clients who get them."""

    __slots__ = ("_buffers", "_joined", "messages")

    def __init__(self, messages: Sequence[Chunks]) -> None:
        self.messages = messages
        self._joined: list[OutgoingMessage] | None = None
        self._buffers: list[bytes] | None = None

    def __len__(self) -> int:
        """How many messages."""
        return len(self.messages)

    def joined(self) -> list[OutgoingMessage]:
        """For a transport that takes one message after the other."""
        if self._joined is None:
            self._joined = [
                b"".join(pieces).decode() if is_text else b"".join(pieces) for is_text, pieces in self.messages
            ]
        return self._joined

    def buffers(self) -> list[bytes]:
        """For a transport that takes bytes: WebSocket frames, in as few buffers as is good."""
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
