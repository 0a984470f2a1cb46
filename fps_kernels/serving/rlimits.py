"""How many files and sockets the server may have open."""

from __future__ import annotations

import logging
import sys

logger = logging.getLogger(__name__)

WANTED_FILES = 16_384
"""Good for 1,400 launched kernels with a client each; more are for whoever sets more (`ulimit -n`)."""


def raise_limit() -> None:
    """Raise this process's soft limit to what is wanted, as far as the system lets us; never lower it.

    Many systems begin with 1,024, which are gone at 90 kernels: the next ones are half connected then, or not
    found, and clients are sent away. Kernels inherit it.
    """
    if sys.platform == "win32":
        return  # has no such limit
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as exc:  # macOS has a bound of its own
        logger.info("the limit of open files stays at %d: %s", soft, exc)
