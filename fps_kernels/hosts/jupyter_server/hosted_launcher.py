"""Where the processes of a kernel of Jupyter Server come from: its manager."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import KernelStartFailed
from ...kernel_driver.launch_trouble import why_not_started
from ...kernel_driver.reaper import Reaper
from .hosted_process import HostedProcess

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

logger = logging.getLogger(__name__)


class HostedLauncher:
    """The source of one kernel's processes. A `Launcher`.

    reaper: told of the processes, so that it ends them should the server be killed.

    options: what `start_kernel` was given, for all launches from now on.
    new_ports: whether the next process gets other ports.
    """

    owned = True

    def __init__(self, manager: AsyncKernelManager, reaper: Reaper) -> None:
        self.options: dict[str, Any] = {}
        self.new_ports = False
        self._manager = manager
        self._reaper = reaper
        self._process: HostedProcess | None = None

    @property
    def kernel_name(self) -> str:
        return str(self._manager.kernel_name)

    async def take(self, kernel_id: str) -> None:
        """None: there is no process but those that are launched."""

    async def launch(self, kernel_id: str) -> HostedProcess:
        previous = self._process
        if previous is not None and previous.exited.done() and previous.exited.result().port_taken:
            self.new_ports = True
        if self.new_ports:
            self._manager.cleanup_random_ports()
            self.new_ports = False
        try:
            process = self._process = await HostedProcess.launch_by(self._manager, dict(self.options))
        except Exception as exc:
            cwd = str(self.options.get("cwd", ""))
            raise KernelStartFailed(why_not_started(self.kernel_name, cwd, exc)) from exc
        pid = process.pid
        if pid is not None:
            self._reaper.watch_until(process.exited, pid)
        logger.info("kernel %s (%s) launched, pid %s", kernel_id, self.kernel_name, pid)
        return process

    async def listens(self) -> bool:
        """False: a process of ours that has ended does not come back."""
        return False

    def on_ready(self) -> None:
        """Nothing depends on it here."""

    def set_environment(self, names: Mapping[str, str]) -> None:
        self.options["env"] = {**self.options.get("env", {}), **names}
