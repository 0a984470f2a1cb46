"""Memory and CPU of kernels, each with all the processes that it has started. Blocks: to be called in a thread."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from .kernel_view import Usage

if TYPE_CHECKING:
    import psutil

NO_PSUTIL = "psutil is not installed on the server"
GONE = "The process is gone"
NOT_ALLOWED = "The server may not look into this process"
PARTLY_ALLOWED = "The server may not look into some of its processes"
ONE_SAMPLE = "CPU needs two samples: in a moment"

ProcessKey = tuple[int, float]
"""The id of a process and when it was created: ids are used again."""


class ProcessSampler:
    """Samples processes; CPU time counts from one sample to the next."""

    def __init__(self) -> None:
        self._seconds: dict[ProcessKey, float] = {}
        self._at = self._wall = 0.0  # of the last sample, by the clock that only grows, and by that of processes

    def sample(self, roots: Collection[int]) -> dict[int, Usage]:
        """What the processes with these ids use, each with its children and theirs."""
        try:
            import psutil  # not needed by a server whose page nobody opens
        except ImportError:
            return dict.fromkeys(roots, Usage(note=NO_PSUTIL))
        children: defaultdict[int, list[psutil.Process]] = defaultdict(list)
        by_pid: dict[int, psutil.Process] = {}
        for process in psutil.process_iter(["ppid"]):
            by_pid[process.pid] = process
            if (parent := process.info["ppid"]) is not None:
                children[parent].append(process)
        now = time.monotonic()
        seconds: dict[ProcessKey, float] = {}
        usage = {root: self._of_tree(by_pid.get(root), children, now, seconds) for root in roots}
        self._seconds, self._at, self._wall = seconds, now, time.time()
        return usage

    def _of_tree(
        self,
        root: psutil.Process | None,
        children: Mapping[int, list[psutil.Process]],
        now: float,
        seconds: dict[ProcessKey, float],
    ) -> Usage:
        """What a process and its descendants use. seconds: takes the CPU time of each."""
        import psutil

        if root is None:
            return Usage(note=GONE)
        memory, busy_s, processes, note = 0, 0.0, 0, ""
        first = False
        for process in _tree(root, children):
            try:
                with process.oneshot():
                    key = process.pid, process.create_time()
                    times = process.cpu_times()
                    memory += process.memory_info().rss
            except psutil.NoSuchProcess:
                if process is root:
                    return Usage(note=GONE)
                continue
            except psutil.Error:  # AccessDenied
                if process is root:
                    return Usage(note=NOT_ALLOWED)
                note = PARTLY_ALLOWED
                continue
            processes += 1
            seconds[key] = times.user + times.system
            if process is root:
                first = key not in self._seconds
            before = 0.0 if key[1] >= self._wall else seconds[key]  # of one that was not looked into before
            busy_s += max(0.0, seconds[key] - self._seconds.get(key, before))
        if first:
            return Usage(memory, None, processes, note or ONE_SAMPLE)
        cpu_percent = round(100 * busy_s / (now - self._at), 1) if now > self._at else 0.0
        return Usage(memory, cpu_percent, processes, note)


def _tree(root: psutil.Process, children: Mapping[int, list[psutil.Process]]) -> Iterator[psutil.Process]:
    """A process and its descendants; the list is of one moment, so that there might be a circle in it."""
    seen, waiting = {root.pid}, [root]
    while waiting:
        process = waiting.pop()
        yield process
        for child in children.get(process.pid, ()):
            if child.pid not in seen:
                seen.add(child.pid)
                waiting.append(child)
