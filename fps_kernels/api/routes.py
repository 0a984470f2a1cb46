"""The API of kernels: what other code calls, and the REST and WebSocket routes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from ..kernel_driver.client import KernelClient
from ..kernels.registry import KernelRegistry
from ..kernels.sessions import SessionStore
from .channels_endpoint import ChannelsEndpoint
from .execution_endpoints import ExecutionEndpoints
from .kernel_endpoints import KernelEndpoints
from .kernelspec_endpoints import KernelspecEndpoints
from .server_endpoints import ServerEndpoints
from .session_endpoints import SessionEndpoints
from .starlette_router import starlette_routes
from .table import api_table

if TYPE_CHECKING:
    from ..execution.service import ExecutionService


class KernelRoutes:
    """The kernels of a server, as its plugins and personalities see them, and their routes.

    allow_origin: the origins whose pages may open WebSockets, besides the server's own.
    executions: what runs cells of shared documents, where there are any.
    on_first_use: called once, before the first request is answered; the server is up then.
    """

    def __init__(
        self,
        registry: KernelRegistry,
        base_url: str,
        allow_origin: Collection[str],
        executions: ExecutionService | None = None,
        on_first_use: Callable[[], None] = lambda: None,
    ) -> None:
        self.registry = registry
        self.base_url = base_url
        self.sessions = SessionStore(registry)
        self.kernelspec_endpoints = KernelspecEndpoints(registry.specs)
        self.execution_endpoints = ExecutionEndpoints(registry, self.sessions, executions)
        self.session_endpoints = SessionEndpoints(registry, self.sessions, base_url)
        self.channels = ChannelsEndpoint(registry, allow_origin)
        self.table = api_table(
            ServerEndpoints(registry),
            self.kernelspec_endpoints,
            KernelEndpoints(registry, base_url),
            self.execution_endpoints,
            self.session_endpoints,
        )
        self._on_first_use: Callable[[], None] | None = on_first_use

    def get_client(self, kernel_id: str) -> KernelClient:
        """The shared client of a kernel. Raises KernelNotFound."""
        return self.registry.get(kernel_id).driver.client

    def watch_kernels(self, callback: Callable[[str], None]) -> None:
        """Have `callback(kernel_id)` called for each kernel that exists, and for each new one as it starts."""
        self.registry.watch(callback)

    def starlette_routes(self) -> list[BaseRoute]:
        """The routes for a host without users."""
        return starlette_routes(self.table, self.channels, self.base_url)

    async def used(self) -> None:
        """Say that a request has come."""
        callback, self._on_first_use = self._on_first_use, None
        if callback is not None:
            callback()
