"""Garbage collection of our own commands: none while they start.

Imports make objects that stay, and each full collection walks through all that are there so far: 8 % of the
gateway's start, 14 % of JupyterLab's.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collect_later() -> Iterator[None]:
    """Collect nothing until `collect_from_now`, or the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def collect_from_now() -> None:
    """Collect as ever. What is there now counts as old: the next short collection does not walk through it.

    Not gc.freeze alone, so that it were never looked at again: no CPU per message is gained by it (kernelbench b
    and c), as full collections are rare, and become more frequent the fewer objects are known to be old.
    """
    gc.freeze()
    gc.unfreeze()
    gc.enable()
