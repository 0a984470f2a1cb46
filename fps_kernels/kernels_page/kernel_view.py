"""What the page of kernels shows of each kernel, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from ..kernel_driver.state import ExecutionState
from ..kernel_server.tally import Tally
from ..kernels.keeping.keepsake import Keepsake
from ..kernels.kernel import Kernel, format_date

INTERRUPT, RESTART, SHUTDOWN = "interrupt", "restart", "shutdown"
"""What can be done to a kernel, by the names of the API."""


class PageSession(TypedDict):
    """Who uses a kernel: type is `notebook`, `console` or `file`, as clients name it."""

    path: str
    name: str
    type: str


class KernelView(TypedDict):
    """One kernel, without its sessions, which not everybody may see.

    name, display_name: of its kernelspec. state: `unresponsive` if its process lives and does not answer.
    since: when it came to this state. clients: WebSockets. pid: None if it is not known, or of another machine.
    memory_bytes, cpu_percent: of all of its processes; None where `usage_note` says why they are not known.
    messages_per_s: between the kernel and its clients, both ways.
    outlives: `crash`, `always` or `no`: what the kernel survives of its server. actions: what the API would do to it.
    """

    id: str
    name: str
    display_name: str
    state: str
    reason: str
    since: str
    started: str
    last_activity: str
    clients: int
    pid: int | None
    processes: int
    memory_bytes: int | None
    cpu_percent: float | None
    usage_note: str
    messages_per_s: float
    external: bool
    outlives: str
    actions: list[str]


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of a kernel use.

    memory_bytes: resident memory; pages that several of them share count for each.
    cpu_percent: of one core, since the sample before.
    processes: how many were looked into.
    note: why there is a number missing; "" if none is.
    """

    memory_bytes: int | None = None
    cpu_percent: float | None = None
    processes: int = 0
    note: str = ""


EXTERNAL = Usage(note="Started elsewhere: which process it is is not known here")
NO_PROCESS = Usage(note="There is no process")
ELSEWHERE = Usage(note="Its process is not on this machine")
NOT_YET = Usage(note="Not measured yet")


def view_of(
    kernel: Kernel, usage: Mapping[int, Usage], keepsake: Keepsake, messages_per_s: float, names: dict[str, str]
) -> KernelView:
    """What is shown of a kernel.

    usage: by the ids of processes.
    names: the display names of kernelspecs, by their names; one that is new is added. A dead kernel tells its no more.
    """
    state, driver = kernel.client.state, kernel.driver
    pid = driver.pid
    if display_name := driver.kernelspec.get("display_name"):
        names[driver.name] = str(display_name)
    used = _usage(kernel, usage)
    return {
        "id": kernel.id,
        "name": driver.name,
        "display_name": names.get(driver.name, driver.name),
        "state": "unresponsive" if state.unresponsive and state.ready else state.execution_state.value,
        "reason": state.reason or state.unresponsive or "",
        "since": format_date(state.last_change),
        "started": keepsake.began(kernel.id) or format_date(kernel.created),
        "last_activity": format_date(state.last_activity),
        "clients": kernel.server.connections,
        "pid": pid,
        "processes": used.processes,
        "memory_bytes": used.memory_bytes,
        "cpu_percent": used.cpu_percent,
        "usage_note": used.note,
        "messages_per_s": messages_per_s,
        "external": kernel.external,
        "outlives": ("always" if keepsake.stays else "crash") if keepsake.outlives(kernel.id) else "no",
        "actions": actions_of(kernel.execution_state, external=kernel.external),
    }


def actions_of(state: ExecutionState, *, external: bool) -> list[str]:
    """What the API would do to a kernel: the process of an external one is not ours to start or to end."""
    if state is ExecutionState.TERMINATING:
        return []
    dead = state is ExecutionState.DEAD
    if external:
        return [SHUTDOWN] if dead else [INTERRUPT]
    return [RESTART, SHUTDOWN] if dead else [INTERRUPT, RESTART, SHUTDOWN]


def _usage(kernel: Kernel, usage: Mapping[int, Usage]) -> Usage:
    if kernel.external:
        return EXTERNAL
    if (pid := kernel.driver.pid) is not None:
        return usage.get(pid, NOT_YET)
    return ELSEWHERE if kernel.driver.kernelspec else NO_PROCESS


class MessageRates:
    """Messages a second of each kernel, from counters that only grow."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int]] = {}

    def of(self, kernel_id: str, tally: Tally, now: float) -> float:
        """The rate since the call before, 0 at the first one. now: seconds, of any clock."""
        total = sum(flow.messages for flow in tally.flows.values())
        before, counted = self._last.get(kernel_id, (now, total))
        self._last[kernel_id] = now, total
        return round(max(0, total - counted) / (now - before), 1) if now > before else 0.0

    def keep_only(self, kernel_ids: Sequence[str]) -> None:
        """Forget all other kernels."""
        self._last = {one: self._last[one] for one in kernel_ids if one in self._last}
