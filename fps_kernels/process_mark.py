"""What tells a process from all others, also after it has ended: its number alone is used again."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

PS_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """A process on a machine since its last start.

    pid, pgid: its number, and that of its group.
    start_time: when it began, in whatever form the system says so.
    boot_id: what Linux draws at each boot; empty elsewhere.
    host: the name of the machine.
    """

    pid: int
    pgid: int
    start_time: str
    boot_id: str
    host: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The mark of a process that runs; None if there is none, or none any more. May block, for a moment."""
        started = start_time(pid)
        try:
            pgid = os.getpgid(pid)
        except (OSError, OverflowError):
            return None
        return cls(pid, pgid, started, boot_id(), _host()) if started else None

    @classmethod
    def from_json(cls, data: Any) -> Self | None:
        """A mark as `to_json` gives it; None for anything else."""
        try:
            mark = cls(**data)
        except TypeError:
            return None
        numbers, texts = (mark.pid, mark.pgid), (mark.start_time, mark.boot_id, mark.host)
        fits = all(type(one) is int for one in numbers) and all(isinstance(one, str) for one in texts)
        return mark if fits and mark.pid > 0 else None

    def to_json(self) -> dict[str, Any]:
        """The mark as JSON."""
        return asdict(self)

    @property
    def is_of_this_boot(self) -> bool:
        """Whether the machine is this one, and has not been started again. May block, for a moment."""
        return (self.boot_id, self.host) == (boot_id(), _host())

    @property
    def runs(self) -> bool:
        """Whether this very process is there. May block, for a moment."""
        return self.is_of_this_boot and bool(self.start_time) and start_time(self.pid) == self.start_time


def start_time(pid: int) -> str:
    """When a process began; empty if it has ended, or if the system does not say. Blocks, for a moment."""
    try:
        # The name of the program, in parentheses, may have spaces: see proc_pid_stat(5).
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in ("Z", "X") else fields[19]
    except (OSError, IndexError):
        return "" if Path("/proc/self/stat").exists() else _from_ps(pid)


def _from_ps(pid: int) -> str:
    """The same where there is no /proc, as on macOS."""
    import subprocess  # not needed where there is /proc

    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    try:
        return subprocess.run(command, capture_output=True, timeout=PS_TIMEOUT_S, text=True).stdout.strip()
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""


def _host() -> str:
    """The name of this machine."""
    return os.uname().nodename if hasattr(os, "uname") else ""


def boot_id() -> str:
    """What Linux draws at each boot; empty elsewhere."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
