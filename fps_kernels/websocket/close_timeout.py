"""The time that a client has to take what was written before its connection closed."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows
    ioctl = None  # type: ignore[assignment]


class CloseTimeout:
    """Aborts a closed transport when its client takes nothing more of what was written.

    stuck_s: seconds without a single byte taken; a client that reads slowly keeps its connection.
    also_open: whether to abort a transport that is not closed, too.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, stuck_s: float, *, also_open: bool = False
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._stuck_s = stuck_s
        self._also_open = also_open
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch from now on. May be called repeatedly, and before the transport is closed."""
        if self._timer is None:
            self._check_later(self._unsent_bytes())

    def cancel(self) -> None:
        """The connection is gone, or is not to be watched for now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_later(self, unsent: int) -> None:
        self._timer = self._loop.call_later(self._stuck_s, self._check, unsent)

    def _check(self, before: int) -> None:
        unsent = self._unsent_bytes()
        if unsent >= before and (self._also_open or self._transport.is_closing()):
            self._transport.abort()
        else:
            self._check_later(unsent)

    def _unsent_bytes(self) -> int:
        """Bytes that the client has not acknowledged, including those in the system's send buffer.

        The transport's own buffer moves only once a third of the system's has drained, too coarse to tell slow
        from stuck.
        """
        size = self._transport.get_write_buffer_size()
        if ioctl is not None:
            with suppress(OSError, ValueError):  # not every system reports it for a socket
                socket = self._transport.get_extra_info("socket")
                size += int.from_bytes(ioctl(socket.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
        return size
