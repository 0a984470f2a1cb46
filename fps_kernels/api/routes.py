"""The API of kernels: what other code calls, and the REST and WebSocket routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from ..kernel_driver.client import KernelClient
from ..kernels.registry import KernelRegistry
from ..kernels.sessions import SessionStore
from ..kernels_page.kernel_feed import KernelFeed, KernelSource
from ..kernels_page.kernel_view import PageSession
from .channels_endpoint import ChannelsEndpoint
from .execution_endpoints import ExecutionEndpoints
from .host import Host
from .kernel_endpoints import KernelEndpoints
from .kernels_page_endpoints import KernelsPageEndpoints
from .kernelspec_endpoints import KernelspecEndpoints
from .metrics_endpoint import MetricsEndpoint
from .server_endpoints import ServerEndpoints
from .session_endpoints import SessionEndpoints
from .starlette_router import starlette_routes
from .table import METRICS_PATH, Endpoint, api_table

if TYPE_CHECKING:
    from ..execution.service import ExecutionService


class KernelRoutes:
    """The kernels of a server, as its plugins and personalities see them, and their routes.

    executions: what runs cells of shared documents; None where there are none.
    """

    def __init__(self, registry: KernelRegistry, host: Host, executions: ExecutionService | None = None) -> None:
        self.registry = registry
        self.host = host
        self.sessions = SessionStore(registry)
        self.kernelspec_endpoints = KernelspecEndpoints(registry.specs)
        self.execution_endpoints = ExecutionEndpoints(registry, self.sessions, host, executions)
        self.session_endpoints = SessionEndpoints(registry, self.sessions, host)
        self.channels = ChannelsEndpoint(registry, self.sessions, host)
        self.metrics = MetricsEndpoint(registry, executions)
        self.table = api_table(
            ServerEndpoints(registry),
            self.metrics,
            self.kernelspec_endpoints,
            KernelEndpoints(registry, host),
            self.execution_endpoints,
            self.session_endpoints,
            KernelsPageEndpoints(registry, host, self._feed()),
        )

    @property
    def metrics_endpoint(self) -> Endpoint:
        """The entry of the table that has the numbers."""
        return next(one for one in self.table if one.path == METRICS_PATH)

    def _feed(self) -> KernelFeed:
        """What the page of kernels shows; it ends before the server waits for its open requests."""
        registry = self.registry

        async def sessions() -> dict[str, list[PageSession]]:
            found: dict[str, list[PageSession]] = {}
            for one in self.sessions.list():
                found.setdefault(one.kernel_id, []).append({"path": one.path, "name": one.name, "type": one.type})
            return found

        feed = KernelFeed(
            KernelSource(registry.list, sessions, registry.factory.keepsake, registry.started, self.host.notebook_page)
        )
        registry.watch(on_stopping=feed.close)
        return feed

    def get_client(self, kernel_id: str) -> KernelClient:
        """The shared client of a kernel. Raises KernelNotFound."""
        return self.registry.get(kernel_id).driver.client

    def watch_kernels(self, callback: Callable[[str], None]) -> None:
        """Have `callback(kernel_id)` called for each kernel that exists, and for each new one as it starts."""
        self.registry.watch(callback)

    def starlette_routes(self) -> list[BaseRoute]:
        """The routes for a host without users."""
        return starlette_routes(self.table, self.channels, self.host)
