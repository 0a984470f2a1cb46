"""Returns memory to the system that glibc keeps after a burst of messages."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

CHECK_S = 30.0
"""Seconds between two looks at the size of the process."""
GROWN_BYTES = 32 * 1024 * 1024
"""Growth since the last trim that makes another one worth the pause."""
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """The resident memory of this process; 0 where there is no /proc."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def find_malloc_trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`; None where the C library is another one, or Python cannot call it."""
    try:
        import ctypes  # not before it is needed

        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (ImportError, AttributeError, OSError):  # a Python without it, too
        return None
    return trim


async def release_memory(check_s: float = CHECK_S) -> None:
    """Return unused memory to the system whenever the process has grown. Runs until cancelled.

    libzmq's queues are small blocks in the arenas of its own threads, of which free() returns little: after 180,000
    messages that arrived faster than they were read the process had 750 MiB, and 220 MiB after a trim. A trim takes
    0.1 ms per MiB in a thread; allocations in other threads may have to wait for it.

    check_s: seconds between two looks at the size of the process.
    """
    least = resident_bytes()
    while True:
        await asyncio.sleep(check_s)
        now = resident_bytes()
        if now - least <= GROWN_BYTES:
            least = min(least, now)
            continue
        trim = find_malloc_trim()
        if trim is None:
            return
        await asyncio.to_thread(trim, 0)
        least = resident_bytes()
