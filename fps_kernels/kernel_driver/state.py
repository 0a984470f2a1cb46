"""The states of a kernel, and every transition between them. Pure.

    starting ──► idle ◄──► busy          the kernel says so (iopub status)
        │          │        │
        └──────────┴────────┴──► restarting ──► idle, busy   a restart, by the user or after a death
        any of these ──► terminating ──► dead
        any of these ──► dead            the process is gone and will not be restarted
        dead ──► restarting              the user restarts the kernel

A transition that is not drawn here raises InvalidTransition and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from ..errors import InvalidTransition
from ..options import UNTRACKED_MESSAGE_TYPES


class ExecutionState(StrEnum):
    """What a kernel is doing, as the REST API shows it."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RESTARTING = "restarting"
    TERMINATING = "terminating"
    DEAD = "dead"


_S = ExecutionState
_NEXT: dict[ExecutionState, frozenset[ExecutionState]] = {
    _S.STARTING: frozenset({_S.IDLE, _S.BUSY, _S.RESTARTING, _S.TERMINATING, _S.DEAD}),
    _S.IDLE: frozenset({_S.BUSY, _S.RESTARTING, _S.TERMINATING, _S.DEAD}),
    _S.BUSY: frozenset({_S.IDLE, _S.RESTARTING, _S.TERMINATING, _S.DEAD}),
    _S.RESTARTING: frozenset({_S.IDLE, _S.BUSY, _S.TERMINATING, _S.DEAD}),
    _S.TERMINATING: frozenset({_S.DEAD}),
    _S.DEAD: frozenset({_S.RESTARTING, _S.TERMINATING}),
}

_ON_THE_WIRE = {"terminating": "dead", "restarting": "starting"}
"""States that are not sent, and what is sent instead. Clients do not know `terminating`. JupyterLab opens a new
WebSocket when it hears `restarting`, and would hear it there again: it is sent only once, when the kernel has died."""

READY = frozenset({_S.IDLE, _S.BUSY})
"""The kernel has answered and can be asked."""


class KernelState:
    """A kernel's execution state, the reason for it, and when the kernel was last active.

    untracked: the message types that are no activity, neither by themselves nor by what they cause.
    last_activity: when the kernel last worked for somebody: became busy, put something out, or became idle again.
    last_change: when the kernel came to this state.
    reason: why the kernel is dead, or is being restarted; None otherwise.
    unresponsive: how a process that is alive fails to respond, such as no heartbeat; None if it responds.
    names_causes: whether the kernel has ever said which request caused what it published. A few never do.
    """

    __slots__ = (
        "execution_state",
        "last_activity",
        "last_change",
        "names_causes",
        "reason",
        "unresponsive",
        "untracked",
    )

    def __init__(self) -> None:
        self.untracked = frozenset(UNTRACKED_MESSAGE_TYPES)
        self.execution_state = ExecutionState.STARTING
        self.last_activity = self.last_change = datetime.now(UTC)
        self.reason: str | None = None
        self.unresponsive: str | None = None
        self.names_causes = False

    @property
    def ready(self) -> bool:
        """Whether the kernel has answered and can be asked."""
        return self.execution_state in READY

    def change(self, new: ExecutionState, reason: str | None = None) -> bool:
        """Change to `new`; returns whether that is another state. Raises InvalidTransition."""
        if new is self.execution_state:
            self.reason = reason or self.reason
            return False
        if new not in _NEXT[self.execution_state]:
            raise InvalidTransition(f"a kernel cannot go from {self.execution_state} to {new}")
        self.execution_state = new
        self.reason = reason
        self.last_change = datetime.now(UTC)
        return True

    def on_kernel_status(self, new: ExecutionState) -> bool:
        """The kernel published its status; returns whether that changes the state.

        A kernel that is being stopped, or was found dead, changes nothing by it. While it is starting or restarting,
        only the handshake decides when it is ready.
        """
        if not self.ready or new not in READY:
            return False
        self.touch()
        return self.change(new)

    def touch(self) -> None:
        """The kernel is active now."""
        self.last_activity = datetime.now(UTC)


def wire_state(execution_state: str) -> str:
    """An execution state as it is sent to clients: starting, idle, busy or dead."""
    return _ON_THE_WIRE.get(execution_state, execution_state)


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """A snapshot of a client's counters.

    listeners: the number of its listeners.
    pending: the number of requests that the kernel has not finished.
    rejected: the number of messages that were dropped because they were malformed or wrongly signed.
    """

    listeners: int
    pending: int
    rejected: int
