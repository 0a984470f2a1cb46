"""A process that outlives the server: if the server is killed, it ends the kernels.

ipykernel watches its parent itself; most other kernels would go on running. The reaper is a shell, not a Python: it
takes 1 MiB. It reads process groups from a pipe that only the server holds open, and ends those that are left when
the pipe is closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
from importlib.resources import files

logger = logging.getLogger(__name__)

GRACE_S = 3
"""Seconds between SIGTERM and SIGKILL."""


class Reaper:
    """The process that ends the kernels of this server, should the server be killed.

    It is started with the first kernel, and does nothing on a system without `sh` and process groups.

    grace_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, grace_s: int = GRACE_S) -> None:
        self._grace_s = grace_s
        self._process: subprocess.Popen[bytes] | None = None
        self._pids: set[int] = set()

    def watch(self, pid: int) -> None:
        """End the process group of `pid` should the server be killed."""
        self._pids.add(pid)
        if self._process is None or self._process.poll() is not None:
            self._start()
            for known in self._pids:
                self._write("+", known)
        else:
            self._write("+", pid)

    def forget(self, pid: int) -> None:
        """The process has ended: its id may become that of another."""
        self._pids.discard(pid)
        self._write("-", pid)

    def _start(self) -> None:
        shell = shutil.which("sh")
        if shell is None or not hasattr(os, "killpg"):
            return
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()  # the reaper was killed
        script = (files(__package__) / "reaper.sh").read_text()
        try:
            # Not asyncio's: on Python 3.11 that takes a thread to wait for the process.
            self._process = subprocess.Popen(
                [shell, "-c", script, "kernel-reaper", str(self._grace_s)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as exc:
            logger.warning("orphan reaper not started (%s): kernels will outlive a killed server", exc.strerror)
            return
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)

    def _write(self, sign: str, pid: int) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            os.write(self._process.stdin.fileno(), f"{sign} {pid}\n".encode())
        except OSError as exc:
            logger.warning("the orphan reaper does not read its pipe: %s", exc.strerror)

    async def close(self) -> None:
        """End the reaper, which ends the kernels that are left. May be called twice."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.to_thread(process.wait, 2 * self._grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
