"""What a keeper leaves to the program that takes its place in the same process, which may be of another version.

Nothing but plain values: numbers, strings, bytes, and lists and dictionaries of them. They are in a file without a
name, whose descriptor is inherited.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Sequence
from typing import Any, NoReturn

FORMAT = 1
"""The version of what is left. A program that knows only others cannot take over."""
KNOWN = frozenset({FORMAT})
_PICKLE = 4
"""A protocol of pickle that all versions of Python have which may take over."""

State = dict[str, Any]


class _Plain(pickle.Unpickler):
    """Makes no objects of classes."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is no plain value")


def write(state: State) -> int:
    """Write what is left; returns the descriptor. Blocks. Raises OSError."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("keeper")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            pickle.dump(state, file, _PICKLE)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read(descriptor: int) -> State:
    """What was left. Blocks. The descriptor is closed. Raises OSError, pickle.UnpicklingError."""
    with os.fdopen(descriptor, "rb") as file:
        state: State = _Plain(file).load()
    return state


def inherit(descriptors: Sequence[int]) -> None:
    """Let the next program have these."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
