"""Where the kernels of a server come from: the one place that makes their drivers."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import zmq

from ..descriptors import need_descriptors
from ..errors import BadOption, KernelStartFailed
from ..kernel_driver.client import KernelClient
from ..kernel_driver.connection_file import ConnectionInfo
from ..kernel_driver.driver import KernelDriver, Prepare
from ..kernel_driver.external import ExternalLauncher
from ..kernel_driver.heartbeat import HeartbeatOptions
from ..kernel_driver.kernelspec import Kernelspecs
from ..kernel_driver.launcher import KernelspecLauncher, ProcessPool
from ..kernel_driver.lifecycle import LifecycleOptions
from ..kernel_driver.process import DESCRIPTORS, LaunchOptions
from ..kernel_driver.reaper import Reaper
from ..kernel_driver.state import ExecutionState
from ..kernel_driver.traceback_filter import TracebackFilter
from ..kernel_server.iopub_log import ReplayLimits
from ..kernel_server.journal import BacklogLimits
from ..kernel_server.rate_limit import RateLimits
from ..kernel_server.server import KernelServer, ServerLimits
from ..ledger import Ledger, sweep
from ..options import KernelsOptions
from ..threads import DaemonThreads
from .connection_folder import ConnectionFolder, check_connection_folder, check_socket_paths
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
from .start_policy import StartPolicy

logger = logging.getLogger(__name__)

MAX_SOCKETS = 16_384
"""The limit of sockets of the ZMQ context. libzmq's default of 1,023 would be reached at 250 kernels."""


SWEEP_S = 5.0
"""Seconds that a server's start waits until what killed servers have left is removed."""


class KernelFactory:
    """A maker of kernels, and the owner of what they share: one ZMQ context and one reaper.

    options: the server's configuration.
    specs: the kernelspecs of this machine.
    policy: the host's decisions about new kernels; by default, kernels are started as requested.
    Raises BadOption.
    """

    def __init__(self, options: KernelsOptions, specs: Kernelspecs, policy: StartPolicy | None = None) -> None:
        check_system_for(options)
        self.connection_folder = ConnectionFolder(options)
        self._env_pattern = compile_pattern(options.kernel_env_pattern)
        self.options = options
        self.specs = specs
        self.policy = policy or StartPolicy()
        self.root = contents_root(options.root_dir)
        self._lifecycle = LifecycleOptions(
            startup_timeout_s=options.startup_timeout_s,
            shutdown_wait_time_s=options.shutdown_wait_time_s,
            restart_limit=options.restart_limit,
            restart_window_s=options.restart_window_s,
        )
        self._heartbeat = HeartbeatOptions(options.heartbeat_interval_s, options.heartbeat_timeout_s)
        self._limits = ServerLimits(
            ReplayLimits(options.buffer_max_messages, options.buffer_max_bytes, options.buffer_max_age_s),
            RateLimits(options.iopub_msg_rate_limit, options.iopub_data_rate_limit, options.rate_limit_window_s),
            BacklogLimits(max_bytes=options.client_max_bytes),
            options.max_clients_per_kernel,
        )
        self._reaper = Reaper()
        self._ledger = Ledger(self.connection_folder.path)
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None

    @property
    def context(self) -> zmq.Context[zmq.Socket[bytes]]:
        """The ZMQ context of all kernels, with its one I/O thread; made on first use."""
        if self._context is None:
            self._context = zmq.Context()
            self._context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        return self._context

    async def close(self) -> None:
        """Release what the kernels shared; all of them must have ended. May be called twice."""
        context, self._context = self._context, None
        if context is not None:
            context.destroy(linger=0)
        await self._reaper.close()
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

    def make_kernel(self, kernel_id: str, options: LaunchOptions, pool: ProcessPool, folder: KernelFolder) -> Kernel:
        """Make a kernel whose process is ours.

        pool: asked for a running process before one is launched.
        folder: where other processes of the kernel start.
        """
        timeout_s = max(self._lifecycle.startup_timeout_s, launch_timeout_s(options.extra_env))
        driver = KernelDriver(
            self._make_client(kernel_id, self._heartbeat),
            KernelspecLauncher(options, self.specs, reaper=self._reaper, pool=pool, folder=folder, ledger=self._ledger),
            replace(self._lifecycle, startup_timeout_s=timeout_s),
            prepare=self.policy.prepare,
        )
        return Kernel(driver, self._make_server(driver), folder=folder)

    def make_external_kernel(self, kernel_id: str, name: str, info: ConnectionInfo) -> Kernel:
        """Make a kernel that is connected to a process that is not ours."""
        timeout_s = self.options.external_heartbeat_timeout_s  # the launcher watches over it then
        client = self._make_client(kernel_id, HeartbeatOptions(interval_s=0) if timeout_s else self._heartbeat)
        state = client.state

        def busy() -> bool:
            return client.pending > 0 or state.execution_state is ExecutionState.BUSY

        launcher = ExternalLauncher(name, info, self.context, timeout_s, busy)
        driver = KernelDriver(client, launcher, self._lifecycle)
        return Kernel(driver, self._make_server(driver), external=True)

    def make_pooled_driver(self, kernel_id: str, options: LaunchOptions, prepare: Prepare) -> KernelDriver:
        """Make the driver of a kernel that is not in use yet: no heartbeat, and no restart when it dies."""
        return KernelDriver(
            self._make_client(kernel_id, HeartbeatOptions(interval_s=0)),
            KernelspecLauncher(options, self.specs, reaper=self._reaper, ledger=self._ledger),
            replace(self._lifecycle, restart_limit=0, patient=False),
            prepare=prepare,
        )

    def _make_client(self, kernel_id: str, heartbeat: HeartbeatOptions) -> KernelClient:
        options = self.options
        client = KernelClient(
            kernel_id,
            self.context,
            verify=options.verify_signatures,
            heartbeat=heartbeat,
            traceback_filter=None
            if options.allow_tracebacks
            else TracebackFilter(options.traceback_replacement_message),
        )
        client.state.untracked = frozenset(options.untracked_message_types)
        return client

    def _make_server(self, driver: KernelDriver) -> KernelServer:
        server = KernelServer(driver.client, self._limits)
        driver.client.admission.allow(self.options.allowed_message_types)
        server.status_has_parent = self.policy.status_has_parent
        return server


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
