"""Where a kernel's processes come from."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..errors import FPSKernelsError
from ..ledger import Ledger
from .kernelspec import Kernelspecs, spec_dict
from .launch import LaunchOptions
from .process import LaunchedProcess, Process, lost_port
from .reaper import Reaper

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec

logger = logging.getLogger(__name__)

LOOK_S = 2.0
"""Seconds for a look at what has become of the kernelspec of a kernel that is restarted; it can do without."""


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


class Folder(Protocol):
    """Where the processes of a kernel start."""

    def find(self) -> Path:
        """The folder to start in now, as folders come and go. May block."""


class KernelspecLauncher:
    """Launches processes from a kernelspec, through jupyter_client's provisioners.

    What a kernel stood on may be gone when it is launched again. It starts in the folder that is right then, and by the
    kernelspec as it was at the first launch: a restart gives the kernel that its user knows, not half of what is just
    being installed. Only if the program that it names is gone, and the kernelspec is another one now, that one is used.

    options: the options of a launch.
    specs: the installed kernelspecs.
    reaper: told of the processes, so that it ends them should the server be killed.
    pool: asked for a process before one is launched.
    folder: where to launch the second process and later ones; None for the folder of the first.
    ledger: where connection files are written down.
    """

    owned = True

    def __init__(
        self,
        options: LaunchOptions,
        specs: Kernelspecs,
        *,
        reaper: Reaper | None = None,
        pool: ProcessPool | None = None,
        folder: Folder | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._options = options
        self._folder = folder
        self._ledger = ledger
        self._last: LaunchedProcess | None = None
        self._specs = specs
        self._reaper = reaper
        self._pool = pool

    @property
    def kernel_name(self) -> str:
        return self._options.kernel_name

    async def take(self, kernel_id: str) -> LaunchedProcess | None:
        await self._look_for_folder(kernel_id)  # it may be gone since the start was asked for
        if self._last is not None:
            await self._look_for_spec(kernel_id)
        process = await self._pool.take(kernel_id, self._options) if self._pool is not None else None
        if process is not None:
            self._remember(process)
        return process

    async def launch(self, kernel_id: str) -> LaunchedProcess:
        if self._last is not None and lost_port(self._last):  # it may be one that no port can be held for
            self._options = replace(self._options, holds_ports=False)
        process = await self._begin(kernel_id)
        self._remember(process)
        pid = process.pid
        if self._reaper is not None and pid is not None and not process.kept:
            self._reaper.watch_until(process.exited, pid)
        logger.info("kernel %s (%s) launched, pid %s", kernel_id, self.kernel_name, pid)
        return process

    async def _begin(self, kernel_id: str) -> LaunchedProcess:
        """Launch a process. Raises KernelStartFailed."""
        return await LaunchedProcess.launch(kernel_id, self._options, self._specs, self._ledger)

    async def listens(self) -> bool:
        """False: a process of ours that has ended does not come back."""
        return False

    def _remember(self, process: LaunchedProcess) -> None:
        self._options = replace(self._options, spec=process.spec)
        self._last = process

    async def _look_for_folder(self, kernel_id: str) -> None:
        """Look where the next process can start, and log it if that is another folder than before."""
        if self._folder is not None:
            cwd = str(await asyncio.to_thread(self._folder.find))
            if cwd != self._options.cwd:
                logger.warning("kernel %s starts in %s now, no longer in %s", kernel_id, cwd, self._options.cwd)
                self._options = replace(self._options, cwd=cwd)

    async def _look_for_spec(self, kernel_id: str) -> None:
        """Look for the kernelspec of another process, and log what is different now."""
        spec = self._options.spec
        if spec is None:
            return
        try:
            async with asyncio.timeout(LOOK_S):
                found = await self._specs.find(self.kernel_name)
        except (FPSKernelsError, TimeoutError) as exc:
            logger.warning(
                "kernel %s: its kernelspec %s cannot be found (%s); it starts again as it was launched",
                kernel_id,
                self.kernel_name,
                exc if str(exc) else f"not within {LOOK_S:g} s",
            )
            return
        if spec_dict(found) == spec_dict(spec):
            return
        if await asyncio.to_thread(self._has_program, spec):
            logger.warning(
                "kernel %s: its kernelspec %s has been changed; it starts again as it was launched, and new kernels by "
                "the new one",
                kernel_id,
                self.kernel_name,
            )
        else:
            logger.warning(
                "kernel %s: the program that its kernelspec %s named is gone; it starts by the kernelspec as it is now",
                kernel_id,
                self.kernel_name,
            )
            self._options = replace(self._options, spec=found)

    def _has_program(self, spec: KernelSpec) -> bool:
        """Whether the program that a kernelspec names can be found. Blocks."""
        program = next(iter(spec.argv), "").replace("{resource_dir}", spec.resource_dir)
        return shutil.which(program, path=self._options.env.get("PATH")) is not None

    def on_ready(self) -> None:
        if self._pool is not None:
            self._pool.started(self.kernel_name)

    def set_environment(self, names: Mapping[str, str]) -> None:
        self._options = replace(self._options, extra_env={**self._options.extra_env, **names})
