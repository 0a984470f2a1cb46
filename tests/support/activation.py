"""What systemd does with a .socket unit: it listens, and starts servers that are given its sockets."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .gateways import COMMAND, Gateway, environment

HAND_ON = """
import fcntl, os, sys
number = int(sys.argv[1])
copies = [fcntl.fcntl(int(word), fcntl.F_DUPFD, 100) for word in sys.argv[2 : 2 + number]]
for target, copy in enumerate(copies, start=3):
    os.dup2(copy, target)
    os.close(copy)
os.environ["LISTEN_FDS"] = str(number)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
command = sys.argv[2 + number :]
os.execv(command[0], command)
"""
"""Becomes a command that has the descriptors which are named from 3 on."""


def listening_socket(where: tuple[str, int] | Path) -> socket.socket:
    """A socket that listens at an address, or at a path."""
    if isinstance(where, tuple):
        return socket.create_server(where, backlog=128)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(where))
    sock.listen(128)
    return sock


def command_with(socks: Sequence[socket.socket], *words: str) -> tuple[list[str], dict[str, Any]]:
    """A command that is given sockets, and what subprocess needs besides."""
    fds = [sock.fileno() for sock in socks]
    return [sys.executable, "-c", HAND_ON, str(len(fds)), *map(str, fds), *words], {"pass_fds": fds}


class ActivatedGateway(Gateway):
    """A process of the command `fps-kernels` that is given sockets; its port is theirs. words: its arguments."""

    def __init__(self, base: Path, socks: Sequence[socket.socket], *words: str, **env: str) -> None:
        base.mkdir(parents=True, exist_ok=True)
        self.base, self.runtime = base, base / "runtime"
        self.log_file = base / "activated.log"
        command, more = command_with(socks, COMMAND, *words)
        with self.log_file.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                cwd=base,
                env=environment(base, **env),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                **more,
            )


@contextlib.contextmanager
def activated(base: Path, socks: Sequence[socket.socket], *words: str, **env: str) -> Iterator[ActivatedGateway]:
    """A server that is ready, and is stopped at the end."""
    gateway = ActivatedGateway(base, socks, *words, **env)
    try:
        gateway.wait_ready()
        yield gateway
    finally:
        gateway.stop()
