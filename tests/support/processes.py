"""What all servers of the tests are: a process that has kernels, told by their connection files."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from .kept_mode import OwnKeeper
from .nursery import STACKS, Child, Process


class ServerProcess:
    """A process that has kernels.

    runtime: the folder of its kernels' connection files. url: where it serves, without a slash at its end.
    log: what it writes to stdout and stderr. keeper: that of its kernels, see kept_mode.
    """

    process: Process
    runtime: Path
    url: str
    log: Any
    keeper: OwnKeeper | None = None

    def ask(self) -> None:
        """Ask it for anything. Raises httpx.HTTPError when it does not answer yet."""
        raise NotImplementedError

    def wait_ready(self, timeout_s: float = 100) -> None:
        """Until it answers."""
        deadline = time.monotonic() + timeout_s
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            with contextlib.suppress(httpx.HTTPError):
                self.ask()
                return
            time.sleep(0.02)

    def kernel_processes(self) -> list[psutil.Process]:
        """The processes of this server's kernels, told by their connection files; also after its end."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(word.startswith(str(self.runtime)) for word in process.cmdline()):
                    found.append(process)
        return found

    def process_of(self, kernel_id: str) -> psutil.Process:
        """The process of one kernel. Raises ValueError unless there is exactly one."""
        [process] = [one for one in self.kernel_processes() if any(kernel_id in word for word in one.cmdline())]
        return process

    def connection_files(self) -> list[str]:
        return sorted(path.name for path in self.runtime.glob("kernel-*"))

    def stop(self, signum: int = signal.SIGTERM, timeout_s: float = 60) -> int:
        """End the server; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.wait_end(timeout_s)

    def _show_stacks(self) -> None:
        """Print where the threads of a server are that does not end, for whoever reads why the test failed."""
        if isinstance(self.process, Child):
            self.process.send_signal(STACKS)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
            print(self.log if isinstance(self.log, str) else self.log.read_text())

    def wait_end(self, timeout_s: float = 60) -> int:
        """Until it has ended, by force if it does not in time; returns its exit code."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._show_stacks()
            raise
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if self.keeper is not None:
                self.keeper.end()
