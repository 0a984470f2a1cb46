"""A process that outlives the server: if the server is killed, it ends the kernels.

ipykernel watches its parent itself; most other kernels would go on running. The reaper is a shell, not a Python: it
takes 1 MiB. It reads process groups from a pipe that only the server holds open, and ends those that are left when
the pipe is closed. Each comes with the time at which its leader was started: the number of one that has ended may be
another's before the shell is told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

GRACE_S = 3
"""Seconds between SIGTERM and SIGKILL."""
MAX_UNSENT = 10_000
"""What is kept for a shell that does not read. It need not know of more that have ended: it looks at their start."""


class Reaper:
    """The process that ends the kernels of this server, should the server be killed.

    It is started with the first kernel, and does nothing on a system without `sh` and process groups.

    grace_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, grace_s: int = GRACE_S) -> None:
        self._grace_s = grace_s
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: dict[int, str] = {}  # as the shell knows them, by process id
        self._unsent: dict[str, str] = {}  # what it has not been told of a group, as its pipe was full

    def watch(self, pid: int) -> None:
        """End the process group of `pid` should the server be killed."""
        group = self._groups[pid] = f"{pid}:{start_time(pid)}"
        if self._process is None or self._process.poll() is not None:
            self._start()
            self._unsent = dict.fromkeys(self._groups.values(), "+")
        else:
            self._unsent[group] = "+"
        self._send()

    def forget(self, pid: int) -> None:
        """The process has ended: its id may become that of another."""
        group = self._groups.pop(pid, None)
        if group is None or self._unsent.pop(group, None) is not None or len(self._unsent) >= MAX_UNSENT:
            return
        self._unsent[group] = "-"
        self._send()

    def _start(self) -> None:
        shell = shutil.which("sh")
        if shell is None or not hasattr(os, "killpg"):
            return
        if self._process is not None and self._process.stdin is not None:
            self._close_pipe(self._process.stdin)  # the reaper was killed
            self._process = None
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

    def _send(self) -> None:
        """Tell the shell what it has not been told; what does not fit into the pipe now, when it is read again."""
        if self._process is None or self._process.stdin is None:
            self._unsent.clear()
            return
        pipe = self._process.stdin.fileno()
        loop = asyncio.get_running_loop()
        loop.remove_writer(pipe)
        try:
            for group, sign in list(self._unsent.items()):
                os.write(pipe, f"{sign} {group}\n".encode())  # atomic: much shorter than PIPE_BUF
                del self._unsent[group]
        except BlockingIOError:
            loop.add_writer(pipe, self._send)
        except OSError as exc:
            logger.warning("the orphan reaper does not read its pipe: %s", exc.strerror)
            self._unsent.clear()

    @staticmethod
    def _close_pipe(pipe: IO[bytes]) -> None:
        asyncio.get_running_loop().remove_writer(pipe.fileno())
        pipe.close()

    async def close(self) -> None:
        """End the reaper, which ends the kernels that are left. May be called twice."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        self._close_pipe(process.stdin)
        self._unsent.clear()
        try:
            await asyncio.to_thread(process.wait, 2 * self._grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)


def start_time(pid: int) -> str:
    """When a process was started, as in /proc/PID/stat; "" where that cannot be told. No other process has both."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    fields = stat.rpartition(b") ")[2].split()  # the name before may have any characters
    return fields[19].decode() if len(fields) > 19 else ""
