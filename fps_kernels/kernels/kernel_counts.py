"""How the kernels of a process start and end, as numbers that only grow, also when a kernel is gone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from ..histogram import Histogram
from ..kernel_driver.exit_status import ExitStatus
from ..kernel_driver.observer import LifecycleObserver
from ..kernel_server.tally import Tally

if TYPE_CHECKING:
    from .kernel import Kernel

START_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
"""The bounds of the histogram of starts: one from the pool takes 40 ms, a new ipykernel half a second or more."""
MAX_NAMES = 200
"""Kernelspecs that are told apart; the others are counted as OTHER."""
OTHER = "other"


@dataclass(slots=True)
class KernelCounts:
    """The counters of all kernels of a process.

    live: the kernels that have not ended.
    gone: what has become of the messages of those that have.
    starts: by kernelspec and by how (see LifecycleObserver.on_ready), the seconds until the process answered.
    failed_starts: by kernelspec.
    restarts: by kernelspec and by why ("user", "death").
    deaths: by kernelspec and ExitStatus.kind, of processes that ended unasked.
    culled: by kernelspec.
    """

    live: set[Kernel] = field(default_factory=set)
    gone: Tally = field(default_factory=Tally)
    starts: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    failed_starts: Counter[str] = field(default_factory=Counter)
    restarts: Counter[tuple[str, str]] = field(default_factory=Counter)
    deaths: Counter[tuple[str, str]] = field(default_factory=Counter)
    culled: Counter[str] = field(default_factory=Counter)
    _names: set[str] = field(default_factory=set)

    def follow(self, kernel: Kernel) -> None:
        """Count what happens to a kernel whose start has not begun."""
        kernel.observers.add(_KernelCounter(self, kernel))
        self.live.add(kernel)

        async def forget() -> None:
            if kernel in self.live:
                self.live.remove(kernel)
                self.gone.add(kernel.server.journal.tally)

        kernel.on_stop(forget)

    def name_of(self, kernel: Kernel) -> str:
        """The kernelspec of a kernel, as it is counted."""
        name = kernel.driver.name
        if name not in self._names:
            if len(self._names) >= MAX_NAMES:
                return OTHER
            self._names.add(name)
        return name

    def tally(self) -> Tally:
        """What has become of the messages of all kernels."""
        total = self.gone.copy()
        for kernel in self.live:
            total.add(kernel.server.journal.tally)
        return total


class _KernelCounter(LifecycleObserver):
    """Counts what happens to one kernel."""

    def __init__(self, counts: KernelCounts, kernel: Kernel) -> None:
        self._counts = counts
        self._kernel = kernel
        self._began = monotonic()

    @property
    def _name(self) -> str:
        return self._counts.name_of(self._kernel)

    def on_ready(self, how: str) -> None:
        starts = self._counts.starts
        histogram = starts.get((self._name, how))
        if histogram is None:
            histogram = starts[self._name, how] = Histogram(START_BOUNDS_S)
        histogram.observe(monotonic() - self._began)

    def on_start_failed(self) -> None:
        self._counts.failed_starts[self._name] += 1

    def on_exit(self, status: ExitStatus) -> None:
        self._counts.deaths[self._name, status.kind] += 1

    def on_user_restart(self) -> None:
        self._began = monotonic()
        self._counts.restarts[self._name, "user"] += 1

    def on_restarting(self, reason: str) -> None:
        self._began = monotonic()
        self._counts.restarts[self._name, "death"] += 1
