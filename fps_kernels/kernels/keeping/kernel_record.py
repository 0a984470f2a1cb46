"""What is to be written down of one kernel. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...kernel_driver.observer import LifecycleObserver
from ...store.model import KernelRow, Phase

if TYPE_CHECKING:
    from ...kernel_driver.process import Process
    from ...kernel_driver.state import KernelState


class KernelRecord(LifecycleObserver):
    """The row of one kernel, as it should be in the store.

    row: what is known of the kernel.
    on_change: called with this record when its row has become another one.

    process: the process that the row tells of.
    state: the kernel's state, once it is followed.
    """

    def __init__(self, row: KernelRow, on_change: Callable[[KernelRecord], None]) -> None:
        self.row = row
        self.process: Process | None = None
        self.state: KernelState | None = None
        self._on_change = on_change

    @property
    def id(self) -> str:
        return self.row.id

    def change(self, **changes: Any) -> None:
        """Change fields of the row."""
        row = replace(self.row, **changes)
        if row != self.row:
            self.row = row
            self._on_change(self)

    def change_launched(self, **changes: Any) -> None:
        """Change what the kernel is launched with."""
        self.change(launched=replace(self.row.launched, **changes))

    def begins(self) -> None:
        """Another process is about to be launched."""
        self.change(phase=Phase.RESTARTING if self.row.generation else Phase.LAUNCHING)

    def answers(self) -> None:
        """The process answers."""
        self.look()
        self.change(phase=Phase.RUNNING, reason="")

    def look(self) -> None:
        """Take over the state of the kernel."""
        if self.state is not None:
            self.change(
                execution_state=self.state.execution_state.value, last_activity=text_of(self.state.last_activity)
            )

    def on_user_restart(self) -> None:
        self.change(phase=Phase.RESTARTING, reason="")

    def on_restarting(self, reason: str) -> None:
        self.change(phase=Phase.RESTARTING, reason=reason)

    def on_dead(self, reason: str) -> None:
        if self.row.phase is not Phase.ENDING:
            self.look()
            self.change(phase=Phase.DEAD, reason=reason)


def text_of(date: datetime) -> str:
    """A date as it is written down: texts of dates sort as the dates do."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
