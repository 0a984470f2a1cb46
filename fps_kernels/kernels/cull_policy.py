"""When an idle kernel is culled. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..kernel_driver.state import ExecutionState


@dataclass(frozen=True, slots=True)
class CullPolicy:
    """The conditions under which a kernel is culled.

    idle_timeout_s: seconds without activity after which a kernel is culled; 0 means never.
    connected: whether kernels with connected clients are culled, too.
    busy: whether busy kernels are culled, too.
    """

    idle_timeout_s: float = 0.0
    connected: bool = False
    busy: bool = False

    def for_kernelspec(self, metadata: Mapping[str, Any]) -> CullPolicy:
        """Return the policy for kernels of one kernelspec, whose metadata takes precedence over the configuration.

        metadata: may have cull_idle_timeout (seconds), cull_connected and cull_busy; values of the wrong type are
          ignored.
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
        """Return whether to cull a kernel, and the reason.

        connections: the number of its open WebSockets.
        """
        idle_s = (now - last_activity).total_seconds()
        if not self.idle_timeout_s:
            return False, "it has no cull_idle_timeout"
        if idle_s <= self.idle_timeout_s:
            return False, f"inactive for only {idle_s:.0f} s"
        if state in (ExecutionState.STARTING, ExecutionState.RESTARTING, ExecutionState.TERMINATING):
            return False, f"it is {state.value}"
        if state is ExecutionState.BUSY and not self.busy:
            return False, "it is busy"
        if connections and not self.connected:
            return False, f"it has {connections} connections"
        return True, f"inactive for {idle_s:.0f} s, more than {self.idle_timeout_s:g}"
