"""One kernel of a server: its driver, its web side, and what the REST API shows of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NotRequired, Protocol, TypedDict

from ..kernel_driver.client import KernelClient
from ..kernel_driver.driver import LifecycleObserver, Observers
from ..kernel_driver.state import ExecutionState
from ..kernel_server.server import KernelServer, ServerLimits


class KernelModel(TypedDict):
    id: str
    name: str
    last_activity: str
    execution_state: str
    connections: int
    reason: NotRequired[str]


class Driver(Protocol):
    """What KernelDriver and ExternalDriver have in common."""

    kernel_id: str
    client: KernelClient
    observer: LifecycleObserver

    @property
    def name(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    def resolve_path(self, path: str) -> str | None: ...
    def set_environment(self, **names: str) -> None: ...
    async def start(self) -> None: ...
    async def interrupt(self) -> None: ...
    async def restart(self) -> None: ...
    async def shutdown(self, *, now: bool = False) -> None: ...


class Kernel:
    """A kernel of the registry: its driver, its web side, and the tasks that start and stop it."""

    def __init__(self, driver: Driver, limits: ServerLimits, *, external: bool = False) -> None:
        self.driver = driver
        self.external = external
        self.server = KernelServer(driver.client, limits)
        self.observers = Observers(self.server)
        self.stop_callbacks: list[Callable[[], Awaitable[None]]] = []
        self.starting: asyncio.Task[None] | None = None
        self.stopping: asyncio.Task[None] | None = None
        driver.observer = self.observers

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Have `callback()` awaited once, when the kernel's process has ended."""
        self.stop_callbacks.append(callback)

    @property
    def id(self) -> str:
        return self.driver.kernel_id

    @property
    def execution_state(self) -> ExecutionState:
        return self.driver.client.execution_state

    def model(self) -> KernelModel:
        """What the REST API shows."""
        state = self.driver.client.state
        model: KernelModel = {
            "id": self.id,
            "name": self.driver.name,
            "last_activity": format_date(state.last_activity),
            "execution_state": state.execution_state.value,
            "connections": self.server.connections,
        }
        reason = state.reason or state.unwell
        if reason:
            model["reason"] = reason
        return model


def format_date(date: datetime) -> str:
    """UTC with microseconds, always, and Z: GatewayClient's parser fails on anything else."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
