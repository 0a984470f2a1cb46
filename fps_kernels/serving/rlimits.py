"""The number of files and sockets that the server may have open."""

from __future__ import annotations

import logging

try:
    import resource
except ImportError:  # a Python without it
    resource = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

WANTED_FILES = 16_384
"""Enough for 1,400 launched kernels with a client each. A higher limit can be set with `ulimit -n`."""


def raise_limit() -> None:
    """Raise this process's soft limit to what is wanted, as far as the system permits. Never lowers it.

    Many systems start with 1,024, which 90 kernels use up: further kernels connect only partly or are not found, and
    clients are turned away. Kernels inherit the limit.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as exc:  # macOS has a lower bound of its own
        logger.info("The limit of open files stays at %d: %s", soft, exc)


def file_limit() -> int:
    """The number of files and sockets that this process may have open; as many as are wanted where nobody limits it."""
    if resource is None:
        return WANTED_FILES
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED_FILES if soft == resource.RLIM_INFINITY else soft
