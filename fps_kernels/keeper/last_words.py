"""The sockets of servers' clients: each is closed in order when its server is killed, so that its last words arrive.

When a process is killed, the system closes its sockets. What it still has for a client is sent all the same, but not
if the client has sent something that nobody has read, or sends something now: that is answered by a reset, which throws
away what the systems on both sides hold. So servers hand duplicates of their clients' sockets to the keeper. A socket
is closed only with its last duplicate: the keeper takes what the client still sends, waits until the client's system
has all that there is for it, and ends the connection then.

Servers connect to a socket of its own for that, and write messages of MESSAGE_BYTES: what is to be done, and a number
that the server has chosen for the client's socket.

    HAND_OVER   a descriptor comes with it
    TAKE_BACK   the server is about to close the socket itself
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
import time
from collections.abc import Callable

from ..descriptors import add_reader, remove_reader
from ..tasks import TaskSet
from .peer import is_own

MESSAGE = struct.Struct("!cQ")
HAND_OVER, TAKE_BACK = b"+", b"-"
MAX_SOCKETS = 10_000
"""Sockets of one server that are held; others are closed with it."""
MAX_MESSAGES = 256
"""Messages of one server that are read before others have their turn."""
DRAIN_S = 5.0
"""Seconds for which a client's system has to take what there is for it."""
CLOSE_S = 1.0
"""Seconds after that in which a client may close the connection, too."""
LOOK_S, LOOK_MAX_S = 0.005, 0.1
"""First interval between two looks at a socket, which is doubled up to the longest."""
RETRY_S = 1.0
"""Seconds after which a server that could not be accepted is accepted."""
DISCARD_BYTES = 65_536


class LastWords:
    """Where servers hand in their clients' sockets."""

    def __init__(self) -> None:
        self._listening: socket.socket | None = None
        self._servers: set[_Server] = set()
        self._ends = TaskSet()

    def listen(self, listening: socket.socket) -> None:
        """Take what servers hand in from now on. listening: a Unix socket that only this user can connect to."""
        self._listening = listening
        add_reader(asyncio.get_running_loop(), listening.fileno(), self._accept)

    def _accept(self) -> None:
        assert self._listening is not None
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return
        except OSError:  # such as for want of descriptors, which does not change at once
            loop = asyncio.get_running_loop()
            remove_reader(loop, self._listening.fileno())
            loop.call_later(RETRY_S, self._go_on)
            return
        connection.setblocking(False)
        if not is_own(connection):
            connection.close()
            return
        self._servers.add(_Server(connection, self._on_end))

    def _go_on(self) -> None:
        if self._listening is not None:
            self.listen(self._listening)

    def _on_end(self, server: _Server) -> None:
        """A server is gone, and has left sockets."""
        self._servers.discard(server)
        for sock in server.sockets.values():
            self._ends.start(end(sock), name="end of a client's connection")

    async def close(self) -> None:
        """Let go of everything: servers close their clients' sockets themselves."""
        if self._listening is not None:
            remove_reader(asyncio.get_running_loop(), self._listening.fileno())
            self._listening.close()
            self._listening = None
        for server in tuple(self._servers):
            server.close()
        await self._ends.close()


class _Server:
    """The connection of a server.

    sockets: those of its clients, by number. on_end: called when the server is gone.
    """

    def __init__(self, connection: socket.socket, on_end: Callable[[_Server], None]) -> None:
        self.sockets: dict[int, socket.socket] = {}
        self._connection = connection
        self._on_end = on_end
        self._read = b""  # of the next message
        self._descriptors: list[int] = []  # that have come with it
        add_reader(asyncio.get_running_loop(), connection.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        for _ in range(MAX_MESSAGES):
            try:  # a message at a time, as a descriptor comes with the first byte of its own
                data, descriptors, _, _ = socket.recv_fds(self._connection, MESSAGE.size - len(self._read), 1)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._end()
                return
            self._read += data
            self._descriptors += descriptors
            if len(self._read) == MESSAGE.size:
                what, number = MESSAGE.unpack(self._read)
                self._read = b""
                self._take(what, number)

    def _take(self, what: bytes, number: int) -> None:
        descriptors, self._descriptors = self._descriptors, []
        if (before := self.sockets.pop(number, None)) is not None:
            before.close()
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            if what == HAND_OVER and number not in self.sockets and len(self.sockets) < MAX_SOCKETS:
                self.sockets[number] = socket.socket(fileno=descriptor)
            else:
                os.close(descriptor)

    def _end(self) -> None:
        self._stop_reading()
        self._on_end(self)

    def close(self) -> None:
        """Leave the sockets to the server."""
        self._stop_reading()
        for sock in self.sockets.values():
            sock.close()

    def _stop_reading(self) -> None:
        remove_reader(asyncio.get_running_loop(), self._connection.fileno())
        self._connection.close()
        for descriptor in self._descriptors:
            os.close(descriptor)


async def end(sock: socket.socket) -> None:
    """End a connection whose server is gone, once its client's system has all that there is for it."""
    sock.setblocking(False)  # nobody else uses it any more
    with sock, contextlib.suppress(OSError):  # the client is gone
        await _while(lambda: discard(sock) and unconfirmed_bytes(sock) > 0, DRAIN_S)
        sock.shutdown(socket.SHUT_WR)
        await _while(lambda: discard(sock), CLOSE_S)


async def _while(goes_on: Callable[[], bool], timeout_s: float) -> None:
    """Wait as long as something goes on, but no longer than that."""
    wait_s, deadline = LOOK_S, time.monotonic() + timeout_s
    while goes_on() and time.monotonic() < deadline:
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LOOK_MAX_S)


def discard(sock: socket.socket) -> bool:
    """Read what has come; returns whether more may come. Raises OSError."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(MAX_MESSAGES):
            if not sock.recv(DISCARD_BYTES):
                return False
    return True


def unconfirmed_bytes(sock: socket.socket) -> int:
    """How much of what was written the system at the other end has not confirmed. Raises OSError."""
    [size] = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    return int(size)
