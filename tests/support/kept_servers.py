"""Servers that keep kernels beyond their end, one after the other, and the keeper of those."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil

from fps_kernels.keeper.keeper_folder import KeeperFolder

from .client import Client
from .gateways import COMMAND
from .keepers import is_running, keeper_pid
from .processes import ServerProcess

END_S = 10.0
"""Seconds for the last of the processes to end."""

S = TypeVar("S", bound=ServerProcess)


def is_idle(kernel: dict[str, Any]) -> bool:
    return bool(kernel["execution_state"] == "idle")


async def make(server: ServerProcess, name: str = "tiny_plain") -> tuple[str, psutil.Process]:
    """A kernel with a variable `x`, and its process."""
    async with Client(server.url) as client:
        kernel_id = await client.start(name)
        async with await client.connect(kernel_id) as socket:
            await socket.run("x = 41")
    return kernel_id, server.process_of(kernel_id)


class KeptServers(Generic[S]):
    """A state folder, and servers that use it.

    base: the folder of all that they have in common.

    state: the state folder.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.state = base / "state"
        self._servers: list[S] = []
        self._processes: set[psutil.Process] = set()

    def kill(self, server: S) -> None:
        """End a server as a crash does."""
        server.stop(signal.SIGKILL)

    def command(self, *words: str, program: str = COMMAND, code: int = 0) -> str:
        """What a command that is given the state folder says, and ends with a code."""
        done = subprocess.run(
            [program, *words, "--state-dir", str(self.state)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    def keeper(self) -> psutil.Process:
        """The keeper's process."""
        pid = keeper_pid(KeeperFolder(self.state))
        assert pid is not None
        return psutil.Process(pid)

    def note_processes(self) -> None:
        """Remember the keeper and its children: none may be left at the end."""
        pid = keeper_pid(KeeperFolder(self.state))
        if pid is not None and psutil.pid_exists(pid):
            keeper = psutil.Process(pid)
            self._processes |= {keeper, *keeper.children(recursive=True)}

    def end(self) -> None:
        """End all servers, and the keeper with its kernels; nothing of them may be left."""
        for server in self._servers:
            server.stop()
        self.note_processes()
        with contextlib.suppress(AssertionError, psutil.NoSuchProcess):
            self.keeper().resume()
            self.command("keeper", "stop")
        deadline = time.monotonic() + END_S
        while (left := [one for one in self._processes if is_running(one)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        found = [(one, one.ppid(), one.cmdline()) for one in left]
        for process in left:
            process.kill()
        assert not found, found
