"""What is wanted of a kernelbench run: the goals of docs/performance.md, and whether they are met. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Medians = Mapping[str, Mapping[str, Mapping[str, float | str]]]
"""Of a run: case, server, metric."""

OURS, PEER, LIMIT, DIRECT = "mine", "js", "limit", "direct"
"""Servers by kernelbench's names: this one, jupyter_server, a proxy in C, and none: a client on the kernel's ports."""
PEERS = {
    OURS: "fps_kernels",
    "mine-jupyter-server": "in Jupyter Server",
    "mine-kept": "kept kernels",
    PEER: "jupyter_server",
    "kg": "Kernel Gateway",
    "new": "Jupyverse 0.14",
    LIMIT: "the limit",
    DIRECT: "no server",
}
"""All that are measured, and what people call them."""
WARM = "mine-warm"
"""This one, with kernels that wait for whoever starts one."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table.

    more: whether more is better.
    to_peer, to_least: goals for the ratio of our value to that of jupyter_server, and to the least that is possible;
      None where there is none. At least that, if more is better, else at most.
    least: what is the least: the proxy, or no server.
    number: the goal for our value itself.
    server: whose value is ours.
    """

    case: str
    what: str
    unit: str
    metric: str
    more: bool = False
    to_peer: float | None = None
    to_least: float | None = None
    least: str = LIMIT
    number: float | None = None
    server: str = OURS

    def value(self, medians: Medians, server: str) -> float | None:
        """None when it was not measured, or could not be."""
        if self.server != OURS and server != OURS:
            return None  # the others were not asked for it
        value = medians.get(self.case, {}).get(self.server if server == OURS else server, {}).get(self.metric)
        return value if isinstance(value, int | float) else None

    def ratio(self, medians: Medians, server: str) -> float | None:
        """Our value in relation to another's; None where one of the two has no number, or 0."""
        ours, other = self.value(medians, OURS), self.value(medians, server)
        return ours / other if ours and other else None

    def results(self, medians: Medians) -> list[bool]:
        """Of each of its goals that can be told, whether it is met."""
        pairs = [
            (self.to_peer, self.ratio(medians, PEER)),
            (self.to_least, self.ratio(medians, self.least)),
            (self.number, self.value(medians, OURS)),
        ]
        return [is_met(goal, value, more=self.more) for goal, value in pairs if goal is not None and value is not None]

    def better(self, medians: Medians, server: str) -> float | None:
        """How many times better than jupyter_server; None where one of the two has no number, or 0."""
        value, peer = self.value(medians, server), self.value(medians, PEER)
        if not value or not peer:
            return None
        return value / peer if self.more else peer / value


def is_met(goal: float, value: float, *, more: bool) -> bool:
    """To two digits, as the table shows them."""
    value = float(f"{value:.2g}")
    return value >= goal if more else value <= goal


CPU = "CPU s / 100k delivered"
RATE = "delivered msg/s"
GOALS = (
    Goal("rtt", "echo, p50", "ms", "echo p50 ms", to_peer=0.48, to_least=1.9),
    Goal("rtt", "echo, server CPU", "ms", "echo server CPU ms", to_peer=0.33, to_least=3.3),
    Goal("flood", "flood, one client", "messages/s", RATE, more=True, to_peer=9, to_least=0.75),
    Goal("flood", "flood, server CPU per 100,000", "s", CPU, to_peer=0.06, to_least=2.5),
    Goal("flood_legacy", "flood, JSON protocol, server CPU per 100,000", "s", CPU),
    Goal("flood_hwm", "flood, kernel's PUB bound 1,000: lost", "messages", "undelivered"),
    Goal("fanout", "flood, 16 clients", "deliveries/s", f"x16 {RATE}", more=True),
    Goal("fanout", "flood, 16 clients, server CPU per 100,000", "s", f"x16 {CPU}", to_peer=0.022, to_least=2.5),
    Goal("load", "echo while another kernel floods, p50", "ms", "loaded p50 ms", to_peer=0.5),
    Goal("load", "echo while another kernel floods, p99", "ms", "loaded p99 ms", to_peer=1, to_least=1.2),
    Goal("blob", "buffers of 1 MiB from a kernel", "MB/s", "1MiB down MB/s", more=True, to_peer=3.3, to_least=1),
    Goal("blob", "buffers of 1 MiB to a kernel", "MB/s", "1MiB up MB/s", more=True, to_peer=2, to_least=0.75),
    Goal("blob", "buffers of 64 MiB from a kernel", "MB/s", "64MiB down MB/s", more=True, to_peer=3.3, to_least=1),
    Goal("blob", "buffers of 64 MiB to a kernel", "MB/s", "64MiB up MB/s", more=True, to_peer=1.9, to_least=0.95),
    Goal("start", "ipykernel: POST to first reply", "s", "one s", to_least=1.05, least=DIRECT),
    Goal("start", "four at once, the last", "s", "4 at once, last ready s", to_peer=1, to_least=1.1, least=DIRECT),
    Goal("start", "one that was kept ready", "s", "kept ready", number=0.04, server=WARM),
    Goal("start", "restart to first reply, a kernel kept ready", "s", "restart, kept ready", server=WARM),
    Goal("cold", "start of the server", "s", "cold start s"),
    Goal("memory", "memory, idle", "MiB", "idle RSS MiB", to_peer=0.63),
    Goal("memory", "memory, 50 kernels", "MiB", "RSS 50 kernels MiB", to_peer=0.69),
    Goal("memory", "descriptors per kernel", "", "fds per kernel", number=8.6),
    Goal("memory", "descriptors per client", "", "fds per ws client", number=1),
    Goal("memory", "threads, 50 kernels", "", "threads 50 kernels"),
)
