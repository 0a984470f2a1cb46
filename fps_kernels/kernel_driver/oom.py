"""Whether Linux killed a process because memory ran out. Asked only about processes that ended by SIGKILL.

There are three sources, none of which is always available. The kernel's log (/dev/kmsg) names the process, but can be
read by root only, and has other process ids than a container. The counter of the memory cgroup shows that some process
in the group was killed. The counter in /proc/vmstat shows that no process was killed anywhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from pathlib import Path

VMSTAT = Path("/proc/vmstat")
KMSG = Path("/dev/kmsg")
KMSG_RECORD_BYTES = 8192
"""The buffer for one record. Linux does not write a record to a smaller one."""
KMSG_MAX_RECORDS = 20_000
"""The most records that are read: a busy log must not be followed without end."""
CLOCK_TOLERANCE_S = 1.0
"""How far the log's clock and that of time.monotonic may drift apart."""

_CGROUP_FILES = ((Path("/sys/fs/cgroup"), "memory.events"), (Path("/sys/fs/cgroup/memory"), "memory.oom_control"))
"""The root folder and the file with the counter, for cgroups of version 2 and version 1."""
_COUNTER = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_KILLED = re.compile(r"[Kk]illed process (\d+)\b")


class OomWatch:
    """A note of the counters before a process is launched, to be compared when it was killed."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._cgroup_file = _find_cgroup_file() if sys.platform == "linux" else None
        self._cgroup_kills = _read_counter(self._cgroup_file)
        self._all_kills = _read_counter(VMSTAT)

    def killed(self, pid: int) -> bool | None:
        """Whether the process was killed because memory ran out; None if that cannot be told.

        Reads files, which may take milliseconds.
        """
        all_kills = _read_counter(VMSTAT)
        if all_kills is not None and all_kills == self._all_kills:
            return False
        cgroup_kills = _read_counter(self._cgroup_file)
        if cgroup_kills is not None and cgroup_kills != self._cgroup_kills:
            return True
        return True if pid in _killed_since(self._began - CLOCK_TOLERANCE_S) else None


def _read_counter(path: Path | None) -> int | None:
    try:
        found = _COUNTER.search(path.read_text()) if path is not None else None
    except (OSError, UnicodeDecodeError):
        return None
    return int(found[1]) if found else None


def _find_cgroup_file() -> Path | None:
    """The file with the counter of the memory cgroup of this process and its children, if there is one."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    groups = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    for (root, name), controller in zip(_CGROUP_FILES, ("", "memory"), strict=True):
        for _, controllers, group in groups:
            # In a container the path may be the host's; the container's own group is the root then.
            for folder in (root / group.lstrip("/"), root):
                if controller in controllers.split(",") and (folder / name).is_file():
                    return folder / name
    return None


def _killed_since(began: float) -> set[int]:
    """The processes that were killed since `began` (time.monotonic), as far as the kernel's log may be read."""
    pids: set[int] = set()
    try:
        fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return pids
    try:
        with contextlib.suppress(OSError):  # the end of the log, or it may not be read
            for _ in range(KMSG_MAX_RECORDS):
                try:
                    record = os.read(fd, KMSG_RECORD_BYTES).decode("utf-8", "replace")
                except BrokenPipeError:
                    continue  # records were overwritten while we read: the oldest that is left comes next
                if (killed := _parse_record(record)) is not None and killed[0] >= began:
                    pids.add(killed[1])
    finally:
        os.close(fd)
    return pids


def _parse_record(record: str) -> tuple[float, int] | None:
    """The time (s on the monotonic clock) and the id of the process that the record says was killed."""
    prefix, _, text = record.partition(";")
    fields = prefix.split(",")
    found = _KILLED.search(text)
    if found is None or len(fields) < 3 or not fields[2].isdecimal():
        return None
    return int(fields[2]) / 1e6, int(found[1])
