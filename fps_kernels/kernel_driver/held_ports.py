"""The TCP ports of a kernel between their choice and the moment the kernel listens there.

The server finds free ports and writes them down; the kernel binds them a second later. Until then any other process may
be given one of them, because the system hands out ports of the same range to whoever asks for any. Two servers that
start many kernels on one machine lose about one start in a thousand that way.

On Linux, a socket that is bound but does not listen keeps a port from being handed out. It does not keep another socket
from binding and listening there if both have SO_REUSEADDR, which libzmq sets, and so do the libraries of most
languages. A kernel that does not set it fails to bind; it is launched again, with ports that nobody holds.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from .connection_file import CHANNEL_NAMES, ConnectionInfo
from .exit_status import says_port_taken

POSSIBLE = sys.platform == "linux"
"""Whether a port can be held without keeping the kernel from listening there. Not on macOS, where that needs more."""


class HeldPorts:
    """Holds TCP ports of this machine until `release`. One that is taken already is left out.

    Takes a descriptor for each.
    """

    def __init__(self, ip: str, ports: Iterable[int]) -> None:
        self._sockets: list[socket.socket] = []
        for port in ports:
            held = None
            try:
                held = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET)
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.bind((ip, port))
            except OSError:  # the kernel will find out, and say so
                if held is not None:
                    held.close()
                continue
            self._sockets.append(held)

    def release(self) -> None:
        """Let the ports go. May be called twice."""
        while self._sockets:
            self._sockets.pop().close()


class PortHolder:
    """What is added to a manager of jupyter_client: its kernel's ports are held from the moment they are written down.

    holds_ports: whether they are.
    """

    holds_ports = True
    _held: HeldPorts | None = None

    def write_connection_file(self, **kwargs: Any) -> None:
        """Write the connection file, and hold the ports in it. Provisioners call this."""
        super().write_connection_file(**kwargs)  # type: ignore[misc]  # of the manager
        self.let_ports_go()
        manager: Any = self
        if POSSIBLE and self.holds_ports and manager.transport == "tcp":
            self._held = HeldPorts(manager.ip, [getattr(manager, f"{channel}_port") for channel in CHANNEL_NAMES])

    def let_ports_go(self) -> None:
        """The kernel listens on its ports, or never will. May be called twice."""
        if self._held is not None:
            self._held.release()
            self._held = None


class PortWatch:
    """Looks for a lost port in what a kernel writes until it answers: some go on without what they could not have.

    info: where the kernel listens.
    manager: a manager that holds its ports; None if nobody does.

    lost: done as soon as the kernel has said that it could not have one of its ports.
    """

    def __init__(self, info: ConnectionInfo, manager: Any = None) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._info = info
        self._manager: PortHolder | None = manager
        self._ended = False

    def look_at(self, lines: Sequence[bytes]) -> None:
        """Look at lines that the kernel has written."""
        if self._ended or self.lost.done():
            return
        if any(names_lost_port(line.decode("utf-8", "replace"), self._info) for line in lines):
            self.lost.set_result(None)

    def end(self) -> None:
        """The kernel listens on its ports, or never will. May be called twice."""
        self._ended = True
        if self._manager is not None:
            self._manager.let_ports_go()


def names_lost_port(line: str, info: ConnectionInfo) -> bool:
    """Whether a line that a kernel wrote says that it could not have one of its ports."""
    return (
        info.transport == "tcp"
        and says_port_taken(line)
        and any(int(number) in info.ports.values() for number in re.findall(r"(?<!\d)\d{1,5}(?!\d)", line))
    )
