"""How a kernel's process ended, and how that is told to people. Pure."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from ..log_text import escape

REASON_LINES = 3
"""Lines of stderr that a reason quotes."""
PORT_TAKEN = ("Address already in use", "EADDRINUSE", "address in use")
"""What a kernel writes to stderr when it cannot have a port."""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a kernel's process ended.

    code: the exit status, negative for a signal (as in subprocess); None if it is not known.
    stderr: the last lines of stderr, oldest first.
    out_of_memory: whether Linux killed the process because memory ran out; None if that cannot be told.
    said: what is known of the end of a process that is not ours, in words.
    """

    code: int | None
    stderr: tuple[str, ...] = ()
    out_of_memory: bool | None = None
    said: str = ""

    @property
    def port_taken(self) -> bool:
        """Whether the process ended because another one had one of its ports."""
        return any(map(says_port_taken, self.stderr))

    @property
    def kind(self) -> str:
        """One of few words: "out of memory", the name of a signal, "exit" with any code, or "unknown"."""
        if self.code is None:
            return "unknown"
        if self.code >= 0:
            return "exit"
        if self.out_of_memory:
            return "out of memory"
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return "signal"

    @property
    def reason(self) -> str:
        """One line for people, without paths of the server's machine and without anything that a terminal obeys."""
        if self.code is None:
            return self.said or "exited"
        if self.code < 0:
            try:
                name = signal.Signals(-self.code).name
            except ValueError:
                name = f"signal {-self.code}"
            if name != "SIGKILL" or self.out_of_memory is False:
                return f"killed ({name})"
            return "killed (SIGKILL), " + ("out of memory" if self.out_of_memory else "possibly out of memory")
        lines = [line for line in self.stderr if line.strip() and not line[0].isspace()]
        lines = [line for line in lines if not line.startswith("Traceback ")]
        quoted = f": {' | '.join(map(quotable, lines[-REASON_LINES:]))}" if lines else ""
        return f"exited with code {self.code}{quoted}"


def says_port_taken(line: str) -> bool:
    """Whether a line that a process wrote says that it could not have a port."""
    return any(sign in line for sign in PORT_TAKEN)


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # of tracebacks


def quotable(line: str) -> str:
    """A line that a process wrote, as it may be shown to people elsewhere."""
    return escape(without_paths(_COLOUR.sub("", line)))


_PATH = re.compile(r"(?<![\w/])(?:/[\w.@+~-]+){2,}/?")


def without_paths(line: str) -> str:
    """A line in which every absolute path is cut to its last component."""
    return _PATH.sub(lambda match: match[0].rstrip("/").rsplit("/", 1)[1], line)
