"""How a run of a notebook ends, as the exit code of its command. Pure."""

from __future__ import annotations

from enum import IntEnum


class Outcome(IntEnum):
    """The exit codes of `fps-kernels run`."""

    OK = 0
    """All cells ran, or those that failed were allowed to."""
    CELL_FAILED = 1
    USAGE = 2
    """An option is wrong, the notebook cannot be read, or its output could never be written."""
    NO_KERNEL = 3
    """The kernel did not start, or the server cannot be reached."""
    KERNEL_DIED = 4
    TIMEOUT = 5
    NOT_SAVED = 6
    """All was run, but what came of it could not be written."""
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_CODES = """\
exit codes:
  0  all cells ran           4  the kernel died
  1  a cell failed           5  a cell took longer than --timeout
  2  wrong usage             6  the notebook could not be saved
  3  no kernel               130, 143  interrupted, terminated
"""
