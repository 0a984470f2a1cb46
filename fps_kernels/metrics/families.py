"""Families of numbers in Prometheus' form, all with the same prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from ..histogram import Histogram

PREFIX = "fps_kernels"

Labels = TypeVar("Labels", bound=tuple[str, ...])
"""The values of a number's labels, in the order of their names."""
ALONE: tuple[str, ...] = ()
"""The labels of a number that is alone in its family."""


def gauge(name: str, help_: str, values: Mapping[Labels, float], labels: Sequence[str] = ()) -> GaugeMetricFamily:
    """A family of numbers that go up and down, by their labels."""
    family = GaugeMetricFamily(f"{PREFIX}_{name}", help_, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def counter(name: str, help_: str, values: Mapping[Labels, float], labels: Sequence[str] = ()) -> CounterMetricFamily:
    """A family of numbers that only grow, by their labels. Prometheus adds `_total` to the name."""
    family = CounterMetricFamily(f"{PREFIX}_{name}", help_, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def histogram(
    name: str, help_: str, values: Mapping[Labels, Histogram], labels: Sequence[str] = ()
) -> HistogramMetricFamily:
    """A family of histograms, by their labels."""
    family = HistogramMetricFamily(f"{PREFIX}_{name}", help_, labels=labels)
    for label_values, one in values.items():
        ends = [*map(str, one.bounds), "+Inf"]
        family.add_metric(label_values, list(zip(ends, accumulate(one.counts), strict=True)), one.total)
    return family
