"""Which kernels are culled because nobody uses them. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..kernel_driver.state import ExecutionState


@dataclass(frozen=True, slots=True)
class CullPolicy:
    """idle_timeout_s: without activity for so long, a kernel is culled; 0: never.

    connected, busy: whether that is also for kernels that have clients, or that work.
    """

    idle_timeout_s: float = 0.0
    connected: bool = False
    busy: bool = False

    def for_kernelspec(self, metadata: Mapping[str, Any]) -> CullPolicy:
        """What a kernelspec's metadata says goes before the server's configuration.

        cull_idle_timeout (seconds), cull_connected, cull_busy; values of another type are ignored.
        """
        policy = self
        timeout = metadata.get("cull_idle_timeout")
        if isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout >= 0:
            policy = replace(policy, idle_timeout_s=float(timeout))
        for name in ("connected", "busy"):
            value = metadata.get(f"cull_{name}")
            if isinstance(value, bool):
                policy = replace(policy, **{name: value})
        return policy

    def verdict(
        self, now: datetime, last_activity: datetime, state: ExecutionState, connections: int
    ) -> tuple[bool, str]:
        """Whether to cull, and why or why not."""
        idle_s = (now - last_activity).total_seconds()
        if not self.idle_timeout_s:
            return False, "it has no cull_idle_timeout"
        if idle_s <= self.idle_timeout_s:
            return False, f"inactive for {idle_s:.0f} s only"
        if state in (ExecutionState.STARTING, ExecutionState.RESTARTING, ExecutionState.TERMINATING):
            return False, f"it is {state.value}"
        if state is ExecutionState.BUSY and not self.busy:
            return False, "it is busy"
        if connections and not self.connected:
            return False, f"it has {connections} connections"
        return True, f"inactive for {idle_s:.0f} s, more than {self.idle_timeout_s:g}"
