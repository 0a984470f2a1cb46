"""The end of kernels whose server is gone: what only their number, and when they began, is known of."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from ...process_mark import ProcessMark
from ...store.model import KernelRow

TERM_WAIT_S = 3.0
"""How long a process may take to end by itself after SIGTERM."""
KILL_WAIT_S = 3.0
POLL_INTERVAL_S = 0.02


async def end_orphan(row: KernelRow) -> bool:
    """End the process of a kernel, and what it has started, in bounded time; whether it is gone.

    A process that has got its number since is left alone.
    """
    mark = row.process
    if mark is None:
        return True
    for signum, wait_s in ((signal.SIGTERM, TERM_WAIT_S), (signal.SIGKILL, KILL_WAIT_S)):
        if not await asyncio.to_thread(_send, mark, signum):
            return True
        if await asyncio.to_thread(_wait, mark, wait_s):
            return True
    return False


def _wait(mark: ProcessMark, timeout_s: float) -> bool:
    """Wait until a process, which need not be a child, is gone; whether it is. Blocks."""
    deadline = time.monotonic() + timeout_s
    while mark.runs:
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True


def _send(mark: ProcessMark, signum: int) -> bool:
    """Send a signal to a process, and to its group if it leads one; whether it was there. Blocks, for a moment."""
    try:
        pidfd = os.pidfd_open(mark.pid) if hasattr(os, "pidfd_open") else -1
    except OSError:
        return False
    try:
        if not mark.runs:  # looked at while the number cannot be used again
            return False
        if mark.pgid == mark.pid != os.getpgid(0):
            os.killpg(mark.pgid, signum)
        else:
            os.kill(mark.pid, signum)
        return True
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if pidfd >= 0:
            os.close(pidfd)
