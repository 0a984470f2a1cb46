"""What a server does with the processes of kernels that a server before it has left to the keeper."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from ...errors import KernelStartFailed
from ...kept.kept_process import KeptProcess
from ...store.model import KernelRow
from ..kernel import Kernel
from ..registry import KernelRegistry
from .found_kernel import folder_of, found_kernel, launch_options_of
from .kernel_keeper import KernelKeeper
from .stored_keepsake import StoredKeepsake
from .verdict import was_ready

logger = logging.getLogger(__name__)


OnKernel = Callable[[Kernel], Awaitable[None]]


class Adoption:
    """What Restoring needs of the keeper.

    registry: where the kernels are put.
    keepsake: the registry's.
    keeper: what holds the processes.
    on_kernel: awaited for each kernel that goes on, before that is connected to.
    """

    def __init__(
        self, registry: KernelRegistry, keepsake: StoredKeepsake, keeper: KernelKeeper, on_kernel: OnKernel
    ) -> None:
        self._registry = registry
        self._keepsake = keepsake
        self._keeper = keeper
        self._on_kernel = on_kernel

    async def adopt(self, row: KernelRow) -> Kernel | None:
        """A kernel whose process is that of a row, or another one in its place if that has ended.

        None if the keeper has no process of it, or one that has ended and is not to be restarted.
        """
        try:
            process = await self._keeper.process_of(row)
        except KernelStartFailed as exc:
            logger.error("%s", exc.message)
            return None
        if process is None:
            return None
        if not process.exited.done():
            kernel = self._make(row, process)
            self._keeper.restore(kernel)
            await self._on_kernel(kernel)
            return kernel
        if not (was_ready(row) and self._registry.factory.options.restart_limit):
            await process.clean_up()
            return None
        return await self._in_place_of(row, process)

    async def _in_place_of(self, row: KernelRow, process: KeptProcess) -> Kernel:
        """A kernel that died while no server was there, and is restarted as it would have been then."""
        kernel = self._make(row, None)
        self._keeper.restore(kernel)
        await self._on_kernel(kernel)
        await self._keeper.read_record(kernel, process)
        reason = process.exited.result().reason
        logger.warning("kernel %s (%s) died while no server was running: %s", row.id, row.name, reason)
        kernel.died_meanwhile(reason)
        await process.clean_up()
        return kernel

    def _make(self, row: KernelRow, process: KeptProcess | None) -> Kernel:
        factory = self._registry.factory
        pool = self._registry.prewarmed
        launcher = factory.launcher(launch_options_of(row, factory), pool, folder_of(row, factory), adopted=process)
        return found_kernel(row, launcher, factory, self._keepsake, runs=process is not None)

    async def end(self, row: KernelRow) -> None:
        """End the process of a row, if it runs, and have it forgotten."""
        if not await self._keeper.end(row):
            logger.error("kernel %s does not end", row.id)
