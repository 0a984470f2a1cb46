"""The sockets that a server listens on: one per address of its host, all with the same port, or one of a file."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from ..errors import BadOption
from .unix_socket import bind_unix, removed_at_end

logger = logging.getLogger(__name__)

ANOTHER_PORT_HELPS = (errno.EADDRINUSE, errno.EACCES)
"""Errors after which another port may work."""
NOT_ON_THIS_MACHINE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors of an address that this machine does not have, such as localhost's IPv6 address where IPv6 is disabled."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how a server listens.

    ip: a name or an address; "" for all interfaces.
    port: 0 for one that the system chooses.
    port_retries: number of ports that are tried after `port`.
    trust_proxy: whether to believe the headers of a proxy about its client.
    ping_interval_s: seconds between the pings of a WebSocket; 0: no pings.
    tls: None to serve without TLS.
    sock: path of a Unix socket to listen on instead; "" for none.
    sock_mode: the permissions of its file.
    given: sockets that listen already, and are where the other fields say; they are used then.
    """

    ip: str
    port: int
    port_retries: int
    trust_proxy: bool
    ping_interval_s: float
    tls: ssl.SSLContext | None = None
    sock: str = ""
    sock_mode: int = 0o600
    given: Sequence[socket.socket] = ()

    @property
    def public(self) -> bool:
        """Whether other machines can reach the server."""
        return not self.sock and is_public(self.ip)

    @property
    def private(self) -> bool:
        """Whether no other user of this machine can reach the server."""
        return bool(self.sock) and not self.sock_mode & 0o077


def is_public(ip: str) -> bool:
    """Whether other machines can reach a server that listens there; ip: as of `Listening`."""
    if ip == "localhost":
        return False
    try:
        return not ip_address(without_brackets(ip)).is_loopback
    except ValueError:  # a name, or "": all interfaces
        return True


def without_brackets(ip: str) -> str:
    """An IPv6 address that is written as in a URL, `[::1]`, as it is; anything else unchanged."""
    return ip[1:-1] if ip.startswith("[") and ip.endswith("]") else ip


@contextlib.contextmanager
def bound(listening: Listening) -> Iterator[list[socket.socket]]:
    """The given sockets or those of `bind`, until the end; the file of a Unix socket of `bind` is removed then.

    Raises BadOption.
    """
    with contextlib.ExitStack() as at_end:
        socks = list(listening.given) or bind(listening)
        for sock in socks:
            at_end.callback(sock.close)
        if listening.given:
            logger.info("Listening on what LISTEN_FDS gives; the options ip, port and sock have no effect")
        elif listening.sock:
            at_end.enter_context(removed_at_end(listening.sock))
        yield socks


def bind(listening: Listening) -> list[socket.socket]:
    """Listening sockets on the first port that is free on all addresses of the host, or one Unix socket.

    Addresses that this machine does not have are left out, unless it has none of them.
    Raises BadOption when the host cannot be resolved, no port is free, or something else is where the socket should be.
    """
    if listening.sock:
        return [bind_unix(listening.sock, listening.sock_mode)]
    try:
        found = socket.getaddrinfo(
            without_brackets(listening.ip) or None, listening.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as exc:  # UnicodeError: not a possible name
        raise BadOption(f"ip={listening.ip}: {getattr(exc, 'strerror', None) or exc}") from exc
    addresses = list(dict.fromkeys(found))  # without duplicates, which /etc/hosts may contain
    first = listening.port
    if first == 0:  # the system chooses it for the first address; it may be taken on another one
        ports = [0] * (listening.port_retries + 1)
    else:
        ports = list(range(first, min(65_535, first + listening.port_retries) + 1))
    for number, port in enumerate(ports, start=1):
        try:
            return _bind_all(addresses, port)
        except OSError as exc:
            if number == len(ports) or exc.errno not in ANOTHER_PORT_HELPS:
                tried = f"port={first}" if port == first else f"ports {first} to {port}"
                raise BadOption(f"ip={listening.ip} {tried}: {exc.strerror}") from exc
            logger.warning("Port %d is unavailable (%s); trying the next one", port, exc.strerror)
    raise AssertionError("no port was tried")


def _bind_all(addresses: Sequence[Any], port: int) -> list[socket.socket]:
    """Listening sockets on all addresses that this machine has. Raises OSError, leaving no socket open.

    port: 0 for one that the system chooses for the first address and that the others use, too.
    """
    socks: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for address in addresses:
            try:
                socks.append(_bind(address, port))
            except OSError as exc:
                if exc.errno not in NOT_ON_THIS_MACHINE:
                    raise
                missing = exc
            else:
                port = socks[0].getsockname()[1]
        if missing is not None and not socks:
            raise missing
    except OSError:
        for sock in socks:
            sock.close()
        raise
    return socks


def _bind(info: Any, port: int) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # otherwise :: would occupy the port of 0.0.0.0, too
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address[0], port, *address[2:]))
        sock.listen(1024)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock
