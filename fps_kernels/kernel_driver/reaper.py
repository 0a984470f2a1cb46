"""A watchman that outlives the server: if the server is killed, it ends the kernels.

ipykernel looks after its parent itself; most other kernels would live for ever. The watchman is a
shell, not a Python: it takes 1 MiB. It reads process groups from a pipe that only the server holds
open, and when that ends without a word it ends those that are left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess

logger = logging.getLogger(__name__)

_SCRIPT = r"""
trap '' HUP INT TERM
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) case $groups in *" $group "*) groups="${groups%% $group *} ${groups#* $group }" ;; esac ;;
  esac
done
for group in $groups; do kill -s TERM -- "-$group" 2>/dev/null; done
[ "$groups" = ' ' ] || sleep "$1"
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
"""
GRACE_S = 3
"""Between SIGTERM and SIGKILL."""


class Reaper:
    """Started with the first kernel; does nothing where there is no `sh` and no process groups."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pids: set[int] = set()

    def watch(self, pid: int) -> None:
        """End the process group of `pid` should the server die."""
        self._pids.add(pid)
        if self._process is None or self._process.poll() is not None:
            self._start()
            for known in self._pids:
                self._write("+", known)
        else:
            self._write("+", pid)

    def forget(self, pid: int) -> None:
        """The process is gone; its number may become another's."""
        self._pids.discard(pid)
        self._write("-", pid)

    def _start(self) -> None:
        shell = shutil.which("sh")
        if shell is None or not hasattr(os, "killpg"):
            return
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()  # somebody has killed it
        try:
            # Not asyncio's: on Python 3.11 that takes a thread to wait for the process.
            self._process = subprocess.Popen(
                [shell, "-c", _SCRIPT, "kernel-reaper", str(GRACE_S)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as exc:
            logger.warning("no watchman for kernels, should this server be killed: %s", exc.strerror)
            return
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)

    def _write(self, sign: str, pid: int) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            os.write(self._process.stdin.fileno(), f"{sign} {pid}\n".encode())
        except OSError as exc:
            logger.warning("the watchman of the kernels does not listen: %s", exc.strerror)

    async def close(self) -> None:
        """All kernels are gone. May be called twice."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.to_thread(process.wait, 2 * GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
