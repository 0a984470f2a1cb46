"""Kernels of a Jupyter Server that are kept ready: each has a manager of its own until another one adopts it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jupyter_client.connect import port_names
from jupyter_client.kernelspec import KernelSpecManager

from ...kernel_driver.driver import KernelDriver, Prepare
from ...kernel_driver.kernelspec import Kernelspecs
from ...kernel_driver.launch import LaunchOptions
from ...kernel_driver.launcher import ProcessPool
from ...kernel_driver.own_connection_file import free_path
from ...kernels.runtime import KernelRuntime
from ...options import KernelsOptions
from ...store.model import Purpose
from .hosted_keeping import HostedKeeping
from .hosted_launcher import HostedLauncher, launch_options
from .hosted_process import ManagedProcess
from .kernel_manager import FpsKernelManager

if TYPE_CHECKING:
    from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager


class HostedFactory:
    """A maker of the kernels of a pool. A `PoolFactory`.

    host: the manager of all kernels. runtime: what they share. keeping: what outlives the server.
    """

    def __init__(self, host: AsyncMappingKernelManager, runtime: KernelRuntime, keeping: HostedKeeping) -> None:
        self._host = host
        self._keeping = keeping
        self._runtime = runtime
        self.options: KernelsOptions = runtime.options
        self.specs = Kernelspecs(host.default_kernel_name, manager=host.kernel_spec_manager)

    def why_not(self) -> str | None:
        """Why no kernel can be kept ready here, in words; None if that is not known."""
        if type(self._host.kernel_spec_manager) is not KernelSpecManager:
            return "kernelspecs are found by a class that need not be safe with threads"
        manager = self.make_manager(self._host.default_kernel_name)
        if type(manager) is not FpsKernelManager:
            return f"{type(manager).__name__} would not see the start of a kernel that runs already"
        if manager.transport != "tcp" or any(getattr(manager, name) for name in port_names):
            return "where kernels listen is configured"
        return None

    def launch_options(self, name: str | None) -> LaunchOptions:
        spec = self.specs.get(name)
        options = launch_options(spec.name, spec, self._host.connection_dir, self.start_arguments())
        assert options is not None  # nothing of a request's is in it
        return options

    def make_pooled_driver(self, kernel_id: str, options: LaunchOptions, prepare: Prepare) -> KernelDriver:
        with contextlib.suppress(OSError):  # the launch will report it
            options.connection_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        manager = self.make_manager(options.kernel_name)
        manager.connection_file = str(free_path(options.connection_dir / f"kernel-{kernel_id}.json"))
        manager.kernel_id = kernel_id
        keeping = self._keeping
        launcher = HostedLauncher(manager, self._runtime.reaper, pooled=True, begin_kept=keeping.begin_kept)
        launcher.options = self.start_arguments(cwd=options.cwd, env={**options.env, **options.extra_env})
        recorded = keeping.record(launcher, manager, self.options.startup_timeout_s, Purpose.POOL)
        return self._runtime.make_pooled_driver(kernel_id, recorded, prepare)

    def make_launcher(
        self, manager: FpsKernelManager, pool: ProcessPool, adopted: ManagedProcess | None
    ) -> HostedLauncher:
        """What launches the processes of a kernel of a server before. See HostedLauncher."""
        begin_kept = self._keeping.begin_kept
        return HostedLauncher(manager, self._runtime.reaper, pool, begin_kept=begin_kept, adopted=adopted)

    def start_arguments(self, **given: Any) -> dict[str, Any]:
        """What the host gives `start_kernel` for a request that gives it `given`: it adds something since 2.20."""
        add: Callable[..., dict[str, Any]] = getattr(self._host, "_kernel_start_kwargs", dict)
        return add(**given)

    def make_manager(self, kernel_name: str) -> FpsKernelManager:
        """Make the manager of a kernel that no request has asked this server for."""
        host = self._host
        made: FpsKernelManager = host.kernel_manager_factory(
            parent=host, log=host.log, kernel_name=kernel_name, kernel_spec_manager=host.kernel_spec_manager
        )
        return made
