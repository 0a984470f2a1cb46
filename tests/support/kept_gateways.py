"""Gateways that keep kernels beyond their end, and the keeper of those."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from fps_kernels.keeper.keeper_folder import KeeperFolder

from .gateways import COMMAND, Gateway, option
from .keepers import is_running, keeper_pid

END_S = 10.0
"""Seconds for the last of the processes to end."""
LISTING = "--JupyterWebsocketPersonality.list_kernels=True"


class KeptGateways:
    """A state folder, and gateways that use it one after the other, or at once.

    base: the folder of all that they have in common.

    state: the state folder.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.state = base / "state"
        self._gateways: list[Gateway] = []
        self._processes: set[psutil.Process] = set()

    def begin(
        self, *options: str, keep: str = "crash", ready: bool = True, program: str = COMMAND, **more: str
    ) -> Gateway:
        """Start a gateway. program: see Gateway. more: environment variables."""
        options = (option("keep_kernels", keep), option("state_dir", self.state), LISTING, *options)
        return self.start(*options, ready=ready, env=more, program=program)

    def start(
        self, *words: str, ready: bool = True, env: dict[str, str] | None = None, program: str = COMMAND
    ) -> Gateway:
        """Start `fps-kernels` with these words, such as a command of it that serves."""
        gateway = Gateway(self.base, *words, env=env, log=f"gateway{len(self._gateways)}.log", program=program)
        self._gateways.append(gateway)
        if ready:
            gateway.wait_ready()
            self.note_processes()
        return gateway

    def kill(self, gateway: Gateway) -> None:
        """End a gateway as a crash does."""
        gateway.stop(signal.SIGKILL)

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
        """End all gateways, and the keeper with its kernels; nothing of them may be left."""
        for gateway in self._gateways:
            gateway.stop()
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


@contextlib.contextmanager
def keeping_gateways(base: Path) -> Iterator[KeptGateways]:
    """Gateways that keep kernels; all that they have is ended at the end."""
    gateways = KeptGateways(base)
    try:
        yield gateways
    finally:
        gateways.end()
