"""The value that modules get when they ask for `Kernels`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jupyverse_api import Router
from jupyverse_api.app import App
from jupyverse_auth import Auth
from jupyverse_kernel import KernelFactory
from jupyverse_kernels import Kernels

from ...api.host import Host
from ...api.routes import KernelRoutes
from ...kernel_driver.launch import LaunchOptions
from ...kernel_driver.stream_kernel import StreamKernel
from ...kernels.registry import KernelRegistry
from ..jupyverse.api_routes import api_router
from ..jupyverse.kernels_methods import KernelsMethods

if TYPE_CHECKING:
    from ...execution.service import ExecutionService


class ModuleKernels(KernelsMethods, Kernels):
    """The kernels of a Jupyverse, with a router of their own, as under Asphalt.

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
        Router.__init__(self, app)  # not Kernels.__init__, whose routes are others
        KernelRoutes.__init__(self, registry, host, executions)
        self.router = api_router(self, auth, host.base_url)
        self.include_router(self.router)  # type: ignore[no-untyped-call]  # jupyverse_api leaves it untyped

    def register_kernel_factory(self, kernel_name: str, kernel_factory: KernelFactory) -> None:
        """Have the kernels of a kernelspec made by a factory from now on, instead of launched as processes."""

        def make(options: LaunchOptions) -> StreamKernel:
            folder = options.spec.resource_dir if options.spec is not None else ""
            kernel: StreamKernel = kernel_factory(
                kernelspec_path=str(Path(folder, "kernel.json")),
                kernelenv_path="",
                connection_file="",
                kernel_cwd=options.cwd,
                capture_output=True,
            )
            return kernel

        self.registry.factory.stream_makers[kernel_name] = make
        self.registry.prewarmed.leave_out(kernel_name)
