"""What is wanted of a kernelbench run: the goals of docs/performance.md, and whether they are met. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Medians = Mapping[str, Mapping[str, Mapping[str, float | str]]]
"""Of a run: case, server, metric."""

OURS, PEER, DIRECT = "mine", "js", "direct"
"""Servers by kernelbench's names: this one, jupyter_server, and none: a client on the kernel's own ports."""
PEERS = {PEER: "jupyter_server", "kg": "Kernel Gateway", "old": "Jupyverse 0.6.4", "new": "Jupyverse 0.14"}
"""Those that it is held against, and what people call them."""
WARM = "mine-warm"
"""This one, with kernels that wait for whoever starts one."""


class Bound(StrEnum):
    AT_MOST = "≤"
    AT_LEAST = "≥"
    TIMES_PEER = "≥ × jupyter_server"
    AT_MOST_DIRECT = "≤ × direct"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table. number: of the bound, times what another reached where it says so.

    server: whose value; more_is_better: for the chart.
    """

    case: str
    what: str
    unit: str
    metric: str
    bound: Bound = Bound.NONE
    number: float = 0.0
    server: str = OURS

    @property
    def more_is_better(self) -> bool:
        return self.bound in (Bound.AT_LEAST, Bound.TIMES_PEER)

    def value(self, medians: Medians, server: str) -> float | None:
        """None when it was not measured, or could not be."""
        if self.server != OURS and server != OURS:
            return None  # the others were not asked for it
        value = medians.get(self.case, {}).get(self.server if server == OURS else server, {}).get(self.metric)
        return value if isinstance(value, int | float) else None

    def met(self, medians: Medians) -> bool | None:
        """None when nobody can tell, or nothing is wanted."""
        ours = self.value(medians, OURS)
        other = {Bound.TIMES_PEER: PEER, Bound.AT_MOST_DIRECT: DIRECT}.get(self.bound)
        base = 1.0 if other is None else self.value(medians, other)
        if ours is None or base is None or self.bound is Bound.NONE:
            return None
        return ours >= self.number * base if self.more_is_better else ours <= self.number * base

    def better(self, medians: Medians, server: str) -> float | None:
        """How many times better than jupyter_server; None where one of the two has no number, or 0."""
        value, peer = self.value(medians, server), self.value(medians, PEER)
        if not value or not peer:
            return None
        return value / peer if self.more_is_better else peer / value


CPU = "CPU s / 100k delivered"
RATE = "delivered msg/s"
GOALS = (
    Goal("rtt", "echo, p50", "ms", "echo p50 ms", Bound.AT_MOST, 0.40),
    Goal("rtt", "echo, server CPU", "ms", "echo server CPU ms", Bound.AT_MOST, 0.22),
    Goal("flood", "flood, one client", "messages/s", RATE, Bound.TIMES_PEER, 8),
    Goal("flood", "flood, server CPU per 100,000", "s", CPU, Bound.AT_MOST, 1.3),
    Goal("flood_legacy", "flood, JSON protocol, server CPU per 100,000", "s", CPU, Bound.AT_MOST, 2.5),
    Goal("flood_hwm", "flood, kernel's PUB bound 1,000: lost", "messages", "undelivered", Bound.AT_MOST_DIRECT, 1),
    Goal("fanout", "flood, 16 clients", "deliveries/s", f"x16 {RATE}", Bound.TIMES_PEER, 12),
    Goal("fanout", "flood, 16 clients, server CPU per 100,000", "s", f"x16 {CPU}", Bound.AT_MOST, 0.3),
    Goal("load", "echo while another kernel floods, p50", "ms", "loaded p50 ms", Bound.AT_MOST, 0.8),
    Goal("load", "echo while another kernel floods, p99", "ms", "loaded p99 ms", Bound.AT_MOST, 4),
    Goal("blob", "buffers of 1 MiB from a kernel", "MB/s", "1MiB down MB/s", Bound.AT_LEAST, 1_000),
    Goal("blob", "buffers of 1 MiB to a kernel", "MB/s", "1MiB up MB/s", Bound.AT_LEAST, 1_000),
    Goal("blob", "buffers of 64 MiB from a kernel", "MB/s", "64MiB down MB/s", Bound.AT_LEAST, 450),
    Goal("blob", "buffers of 64 MiB to a kernel", "MB/s", "64MiB up MB/s", Bound.AT_LEAST, 450),
    Goal("start", "ipykernel: POST to first reply", "s", "one s", Bound.AT_MOST_DIRECT, 1.1),
    Goal("start", "the same, a kernel kept ready", "s", "kept ready", Bound.AT_MOST, 0.05, server=WARM),
    Goal("start", "restart to first reply, a kernel kept ready", "s", "restart, kept ready", server=WARM),
    Goal("cold", "start of the server", "s", "cold start s", Bound.AT_MOST, 0.6),
    Goal("memory", "memory, idle", "MiB", "idle RSS MiB", Bound.AT_MOST, 65),
    Goal("memory", "memory, 50 kernels", "MiB", "RSS 50 kernels MiB", Bound.AT_MOST, 75),
    Goal("memory", "descriptors per kernel", "", "fds per kernel", Bound.AT_MOST, 12),
    Goal("memory", "descriptors per client", "", "fds per ws client", Bound.AT_MOST, 1),
    Goal("memory", "threads, 50 kernels", "", "threads 50 kernels"),
)
