"""WebSocket frames as a server receives them: whole messages taken out fast, all else left as it came. Pure.

websockets' state machine joins, cuts and copies what it gets four times. Most messages are one frame,
and need only their mask taken off; the rest (fragments, pings, closes, errors) is the state machine's.
"""

from __future__ import annotations

import struct
import sys
from typing import NamedTuple

from websockets.frames import Opcode

LARGE_BYTES = 64 * 1024
"""A piece that is written by itself: to copy it costs more."""

_TEXT = 0x81
_BINARY = 0x82
_SHORT = struct.Struct("!BB")
_MEDIUM = struct.Struct("!BBH")
_LONG = struct.Struct("!BBQ")
_PLAIN = {0x81: True, 0x82: False}
"""The first byte of a frame that is a message by itself: whether it is text."""
_FIN, _OPCODE, _CONTROL = 0x80, 0x0F, 0x08  # of the first byte
_MASKED, _LENGTH = 0x80, 0x7F  # of the second
_OPCODES = frozenset(Opcode)


def unmask(data: bytes | bytearray | memoryview, mask: bytes | bytearray) -> bytes:
    """Take the mask off what a client sent (RFC 6455, 5.3)."""
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    number = int.from_bytes(data, sys.byteorder) ^ int.from_bytes(repeated, sys.byteorder)
    return number.to_bytes(len(data), sys.byteorder)


try:
    from websockets.speedups import apply_mask  # compiled; not in the documentation, so it may be gone one day
except ImportError:
    apply_mask = unmask


def frame_header(is_text: bool, size: int) -> bytes:
    """What comes before a message of `size` bytes: one frame, unmasked, as a server sends it (RFC 6455, 5.2)."""
    opcode = _TEXT if is_text else _BINARY
    if size < 126:
        return _SHORT.pack(opcode, size)
    if size < 1 << 16:
        return _MEDIUM.pack(opcode, 126, size)
    return _LONG.pack(opcode, 127, size)


class Payload(bytearray):
    """Of a message that is large or came in pieces; unlike a bytearray, it tells when it is no longer used."""

    __slots__ = ("__weakref__",)


class WebSocketMessage(NamedTuple):
    """A message that was one frame, unmasked."""

    is_text: bool
    data: bytes | Payload


class FrameReader:
    """Splits what a client sends, from a frame's first byte on.

    max_bytes: a longer frame is left to the state machine, which refuses it; nothing is kept of it here.
    What a client says to send takes no memory before it has come.
    """

    def __init__(self, max_bytes: int | None) -> None:
        self._max_bytes = max_bytes
        self._data = memoryview(b"")  # what is yet to be read
        self._fragmented = False  # the last message is not at its end
        self._leaving = 0  # bytes of a frame yet to come that are left as they are
        self._passed = 0  # bytes of it that came
        self._payload: Payload | None = None  # of a message that is not all here
        self._missing = 0  # bytes of it
        self._mask = b""  # for the next of them
        self._is_text = False

    @property
    def fed(self) -> object:
        """Another object after each `feed`: whether anything came can be told without a note of it each time."""
        return self._data

    @property
    def unread_bytes(self) -> int:
        """Size of what was fed and not read."""
        return len(self._data)

    @property
    def partial_bytes(self) -> int:
        """Size of what was read of a frame that is not complete."""
        return self._passed if self._payload is None else len(self._payload)

    def feed(self, data: bytes) -> None:
        """What came; read it before there is more."""
        self._data = memoryview(self._data.tobytes() + data if self._data else data)

    def read(self) -> WebSocketMessage | bytes | None:
        """What is next: a message, bytes for the state machine, or None when more must come."""
        if self._payload is not None:
            return self._read_payload(self._payload)
        if not self._leaving:
            data = self._data
            if len(data) < 2:
                return None
            first, length = data[0], data[1] & _LENGTH
            if not data[1] & _MASKED or first & _OPCODE not in _OPCODES:
                return self._take(len(data))  # an error: nothing after it counts
            start = 6 if length < 126 else 8 if length == 126 else 14
            if len(data) < start - 4:
                return None
            if length > 125:
                length = int.from_bytes(data[2 : start - 4])
            fits = self._max_bytes is None or length <= self._max_bytes
            if first in _PLAIN and fits and not self._fragmented:
                if len(data) < start:
                    return None
                is_text, mask, end = _PLAIN[first], bytes(data[start - 4 : start]), start + length
                if end <= len(data) and length < LARGE_BYTES:
                    self._data = data[end:]
                    return WebSocketMessage(is_text, apply_mask(data[start:end], mask))
                self._is_text, self._mask, self._missing = is_text, mask, length
                self._payload = Payload()
                self._data = data[start:]
                return self._read_payload(self._payload)
            if not first & _CONTROL:
                self._fragmented = not first & _FIN
            self._leaving = start + length
            self._passed = 0
        left = self._take(min(self._leaving, len(self._data)))
        self._leaving -= len(left)
        self._passed = self._passed + len(left) if self._leaving else 0
        return left or None

    def _read_payload(self, payload: Payload) -> WebSocketMessage | None:
        # A piece at a time, so that it is unmasked in the processor's cache: there are 30 GB/s, and 2 beyond.
        piece = self._data[: self._missing]
        self._data = self._data[len(piece) :]
        payload += apply_mask(piece, self._mask)
        turn = len(piece) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]
        self._missing -= len(piece)
        if self._missing:
            return None
        self._payload = None
        return WebSocketMessage(self._is_text, payload)

    def _take(self, size: int) -> bytes:
        taken = self._data[:size].tobytes()
        self._data = self._data[size:]
        return taken
