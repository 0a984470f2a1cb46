"""What ends the process groups of kernels: when a kernel is gone, and when the server is.

Children of a kernel are in its process group. Those that are left when the kernel has crashed, or has ended without
ending them, get SIGTERM, and SIGKILL later; a process that has made a session of its own goes on.

A shell outlives the server: if the server is killed, it ends the kernels. ipykernel watches its parent itself; most
other kernels would go on running. It is a shell, not a Python: it takes 1 MiB. It reads process groups from a pipe that
only the server holds open, and ends those that are left when the pipe is closed. Each comes with the time at which its
leader was started: the number of one that has ended may be another's before the shell is told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import time
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from ..descriptors import add_writer, remove_writer
from ..tasks import TaskSet

logger = logging.getLogger(__name__)

GRACE_S = 3
"""Seconds between SIGTERM and SIGKILL."""
LOOK_S = 0.05
"""Interval between two looks whether a group is empty: nothing tells when it is."""
MAX_UNSENT = 10_000
"""What is kept for a shell that does not read. It need not know of more that have ended: it looks at their start."""


class Reaper:
    """Ends what kernels leave behind, and the kernels of this server, should the server be killed.

    The shell that does the latter is started with the first kernel, on systems with `sh` and process groups.

    grace_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, grace_s: int = GRACE_S) -> None:
        self._grace_s = grace_s
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: dict[int, str] = {}  # as the shell knows them, by process id
        self._unsent: dict[str, str] = {}  # what it has not been told of a group, as its pipe was full
        self._gone: set[int] = set()  # kernels that have ended, until their groups are empty
        self._tasks = TaskSet()  # one for each of them

    def watch(self, pid: int) -> None:
        """End the process group of `pid` should the server be killed."""
        group = self._groups[pid] = f"{pid}:{start_time(pid)}"
        if self._process is None or self._process.poll() is not None:
            self._start()
            self._unsent = dict.fromkeys(self._groups.values(), "+")
        else:
            self._unsent[group] = "+"
        self._send()

    def watch_until(self, exited: asyncio.Future[Any], pid: int) -> None:
        """The same until the process has ended: then end what is left of its group."""
        self.watch(pid)
        exited.add_done_callback(lambda _: self.end_rest(pid))

    def end_rest(self, pid: int) -> None:
        """The process has ended: end what is left of its group in the background, and forget it."""
        self._gone.add(pid)
        self._tasks.start(self._end_rest(pid), name=f"rest of process group {pid}")

    async def _end_rest(self, pid: int) -> None:
        for signum in (signal.SIGTERM, signal.SIGKILL):
            if not self._is_ours(pid) or not _send_to_group(pid, signum):
                break
            if signum == signal.SIGTERM:
                logger.info("ending what is left of process group %d, whose kernel is gone", pid)
            give_up = time.monotonic() + self._grace_s
            while time.monotonic() < give_up and _send_to_group(pid, 0):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(LOOK_S)
        self.forget(pid)

    def _is_ours(self, pid: int) -> bool:
        """Whether the number has not been given to another process; what is left of a group keeps it from that."""
        now = start_time(pid)
        return not now or self._groups.get(pid) == f"{pid}:{now}"

    def forget(self, pid: int) -> None:
        """The process and its group have ended: their id may become that of another."""
        self._gone.discard(pid)
        group = self._groups.pop(pid, None)
        if group is None or self._unsent.pop(group, None) is not None or len(self._unsent) >= MAX_UNSENT:
            return
        self._unsent[group] = "-"
        self._send()

    def _start(self) -> None:
        shell = shutil.which("sh")
        if shell is None or not hasattr(os, "killpg"):
            if len(self._groups) == 1:  # not with each kernel
                logger.warning("there is no sh: kernels may outlive a server that is killed")
            return
        if self._process is not None and self._process.stdin is not None:
            self._close_pipe(self._process.stdin)  # the reaper was killed
            self._process = None
        try:
            script = (files(__package__) / "reaper.sh").read_text()
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
        remove_writer(loop, pipe)
        try:
            for group, sign in list(self._unsent.items()):
                os.write(pipe, f"{sign} {group}\n".encode())  # atomic: much shorter than PIPE_BUF
                del self._unsent[group]
        except BlockingIOError:
            add_writer(loop, pipe, self._send)
        except OSError as exc:
            logger.warning("the orphan reaper does not read its pipe: %s", exc.strerror)
            self._unsent.clear()

    @staticmethod
    def _close_pipe(pipe: IO[bytes]) -> None:
        remove_writer(asyncio.get_running_loop(), pipe.fileno())
        pipe.close()

    async def close(self) -> None:
        """End the shell, which ends the kernels that are left and the rest of others. May be called twice."""
        await self._tasks.close()
        for pid in tuple(self._gone):
            if not _send_to_group(pid, 0):  # and the shell need not wait for it
                self.forget(pid)
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


def _send_to_group(group: int, signum: int) -> bool:
    """Send a signal to a process group; returns whether there is such a group, and it is ours."""
    if not hasattr(os, "killpg"):
        return False
    try:
        os.killpg(group, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def start_time(pid: int) -> str:
    """When a process was started, as in /proc/PID/stat; "" where that cannot be told. No other process has both."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    fields = stat.rpartition(b") ")[2].split()  # the name before may have any characters
    return fields[19].decode() if len(fields) > 19 else ""
