"""Where the processes of a kernel of Jupyter Server come from: its manager."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...errors import KernelStartFailed
from ...kernel_driver.launch import LaunchOptions
from ...kernel_driver.launch_trouble import why_not_started
from ...kernel_driver.launcher import ProcessPool
from ...kernel_driver.process import lost_port
from ...kernel_driver.reaper import Reaper
from .hosted_process import BeginKept, HostedProcess, ManagedProcess

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    from ...kept.kept_process import KeptProcess

logger = logging.getLogger(__name__)


def launch_options(
    kernel_name: str, spec: KernelSpec, connection_dir: str, given: Mapping[str, Any]
) -> LaunchOptions | None:
    """Return in our words what a kernel's manager was given for its start, to be compared with that of others.

    None if there is something in it that cannot be compared.
    """
    if given.keys() - {"kernel_id", "cwd", "env", "transport_encryption"}:
        return None
    server = dict(os.environ)
    env: Mapping[str, str] = given.get("env") or server
    if server.keys() - env.keys():
        return None
    return LaunchOptions(
        kernel_name=kernel_name,
        cwd=str(given.get("cwd") or os.getcwd()),
        env=server,
        extra_env=own_variables(env),
        connection_dir=Path(connection_dir),
        encryption=str(given.get("transport_encryption")),
        spec=spec,
    )


def own_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Those of a kernel's environment variables that are not as the server's."""
    return {name: value for name, value in env.items() if os.environ.get(name) != value}


class HostedLauncher:
    """The source of one kernel's processes. A `Launcher`.

    pooled: whether the kernel is one that nobody has asked for yet, which is not started again.
    begin_kept: launches the processes that can outlive the server; None for none.
    adopted: a process that outlived the one before, which is the first one.
    reaper: told of the processes, so that it ends them should the server be killed.
    pool: asked for the first process before one is launched. Later ones have to listen where that did.

    options: what `start_kernel` was given, for all launches from now on.
    new_ports: whether the next process gets other ports.
    on_process: called with each process that is kept, before it is connected to.
    """

    owned = True

    def __init__(
        self,
        manager: AsyncKernelManager,
        reaper: Reaper,
        pool: ProcessPool | None = None,
        *,
        pooled: bool = False,
        begin_kept: BeginKept | None = None,
        adopted: ManagedProcess | None = None,
    ) -> None:
        self.options: dict[str, Any] = {}
        self.new_ports = False
        self.pooled = pooled
        self._manager = manager
        self._reaper = reaper
        self._pool = pool
        self._begin_kept = begin_kept
        self._adopted = adopted
        self._process: ManagedProcess | None = None
        self.on_process: Callable[[KeptProcess], None] = lambda process: None

    @property
    def runs_kept(self) -> bool:
        """Whether there is a process that outlives the server."""
        return self._process is not None and self._process.kept and not self._process.exited.done()

    @property
    def kernel_name(self) -> str:
        return str(self._manager.kernel_name)

    async def take(self, kernel_id: str) -> ManagedProcess | None:
        adopted, self._adopted = self._adopted, None
        if adopted is not None:
            self._remember(adopted)
            return adopted
        if self._pool is None or self._process is not None:
            return None
        try:
            spec = self._manager.kernel_spec
            assert spec is not None
            options = launch_options(
                self.kernel_name, spec, os.path.dirname(self._manager.connection_file), self.options
            )
        except Exception as exc:  # whatever there is to tell of a kernelspec, a launch will
            logger.debug("kernel %s: its kernelspec cannot be found: %s", kernel_id, exc)
            return None
        process = await self._pool.take(kernel_id, options) if options is not None else None
        if process is None:
            return None
        assert isinstance(process, ManagedProcess)
        process.give_to(self._manager)
        self._remember(process)
        return process

    async def launch(self, kernel_id: str) -> ManagedProcess:
        previous = self._process
        if previous is not None and lost_port(previous):
            self.new_ports = True
            self._manager.holds_ports = False  # type: ignore[attr-defined]  # our class
        if self.new_ports:
            self._forget_ports()
            self.new_ports = False
        try:
            process = await HostedProcess.launch_by(self._manager, dict(self.options), self._begin_kept)
        except Exception as exc:
            cwd = str(self.options.get("cwd", ""))
            raise KernelStartFailed(why_not_started(self.kernel_name, cwd, exc)) from exc
        process.last = self.pooled
        self._remember(process)
        pid = process.pid
        if pid is not None and not process.kept:
            self._reaper.watch_until(process.exited, pid)
        logger.info("kernel %s (%s) launched, pid %s", kernel_id, self.kernel_name, pid)
        return process

    def _remember(self, process: ManagedProcess) -> None:
        self._process = process
        if process.kept:
            self.on_process(cast("KeptProcess", process))

    def _forget_ports(self) -> None:
        """Have other ports chosen at the next launch; those that somebody has set stay."""
        provisioner = self._manager.provisioner
        if getattr(provisioner, "ports_cached", False):  # `cleanup_random_ports` knows nothing of these
            provisioner.ports_cached = False  # type: ignore[union-attr]
            self._manager.cleanup_connection_file()
        else:
            self._manager.cleanup_random_ports()

    async def listens(self) -> bool:
        """False: a process of ours that has ended does not come back."""
        return False

    def on_ready(self) -> None:
        if self._pool is not None:
            self._pool.started(self.kernel_name)

    def set_environment(self, names: Mapping[str, str]) -> None:
        self.options["env"] = {**(self.options.get("env") or os.environ), **names}
