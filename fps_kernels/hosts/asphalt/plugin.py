"""The value that Jupyverse's plugins get when they ask for `Kernels`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyverse_api import Router
from jupyverse_api.app import App
from jupyverse_api.auth import Auth
from jupyverse_api.kernels import Kernels

from ...api.host import Host
from ...api.routes import KernelRoutes
from ...kernels.registry import KernelRegistry
from ..jupyverse.api_routes import api_router
from ..jupyverse.kernels_methods import KernelsMethods

if TYPE_CHECKING:
    from ...execution.service import ExecutionService


class _Kernels(KernelsMethods, Kernels):  # type: ignore[misc]  # sessions as JSON, not pydantic
    """The kernels of a Jupyverse, with a router of their own.

    The base class lacks a third of the routes and answers with other status codes, and a path can be registered only
    once.

    router: all routes, without another router among them.
    """

    def __init__(
        self,
        app: App,
        auth: Auth,
        registry: KernelRegistry,
        host: Host,
        executions: ExecutionService | None = None,
    ) -> None:
        Router.__init__(self, app)  # not Kernels.__init__, see above
        KernelRoutes.__init__(self, registry, host, executions)
        self.router = api_router(self, auth, host.base_url)
        self.include_router(self.router)  # type: ignore[no-untyped-call]  # jupyverse_api leaves it untyped
