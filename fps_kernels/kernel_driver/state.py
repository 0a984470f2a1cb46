"""The states of a kernel and every way from one to another. Pure.

    starting ──► idle ◄──► busy          the kernel says so (iopub status)
        │          │        │
        └──────────┴────────┴──► restarting ──► idle, busy   a restart: the user's or the watchdog's
        any of these ──► terminating ──► dead
        any of these ──► dead            the process is gone and will not come back
        dead ──► restarting              the user wants it back

A transition that is not drawn here raises InvalidTransition and changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from ..errors import InvalidTransition


class ExecutionState(StrEnum):
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
"""States that are not sent, and what is sent instead: clients do not know `terminating`; and JupyterLab
opens a new socket when it hears `restarting`, which would hear it again: only the watchdog says it, once."""

READY = frozenset({_S.IDLE, _S.BUSY})
"""The kernel has answered and can be asked."""


class KernelState:
    """A kernel's execution state, why it is so, and when it last did something.

    last_activity: moves with the kernel's work (busy, and busy → idle), not with our asking.
    last_change: when it came to this state.
    reason: why the kernel is dead, or is being restarted; None otherwise.
    unresponsive: what is wrong with a kernel that lives, such as no heartbeat; None otherwise.
    """

    __slots__ = ("execution_state", "last_activity", "last_change", "reason", "unresponsive")

    def __init__(self) -> None:
        self.execution_state = ExecutionState.STARTING
        self.last_activity = self.last_change = datetime.now(UTC)
        self.reason: str | None = None
        self.unresponsive: str | None = None

    @property
    def ready(self) -> bool:
        return self.execution_state in READY

    def change(self, new: ExecutionState, reason: str | None = None) -> bool:
        """Go to `new`; True when that was a change. Raises InvalidTransition."""
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
        """The kernel published its status; True when that was a change.

        What a kernel says while it is being stopped, or after it was found dead, is not news.
        While it is starting or restarting, only we decide when it is ready.
        """
        if not self.ready or new not in READY:
            return False
        self.touch()
        return self.change(new)

    def touch(self) -> None:
        self.last_activity = datetime.now(UTC)


def wire_state(execution_state: str) -> str:
    """An execution state as a client is told it: starting, idle, busy or dead."""
    return _ON_THE_WIRE.get(execution_state, execution_state)
