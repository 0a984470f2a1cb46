"""Where the kernels of a server of ours come from: what is launched for a request, and how."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from ..descriptors import DESCRIPTORS, need_descriptors
from ..errors import BadOption, KernelStartFailed
from ..kernel_driver.connection_file import ConnectionInfo
from ..kernel_driver.driver import KernelDriver, Prepare
from ..kernel_driver.kernelspec import Kernelspecs
from ..kernel_driver.launch import LaunchOptions
from ..kernel_driver.launcher import KernelspecLauncher, Launcher, ProcessPool
from ..ledger import Ledger, sweep
from ..options import KernelsOptions
from ..store.model import Purpose
from ..threads import DaemonThreads
from .connection_folder import ConnectionFolder, check_connection_folder, check_socket_paths
from .keeping.keepsake import Keepsake
from .kernel import Kernel
from .kernel_folder import KernelFolder, nearest_folder
from .launch_environment import (
    check_environment,
    compile_pattern,
    contents_root,
    launch_timeout_s,
    request_environment,
    session_environment,
)
from .runtime import KernelRuntime
from .start_policy import StartPolicy

if TYPE_CHECKING:
    from ..kept.kept_process import KeptProcess
    from ..kernel_driver.stream_kernel import StreamMaker

logger = logging.getLogger(__name__)

SWEEP_S = 5.0
"""Seconds that a server's start waits until what killed servers have left is removed."""


class KernelFactory:
    """A maker of kernels from kernelspecs, and of external ones.

    options: the server's configuration.
    specs: the kernelspecs of this machine.
    policy: the host's decisions about new kernels; by default, kernels are started as requested.
    keepsake: where kernels are written down; by default, nowhere.
    Raises BadOption.

    runtime: what the kernels share.
    stream_makers: what makes kernels that are no processes, by the names of their kernelspecs.
    """

    def __init__(
        self,
        options: KernelsOptions,
        specs: Kernelspecs,
        policy: StartPolicy | None = None,
        keepsake: Keepsake | None = None,
    ) -> None:
        check_system_for(options)
        self.connection_folder = ConnectionFolder(options)
        self._env_pattern = compile_pattern(options.kernel_env_pattern)
        self.options = options
        self.specs = specs
        self.policy = policy or StartPolicy()
        self.keepsake = keepsake or Keepsake()
        self.root = contents_root(options.root_dir)
        self.runtime = KernelRuntime(options, keeper=self.keepsake.keeper)
        self.stream_makers: dict[str, StreamMaker] = {}
        self._ledger = Ledger(self.connection_folder.path)

    async def close(self) -> None:
        """Release what the kernels shared; all of them must have ended. May be called twice."""
        await self.runtime.close()
        await asyncio.to_thread(self._close_files)

    def _close_files(self) -> None:
        self._ledger.close()
        self.connection_folder.close()

    async def sweep(self) -> None:
        """Remove the connection files that dead servers of ours have left; returns within some seconds."""
        threads = DaemonThreads("sweep")
        try:
            await threads.run(sweep, self.connection_folder.path, timeout_s=SWEEP_S)
        except TimeoutError:
            logger.warning("looking for what killed servers have left takes longer than %g s", SWEEP_S)

    def launch_options(
        self,
        name: str | None,
        *,
        path: str = "",
        env: Mapping[str, str] | None = None,
        session_path: str | None = None,
    ) -> LaunchOptions:
        """Return what a request's kernel is launched with. Blocks: it looks at kernelspecs and folders.

        name: the kernelspec that was requested; None for the default one.
        path, env, session_path: see KernelRegistry.start.
        Raises KernelspecNotFound, KernelStartFailed, UnsafeVariable, UnsafeEnvironment, InvalidField.
        """
        try:
            need_descriptors(DESCRIPTORS)  # without any, kernelspecs would not be found
        except OSError as exc:
            wanted = name or self.options.default_kernel
            raise KernelStartFailed(f"Kernel {wanted} could not be started: {exc.strerror}") from exc
        spec = self.specs.get(self.policy.kernel_name(name))
        environ = dict(env or {})
        cwd = nearest_folder(self.policy.working_directory(self.root, path, environ))
        if not cwd.is_relative_to(self.root) and not self.root.is_dir():
            logger.warning("the folder %s does not exist any more: kernels start in %s", self.root, cwd)
        requested = request_environment(environ, self.options.client_env)
        local = self.specs.classes.is_local(spec)
        check_environment(requested, self._env_pattern, local=local)
        launch_timeout_s(requested)
        extra_env = self.policy.request_environment(requested)
        if session_path is not None:
            extra_env |= session_environment(self.root, session_path)
        if self.options.connection_dir is not None:
            self._check_connection_folder()
        return LaunchOptions(
            kernel_name=spec.name,
            cwd=str(cwd),
            env=self.policy.environment(),
            extra_env=extra_env,
            connection_dir=self.connection_folder.path,
            encryption=self.options.transport_encryption,
            transport=self.options.transport if local else "tcp",
            spec=spec,
        )

    def kernel_folder(self, options: LaunchOptions, path: str, env: Mapping[str, str] | None) -> KernelFolder:
        """Return where the processes of a kernel start that is launched with these options.

        path, env: see `launch_options`.
        """
        bounds = self.root if self.options.root_dir else None
        return KernelFolder(Path(options.cwd), self.policy, self.root, path, dict(env or {}), bounds)

    def _check_connection_folder(self) -> None:
        """Look again: the folder may have been deleted, and made by somebody else. Raises KernelStartFailed."""
        try:
            check_connection_folder(self.options)
        except BadOption as exc:
            logger.error("%s", exc.message)
            raise KernelStartFailed("The folder for connection files is no longer private") from exc

    def make_kernel(
        self,
        kernel_id: str,
        options: LaunchOptions,
        pool: ProcessPool,
        folder: KernelFolder,
        purpose: Purpose = Purpose.USER,
    ) -> Kernel:
        """Make a kernel whose process is ours, or that is none, if something else makes kernels of its kernelspec.

        pool: asked for a running process before one is launched.
        folder: where other processes of the kernel start.
        """
        timeout_s = max(self.options.startup_timeout_s, launch_timeout_s(options.extra_env))
        make = self.stream_makers.get(options.kernel_name)
        if make is not None:
            return self._make_stream_kernel(kernel_id, make, options, timeout_s)
        launcher = self.launcher(options, pool, folder, kept=purpose is Purpose.USER)
        recorded = self.keepsake.launcher(
            launcher, kernel_id, options, folder=folder, purpose=purpose, startup_timeout_s=timeout_s
        )
        kernel = self.make_kernel_of(kernel_id, recorded, folder, timeout_s)
        if self.keepsake.keeper is not None:
            self.keepsake.keeper.listen(kernel, launcher)
        return kernel

    def _make_stream_kernel(
        self, kernel_id: str, make: StreamMaker, options: LaunchOptions, startup_timeout_s: float
    ) -> Kernel:
        from ..kernel_driver.stream_kernel import StreamLauncher  # needs anyio, which not every host has

        lifecycle = replace(self.runtime.lifecycle, startup_timeout_s=startup_timeout_s)
        kernel = self.runtime.make_stream_kernel(kernel_id, StreamLauncher(make, options), lifecycle)
        kernel.server.status_has_parent = self.policy.status_has_parent
        return kernel

    def make_kernel_of(
        self,
        kernel_id: str,
        launcher: Launcher,
        folder: KernelFolder,
        startup_timeout_s: float,
        prepare: Prepare | None = None,
    ) -> Kernel:
        """Make a kernel whose processes come from `launcher`.

        prepare: see KernelDriver; None for the policy's.
        """
        kernel = self.runtime.make_launched_kernel(
            kernel_id,
            launcher,
            replace(self.runtime.lifecycle, startup_timeout_s=startup_timeout_s),
            prepare=prepare or self.policy.prepare,
            folder=folder,
        )
        kernel.server.status_has_parent = self.policy.status_has_parent
        return kernel

    def make_external_kernel(self, kernel_id: str, name: str, info: ConnectionInfo) -> Kernel:
        """Make a kernel that is connected to a process that is not ours."""
        kernel = self.runtime.make_external_kernel(kernel_id, name, info)
        kernel.server.status_has_parent = self.policy.status_has_parent
        return kernel

    def make_pooled_driver(self, kernel_id: str, options: LaunchOptions, prepare: Prepare) -> KernelDriver:
        """Make the driver of a kernel that is not in use yet: no heartbeat, and no restart when it dies."""
        launcher = self.keepsake.launcher(
            self.launcher(options),
            kernel_id,
            options,
            folder=None,
            purpose=Purpose.POOL,
            startup_timeout_s=self.options.startup_timeout_s,
        )
        return self.runtime.make_pooled_driver(kernel_id, launcher, prepare)

    def launcher(
        self,
        options: LaunchOptions,
        pool: ProcessPool | None = None,
        folder: KernelFolder | None = None,
        *,
        kept: bool = True,
        adopted: KeptProcess | None = None,
    ) -> KernelspecLauncher:
        """What launches the processes of a kernel. See `make_kernel`.

        kept: whether they are to be kept, if the server keeps kernels at all.
        adopted: the first one, which is kept already.
        """
        keeper, reaper, ledger = self.keepsake.keeper, self.runtime.reaper, self._ledger
        if keeper is None or not kept:  # one of the pool may be a process that is kept
            pool = pool if keeper is None else None
            return KernelspecLauncher(options, self.specs, reaper=reaper, pool=pool, folder=folder, ledger=ledger)
        # Reaper and ledger are for processes that cannot be kept.
        more = {"reaper": reaper, "pool": pool, "folder": folder, "ledger": ledger}
        return keeper.launcher(options, self.specs, adopted, **more)


def check_system_for(options: KernelsOptions) -> None:
    """Raises BadOption for what this system, or its libzmq, cannot do."""
    if options.transport_encryption == "required" and not zmq.has("curve"):
        raise BadOption("transport_encryption=required: this libzmq was built without CURVE")
    if options.transport == "ipc" and not zmq.has("ipc"):
        raise BadOption("transport=ipc: this libzmq was built without it")
    check_socket_paths(options)
    if not options.root_dir:
        try:
            os.getcwd()
        except OSError as exc:
            raise BadOption(f"root_dir: the folder in which the server was started is gone ({exc.strerror})") from exc
