"""The sockets that a server was started with: systemd's protocol, see sd_listen_fds(3).

Whoever starts the server listens already, and hands the sockets on: LISTEN_FDS says how many descriptors there are from
3 on, LISTEN_PID for which process. While there is no server, or the next one starts, connections wait in the backlog.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import BadOption
from .sockets import is_public
from .unix_socket import is_unix

FIRST = 3
"""The first descriptor that is handed on: those before it are the standard streams."""
MOST = 64
"""Sockets that a server takes; one has an address each."""
VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDNAMES")


class ListeningOptions(Protocol):
    """Where a server is to listen, as its options say."""

    ip: str
    port: int
    sock: str
    sock_mode: str


@dataclass(frozen=True, slots=True)
class GivenSockets:
    """Sockets that listen already, those of addresses before Unix sockets; there may be none."""

    socks: Sequence[socket.socket] = ()

    def replace(self, options: ListeningOptions) -> None:
        """Make the options say where the sockets are, so that what depends on them holds for these.

        Of several addresses that is the one that most can reach.
        """
        if not self.socks:
            return
        names = [sock.getsockname() for sock in self.socks if not is_unix(sock)]
        if names:
            name = max(names, key=lambda name: is_public(name[0]))
            options.ip, options.port, options.sock = name[0], name[1], ""
        else:
            paths = [sock.getsockname() for sock in self.socks]
            modes = {path: stat.S_IMODE(os.stat(path).st_mode) for path in paths}
            options.sock = max(paths, key=lambda path: modes[path] & 0o077)
            options.sock_mode = f"{modes[options.sock] & 0o777 | 0o600:04o}"


def given_sockets(environ: MutableMapping[str, str]) -> GivenSockets:
    """The sockets that this process was started with. The variables are taken out of the environment.

    What is meant for another process is passed over. Raises BadOption for what cannot be served on.
    """
    number, pid, *_ = [environ.pop(name, "") for name in VARIABLES]
    if not number or pid != str(os.getpid()):
        return GivenSockets()
    if not number.isdecimal() or int(number) > MOST:
        raise BadOption(f"LISTEN_FDS={number[:100]}: not a number of sockets, of which {MOST} are possible")
    socks = [_socket_of(FIRST + index, f"LISTEN_FDS={number}") for index in range(int(number))]
    return GivenSockets(sorted(socks, key=is_unix))


def _socket_of(descriptor: int, where: str) -> socket.socket:
    """Raises BadOption if a descriptor is no socket that a server can serve on."""
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        listens = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as exc:
        raise BadOption(f"{where}: descriptor {descriptor} is no socket ({exc.strerror})") from exc
    if not listens or not (is_unix(sock) or sock.family in (socket.AF_INET, socket.AF_INET6)):
        raise BadOption(f"{where}: descriptor {descriptor} is no stream socket that listens")
    if is_unix(sock) and not os.path.exists(sock.getsockname()):
        raise BadOption(f"{where}: descriptor {descriptor} is a Unix socket without a file, which anybody could reach")
    sock.setblocking(False)
    return sock
