"""A server's side of keeper/last_words.py: it hands duplicates of its clients' sockets to the keeper."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from pathlib import Path

from ..descriptors import add_reader, add_writer, remove_reader, remove_writer
from ..keeper.last_words import HAND_OVER, MESSAGE, TAKE_BACK

logger = logging.getLogger(__name__)

RETRY_S = 0.1
RETRY_MAX_S = 5.0
"""First interval between two attempts to connect, which is doubled up to the longest."""


class ClientSockets:
    """The sockets of the WebSockets to kernels that are kept.

    path: the keeper's socket for them.

    While the keeper cannot be reached, or reads nothing, sockets are handed over later: should this process be killed
    before, a client that lags and sends may lose what the system has for it. The connection is never ended while there
    are clients, as the keeper would take that for the end of this process, and end theirs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._descriptors: dict[int, int] = {}
        self._unsent: dict[int, bytes] = {}  # what is yet to be done with which socket
        self._retry: asyncio.TimerHandle | None = None
        self._wait_s = RETRY_S
        self._closed = False

    def open(self) -> None:
        """Connect to the keeper, which is there; connect again whenever that connection is lost."""
        self._retry = None
        if self._closed:
            return
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        try:
            connection.connect(str(self._path))
        except OSError as exc:  # of another version, which has no such socket, or being replaced
            connection.close()
            logger.debug("%s: %s", self._path, exc)
            self._wait_s = min(2 * self._wait_s, RETRY_MAX_S)
            self._retry = asyncio.get_running_loop().call_later(self._wait_s, self.open)
            return
        self._connection, self._wait_s = connection, RETRY_S
        add_reader(asyncio.get_running_loop(), connection.fileno(), self._on_lost)
        self._unsent = dict.fromkeys(self._descriptors, HAND_OVER)
        self._send()

    def hand_over(self, descriptor: int) -> int:
        """Hand over a duplicate of a client's socket; returns what it is called in `take_back`."""
        number = next(self._numbers)
        self._descriptors[number] = descriptor
        self._unsent[number] = HAND_OVER
        self._send()
        return number

    def take_back(self, number: int) -> None:
        """Have the duplicate closed: this process is about to close the socket, which must still be open now."""
        del self._descriptors[number]
        if self._unsent.pop(number, None) is None:
            self._unsent[number] = TAKE_BACK
            self._send()

    def _send(self) -> None:
        """Send what is yet to be sent, as far as the keeper takes it."""
        connection = self._connection
        if connection is None:
            return
        loop = asyncio.get_running_loop()
        try:
            while self._unsent:
                number, what = next(iter(self._unsent.items()))
                descriptors = [self._descriptors[number]] if what == HAND_OVER else []
                try:
                    socket.send_fds(connection, [MESSAGE.pack(what, number)], descriptors)
                except (BlockingIOError, ConnectionError):
                    raise
                except OSError as exc:  # it is closed, or too many are on their way: only this one is not handed over
                    logger.debug("a client's socket cannot be handed over: %s", exc)
                del self._unsent[number]
        except BlockingIOError:
            add_writer(loop, connection.fileno(), self._send)
        except ConnectionError:
            self._on_lost()
        else:
            remove_writer(loop, connection.fileno())

    def _on_lost(self) -> None:
        """The keeper never writes: it is gone, or another program takes its place."""
        self._disconnect()
        if not self._closed and self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(self._wait_s, self.open)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._unsent.clear()
        if connection is not None:
            loop = asyncio.get_running_loop()
            remove_reader(loop, connection.fileno())
            remove_writer(loop, connection.fileno())
            connection.close()

    def close(self) -> None:
        """Hand over nothing more. May be called twice."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._disconnect()
