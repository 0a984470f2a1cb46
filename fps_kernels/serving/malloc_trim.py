"""Memory that a burst of messages took, and that glibc would keep for the next one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

CHECK_S = 30.0
GROWN_BYTES = 32 * 1024 * 1024
"""By so much the process must have grown since it was last looked after: a smaller gain is not worth a stop."""
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Of this process; 0 where there is no /proc."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def find_malloc_trim() -> Callable[[int], int] | None:
    """glibc's; None where the C library is another one."""
    import ctypes  # when it is needed, not at the start

    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # TypeError: Windows
        return None
    return trim


async def release_memory(check_s: float = CHECK_S) -> None:
    """Until cancelled: when the process has grown, return to the system what it does not use any more.

    libzmq's queues are small pieces in arenas of its own threads, of which free() returns little: 750 MiB
    after 180,000 messages that came faster than they were read, 220 MiB after this. It takes 0.1 ms a MiB,
    in a thread, in which whoever allocates may have to wait.
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
