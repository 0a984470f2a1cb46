"""How often values were up to each of some bounds. Pure."""

from __future__ import annotations

from bisect import bisect_left


class Histogram:
    """Numbers of values, by size.

    bounds: upper bounds, ascending. counts: how many values each bound has that no lower one has, and those above all
    bounds. total: the sum of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
