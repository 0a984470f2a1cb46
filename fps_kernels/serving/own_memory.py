"""Keeps other processes of the same user, kernels among them, out of the server's memory and environment."""

from __future__ import annotations

import logging
import sys

PR_SET_DUMPABLE = 4  # prctl(2)


def close_memory() -> None:
    """Let only root read this process's memory and environment, by /proc, a debugger or a core dump. Linux only.

    The token may be in both. Processes that this one starts are as they were: they are other programs. With --debug
    the server stays open, for a debugger. What this package reads of /proc/self anybody may read.
    """
    if sys.platform != "linux" or logging.getLogger().isEnabledFor(logging.DEBUG):
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (ImportError, AttributeError, OSError):  # a Python, or a C library, without it
        logging.getLogger(__name__).info("This server's memory cannot be closed to other processes of its user")
