"""Accepts the connections of a server, within a bound, and gives each its protocol.

The event loop could do that by itself (`create_server`), but tells nobody of a connection before its TLS handshake is
done, and closes or ignores connections without a word when the process has no descriptors left.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence

from ..tasks import TaskSet, cancel_and_wait
from .connection_table import ConnectionTable, Slot
from .rlimits import file_limit

logger = logging.getLogger(__name__)

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
RETRY_S = 1.0
"""Seconds until the next attempt to accept when the system has no resources for it. Clients wait in the backlog."""
AT_A_TIME = 16
"""Connections accepted before others get their turn."""
CALM_S = 5.0
"""Seconds between two looks at whether the bound is still reached: that long at least from one log line to another."""
CALM_SHARE = 0.9
"""Share of the bound below which it counts as no longer reached."""
TLS_CLOSE_S = 5.0
"""Seconds that a client has for its part of the end of a TLS connection."""

ProtocolFactory = Callable[[Slot], asyncio.Protocol]


def default_max_connections() -> int:
    """Half of the files that this process may have open. A kernel takes about ten: the other half is for them."""
    return max(1, file_limit() // 2)


class Acceptor:
    """The sockets that listen, and the connections that have come from them.

    make_protocol: makes the protocol of a connection. It has to let the slot know when the connection is lost.
    tls: None to serve without TLS.
    handshake_timeout_s: seconds that a TLS handshake may take.
    """

    def __init__(
        self,
        table: ConnectionTable,
        make_protocol: ProtocolFactory,
        tls: ssl.SSLContext | None,
        handshake_timeout_s: float,
    ) -> None:
        self._table = table
        self._make_protocol = make_protocol
        self._tls = tls
        self._handshake_timeout_s = handshake_timeout_s
        self._loop = asyncio.get_running_loop()
        self._accepting = TaskSet()
        self._connecting = TaskSet()
        self._watching: asyncio.Task[None] | None = None
        self._failed = 0

    def start(self, socks: Sequence[socket.socket]) -> None:
        for sock in socks:
            sock.setblocking(False)
            self._accepting.start(self._accept(sock), name=f"accept on {sock.getsockname()}")

    async def close(self) -> None:
        """Accept no more, and end the handshakes that are under way. The sockets stay open."""
        await self._accepting.close()
        await self._connecting.close()
        await cancel_and_wait(self._watching)

    async def _accept(self, sock: socket.socket) -> None:
        accepted = 0
        while True:
            try:
                connection, _ = await self._loop.sock_accept(sock)
            except OSError as exc:
                if exc.errno in OUT_OF_RESOURCES:
                    self._failed += 1
                    self._tell(f"The system gives no more connections ({exc.strerror}).")
                    if not self._table.make_room():
                        await asyncio.sleep(RETRY_S)
                elif exc.errno != errno.ECONNABORTED:  # the client has left already
                    logger.warning("Accepting a connection failed: %s", exc)
                    await asyncio.sleep(RETRY_S)
                await asyncio.sleep(0)
                continue
            if self._table.full:
                self._tell(f"All {self._table.max_connections} connections are in use (max_connections).")
            if (slot := self._table.admit()) is None:
                connection.close()
            else:
                self._connect(connection, slot)
            accepted += 1
            if accepted % AT_A_TIME == 0:
                await asyncio.sleep(0)

    def _connect(self, connection: socket.socket, slot: Slot) -> None:
        slot.end = connection.close
        self._connecting.start(self._hand_over(connection, slot), name="new connection")

    async def _hand_over(self, connection: socket.socket, slot: Slot) -> None:
        """Give a connection its protocol, once its TLS handshake is done."""
        if connection.fileno() == -1:
            return  # it has made room for another one already
        task = asyncio.current_task()
        assert task is not None
        # A handshake may take long. Without one, the protocol is about to get its transport and looks at its slot then;
        # if that were cancelled, uvloop would not tell the protocol of the end of its connection.
        slot.end = None if self._tls is None else task.cancel
        handed_over = False
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._make_protocol(slot),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else self._handshake_timeout_s,
                ssl_shutdown_timeout=None if self._tls is None else TLS_CLOSE_S,
            )
            handed_over = True
        except OSError as exc:  # of TLS, or lost
            logger.debug("No connection: %s", exc)
        finally:
            if not handed_over:
                slot.leave()

    def _tell(self, what: str) -> None:
        """Log that a bound is reached, once until that is over."""
        if self._watching is None or self._watching.done():
            logger.warning(
                "%s Until that changes, those that are idle are closed for new ones; "
                "raise max_connections or `ulimit -n` if your clients need more",
                what,
            )
            watch = self._watch(self._table.ended, self._table.turned_away)
            self._watching = asyncio.create_task(watch, name="bound on connections")

    async def _watch(self, ended: int, turned_away: int) -> None:
        """Log when the bound is no longer reached. ended, turned_away: how many there were when it was."""
        table = self._table
        while True:
            before = table.ended, table.turned_away, self._failed
            await asyncio.sleep(CALM_S)
            calm = before == (table.ended, table.turned_away, self._failed)
            if calm and len(table) < CALM_SHARE * table.max_connections:
                break
        logger.warning(
            "There is room for connections again; %d idle ones were closed, %d were turned away meanwhile",
            table.ended - ended,
            table.turned_away - turned_away,
        )
