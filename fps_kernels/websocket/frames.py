"""WebSocket frames, as a server writes and reads them. Pure.

websockets' state machine joins, cuts and copies what it receives four times. Most messages are a single frame and
need nothing but their mask removed, which is done here; fragments, pings, close frames and errors are passed on to
the state machine as they came.
"""

from __future__ import annotations

import struct
import sys
from typing import NamedTuple

LARGE_BYTES = 64 * 1024
"""Size from which a piece of a message is not copied: one more write costs less."""

_TEXT = 0x81
_BINARY = 0x82
_SHORT = struct.Struct("!BB")
_MEDIUM = struct.Struct("!BBH")
_LONG = struct.Struct("!BBQ")
_PLAIN = {0x81: True, 0x82: False}
"""Whether a message is text, by the first byte of the single frame that it consists of."""
_FIN, _OPCODE, _CONTROL = 0x80, 0x0F, 0x08  # in the first byte of a frame
_MASKED, _LENGTH = 0x80, 0x7F  # in the second
_OPCODES = frozenset({0x0, 0x1, 0x2, 0x8, 0x9, 0xA})  # RFC 6455, 5.2


def unmask(data: bytes | bytearray | memoryview, mask: bytes | bytearray) -> bytes:
    """Remove a client's mask from its data (RFC 6455, 5.3)."""
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    number = int.from_bytes(data, sys.byteorder) ^ int.from_bytes(repeated, sys.byteorder)
    return number.to_bytes(len(data), sys.byteorder)


try:
    from websockets.speedups import apply_mask  # compiled, but undocumented: it may disappear
except ImportError:
    apply_mask = unmask


def frame_header(is_text: bool, size: int) -> bytes:
    """The header of an unmasked frame that holds a whole message of `size` bytes (RFC 6455, 5.2)."""
    opcode = _TEXT if is_text else _BINARY
    if size < 126:
        return _SHORT.pack(opcode, size)
    if size < 1 << 16:
        return _MEDIUM.pack(opcode, 126, size)
    return _LONG.pack(opcode, 127, size)


class Lease:
    """What a large message is counted by: as long as anything of it is referred to, so is its lease."""

    __slots__ = ("__weakref__",)


class Payload(bytearray):
    """The bytes of a message that is large or arrived in pieces.

    lease: set when the message is counted.
    """

    __slots__ = ("lease",)
    lease: Lease


class LargeText(str):
    """A large text message."""

    __slots__ = ("lease",)
    lease: Lease


class WebSocketMessage(NamedTuple):
    """A message that arrived as a single frame, without its mask."""

    is_text: bool
    data: bytes | Payload


class FrameReader:
    """A parser that splits a client's bytes into messages and what is for the state machine.

    Memory is taken for what has arrived, not for what a frame's header announces.

    max_bytes: size of the longest message. A longer frame is passed on to the state machine, which refuses it.
    """

    def __init__(self, max_bytes: int | None) -> None:
        self._max_bytes = max_bytes
        self._data = memoryview(b"")  # fed and not read
        self._fragmented = False  # whether more fragments must follow
        self._to_pass = 0  # bytes of the current frame that are yet to be passed on
        self._passed = 0  # bytes of it that were passed on
        self._payload: Payload | None = None  # the beginning of a message that is still arriving
        self._missing = 0  # bytes of it that have not arrived
        self._mask = b""  # rotated, so that it fits the first of them
        self._is_text = False

    @property
    def fed(self) -> object:
        """An object that is a different one after each `feed` and `read`: tells cheaply whether anything arrived."""
        return self._data

    @property
    def unread_bytes(self) -> int:
        """Number of bytes that were fed and not read."""
        return len(self._data)

    @property
    def partial_bytes(self) -> int:
        """Number of bytes that were read of a frame whose end has not arrived."""
        return self._passed if self._payload is None else len(self._payload)

    @property
    def unfinished_bytes(self) -> int:
        """Number of bytes that were fed and do not belong to what was read completely."""
        return len(self._data) + (self._passed if self._payload is None else len(self._payload))

    def feed(self, data: bytes) -> None:
        """Add received bytes. Read until None before feeding more, or they are copied."""
        self._data = memoryview(self._data.tobytes() + data if self._data else data)

    def read(self) -> WebSocketMessage | bytes | None:
        """The next message, or bytes for the state machine; None until more arrives."""
        if self._payload is not None:
            return self._read_payload(self._payload)
        if not self._to_pass:
            data = self._data
            if len(data) < 2:
                return None
            first, length = data[0], data[1] & _LENGTH
            if not data[1] & _MASKED or first & _OPCODE not in _OPCODES:
                return self._take(len(data))  # an error: what follows does not matter
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
            self._to_pass = start + length
            self._passed = 0
        passed = self._take(min(self._to_pass, len(self._data)))
        self._to_pass -= len(passed)
        self._passed = self._passed + len(passed) if self._to_pass else 0
        return passed or None

    def _read_payload(self, payload: Payload) -> WebSocketMessage | None:
        # Piece by piece as it arrives, while it is in the processor's cache: 30 GB/s there, 2 GB/s outside of it.
        piece = self._data[: self._missing]
        self._data = self._data[len(piece) :]
        payload += apply_mask(piece, self._mask)
        shift = len(piece) % 4
        self._mask = self._mask[shift:] + self._mask[:shift]
        self._missing -= len(piece)
        if self._missing:
            return None
        self._payload = None
        return WebSocketMessage(self._is_text, payload)

    def _take(self, size: int) -> bytes:
        taken = self._data[:size].tobytes()
        self._data = self._data[size:]
        return taken
