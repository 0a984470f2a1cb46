"""stdin, stdout and stderr, any of which may be missing, or lead to a reader that is gone."""

from __future__ import annotations

import contextlib
import os
import sys


def open_standard_streams() -> None:
    """Open those that were closed at the start, leading nowhere.

    Otherwise the next file or socket has its number, and gets what any library writes to stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(descriptor, True)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def tell(text: str) -> None:
    """Print a text to stderr for the operator, if anybody reads it."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
        print(text, file=sys.stderr, flush=True)
