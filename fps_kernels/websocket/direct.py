"""Writing to a client's socket itself, for whom must know which bytes the system has taken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

MAX_BUFFERS = 1_024
"""Buffers that the system takes at once (IOV_MAX)."""
MSG_MORE: int = getattr(socket, "MSG_MORE", 0)


WriteThrough = Callable[[Sequence[bytes], Callable[[], None]], bool]
UnsentBytes = Callable[[], int]


class Writer(Protocol):
    """Whoever writes to the same transport otherwise."""

    @property
    def writable(self) -> bool:
        """Whether what is written now would not have to wait."""


class DirectWriter:
    """Writes whole frames to the socket of a transport, as long as nothing waits in the transport's own buffer.

    A loop may write what its transports are given only at the end of its turn, and tells nobody. It does nothing here
    before it is used for the first time.
    """

    def __init__(self, transport: asyncio.Transport, writer: Writer) -> None:
        self._transport = transport
        self._writer = writer
        self._socket: socket.socket | None = None
        self._closed = False

    def write_through(self, buffers: Sequence[bytes], on_taken: Callable[[], None]) -> bool:
        """Write whole frames at once; False, having written nothing, where that would have to wait.

        on_taken: called if the system has taken everything, before the client can have read it.
        """
        if not self._writer.writable:
            return False
        sock = self._find_socket()
        if sock is None or self._transport.get_write_buffer_size() or len(buffers) > MAX_BUFFERS:
            self._transport.writelines(buffers)
            return True
        try:
            taken = sock.sendmsg(buffers, (), MSG_MORE)
        except OSError:  # it takes nothing now, or the client is gone, which the transport finds out
            taken = 0
        if taken == sum(map(len, buffers)):
            on_taken()
            # With MSG_MORE, the end of it is sent only now; or by the end of the connection, if this process is killed
            # before. The option is set already, which is not looked at.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self._transport.write(b"".join(buffers)[taken:])
        return True

    def unsent_bytes(self) -> int:
        """How many bytes the system has not taken yet."""
        return self._transport.get_write_buffer_size()

    def fileno(self) -> int | None:
        """The descriptor of the connection; None when it is closed."""
        found = None if self._closed or self._transport.is_closing() else self._transport.get_extra_info("socket")
        return None if found is None or (number := int(found.fileno())) < 0 else number

    def _find_socket(self) -> socket.socket | None:
        """The transport's socket, if what is written there goes to the client as it is."""
        if self._closed or self._transport.is_closing() or not MSG_MORE:
            return None
        if self._socket is None:
            found = self._transport.get_extra_info("socket")
            is_tcp = found is not None and found.family in (socket.AF_INET, socket.AF_INET6)
            if not is_tcp or self._transport.get_extra_info("sslcontext") is not None:
                self._closed = True
                return None
            self._socket = socket.socket(found.family, found.type, found.proto, fileno=found.fileno())
        return self._socket

    def close(self) -> None:
        """The connection is lost. May be called twice."""
        self._closed = True
        if self._socket is not None:
            self._socket.detach()  # the descriptor is the transport's
            self._socket = None
