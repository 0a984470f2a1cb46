"""`/_api/activity`: what a scheduler wants to know of each kernel before it takes a gateway away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypedDict

from ..kernel_driver.state import ExecutionState
from ..kernels.kernel import Kernel, format_date
from ..kernels.registry import KernelRegistry


class ActivityModel(TypedDict):
    """Dates in UTC; None: never."""

    last_message_to_client: str | None
    last_message_to_kernel: str | None
    last_time_state_changed: str | None
    busy: bool
    connections: int
    last_client_connect: str | None
    last_client_disconnect: str | None


def activity(registry: KernelRegistry) -> dict[str, ActivityModel]:
    """By kernel id."""
    return {kernel.id: _model(kernel) for kernel in registry.list()}


def _model(kernel: Kernel) -> ActivityModel:
    times = kernel.server.times
    return {
        "last_message_to_client": _date(times.to_client),
        "last_message_to_kernel": _date(times.to_kernel),
        "last_time_state_changed": format_date(kernel.client.state.last_change),
        "busy": kernel.execution_state is ExecutionState.BUSY,
        "connections": kernel.server.connections,
        "last_client_connect": _date(times.connected),
        "last_client_disconnect": _date(times.disconnected),
    }


def _date(seconds: float | None) -> str | None:
    return None if seconds is None else format_date(datetime.fromtimestamp(seconds, UTC))
