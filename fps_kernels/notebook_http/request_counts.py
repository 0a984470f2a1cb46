"""How requests to a notebook were answered, as numbers that only grow. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..histogram import Histogram

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(slots=True)
class RequestCounts:
    """The counters.

    answered: by verb, the endpoint's path and status. seconds: by verb and path, until the end of the answer.
    waits: the seconds that requests waited for a kernel.
    """

    answered: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    seconds: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    waits: Histogram = field(default_factory=lambda: Histogram(BOUNDS_S))

    def count(self, verb: str, path: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self.answered[verb, path, str(status)] += 1
        if (verb, path) not in self.seconds:
            self.seconds[verb, path] = Histogram(BOUNDS_S)
        self.seconds[verb, path].observe(seconds)
