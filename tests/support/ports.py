"""Ports for servers and kernels of the tests."""

from __future__ import annotations

import os
import random
import socket
from collections import deque

_given: deque[int] = deque(maxlen=300)


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on, from a range that the system does not give away by itself meanwhile.

    Each process that runs tests has a range of its own. None is given twice soon: who got it may not listen yet.
    """
    first = 20_000 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10_000
    ports = random.sample([port for port in range(first, first + 1_000) if port not in _given], number)
    try:
        for port in ports:
            socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return free_ports(number)
    _given.extend(ports)
    return ports


def free_port() -> int:
    return free_ports(1)[0]
