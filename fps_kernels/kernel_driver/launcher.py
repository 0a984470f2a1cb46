"""Where a kernel's processes come from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from .kernelspec import Kernelspecs
from .process import LaunchedProcess, LaunchOptions, Process
from .reaper import Reaper

logger = logging.getLogger(__name__)


class Launcher(Protocol):
    """The source of one kernel's processes: the first one, and one for each restart."""

    @property
    def kernel_name(self) -> str:
        """The name of the kernelspec."""

    @property
    def owned(self) -> bool:
        """Whether the processes are ours to stop and to restart."""

    async def take(self, kernel_id: str) -> Process | None:
        """A process that is running already and can be used instead of launching one; None if there is none."""

    async def launch(self, kernel_id: str) -> Process:
        """A new process, which need not answer yet. Raises KernelStartFailed."""

    async def listens(self) -> bool:
        """Whether a process that is not ours, and was lost, can be connected to again."""

    def on_ready(self) -> None:
        """A process that `launch` returned answers."""

    def set_environment(self, names: Mapping[str, str]) -> None:
        """Set environment variables of processes that are launched from now on."""


class ProcessPool(Protocol):
    """Processes that are running already, such as PrewarmPool."""

    async def take(self, kernel_id: str, options: LaunchOptions) -> LaunchedProcess | None:
        """A process that is what a launch with these options would give; None if there is none."""

    def started(self, kernel_name: str) -> None:
        """A process of this kernelspec was launched and answers."""


class KernelspecLauncher:
    """Launches processes from a kernelspec, through jupyter_client's provisioners.

    options: the options of a launch.
    specs: the installed kernelspecs.
    reaper: told of the processes, so that it ends them should the server be killed.
    pool: asked for a process before one is launched.
    """

    owned = True

    def __init__(
        self,
        options: LaunchOptions,
        specs: Kernelspecs,
        *,
        reaper: Reaper | None = None,
        pool: ProcessPool | None = None,
    ) -> None:
        self._options = options
        self._specs = specs
        self._reaper = reaper
        self._pool = pool

    @property
    def kernel_name(self) -> str:
        return self._options.kernel_name

    async def take(self, kernel_id: str) -> LaunchedProcess | None:
        return await self._pool.take(kernel_id, self._options) if self._pool is not None else None

    async def launch(self, kernel_id: str) -> LaunchedProcess:
        process = await LaunchedProcess.launch(kernel_id, self._options, self._specs)
        reaper, pid = self._reaper, process.pid
        if reaper is not None and pid is not None:
            reaper.watch(pid)
            process.exited.add_done_callback(lambda _: reaper.end_rest(pid))
        logger.info("kernel %s (%s) launched, pid %s", kernel_id, self.kernel_name, pid)
        return process

    async def listens(self) -> bool:
        """False: a process of ours that has ended does not come back."""
        return False

    def on_ready(self) -> None:
        if self._pool is not None:
            self._pool.started(self.kernel_name)

    def set_environment(self, names: Mapping[str, str]) -> None:
        self._options = replace(self._options, extra_env={**self._options.extra_env, **names})
