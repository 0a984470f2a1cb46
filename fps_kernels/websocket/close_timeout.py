"""The end of a connection whose client reads nothing any more: closing it would wait for ever."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows
    ioctl = None  # type: ignore[assignment]

STUCK_S = 5.0
"""Without a byte that a client takes, until its connection is given up; one that reads slowly keeps it."""


class CloseTimeout:
    """Aborts a transport that was closed, when nothing of what was written to it leaves."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """From now on; may be called again, and before the transport is closed."""
        if self._timer is None:
            self._look_again(self._unsent_bytes())

    def end(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_again(self, unsent: int) -> None:
        self._timer = self._loop.call_later(STUCK_S, self._look, unsent)

    def _look(self, before: int) -> None:
        unsent = self._unsent_bytes()
        if self._transport.is_closing() and unsent >= before:
            self._transport.abort()
        else:
            self._look_again(unsent)

    def _unsent_bytes(self) -> int:
        """With what the system has: it takes more only when a third of its megabytes has left, too rarely."""
        size = self._transport.get_write_buffer_size()
        if ioctl is not None:
            with suppress(OSError, ValueError):  # not every system tells it of a socket
                socket = self._transport.get_extra_info("socket")
                size += int.from_bytes(ioctl(socket.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
        return size
