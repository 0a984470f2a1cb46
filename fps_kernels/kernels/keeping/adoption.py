"""What a server does with the processes of kernels that a server before it has left to the keeper."""

from __future__ import annotations

import logging

from ...errors import KernelStartFailed
from ...kept.kept_process import KeptProcess
from ...store.model import KernelRow
from ..kernel import Kernel
from .kernel_keeper import KernelKeeper
from .next_server import NextServer, OnKernel
from .verdict import DIED_MEANWHILE, as_dead, was_ready

logger = logging.getLogger(__name__)


class Adoption:
    """What Restoring needs of the keeper.

    server: where the kernels are put.
    keeper: what holds the processes.
    on_kernel: awaited for each kernel that goes on, before that is connected to.
    """

    def __init__(self, server: NextServer, keeper: KernelKeeper, on_kernel: OnKernel) -> None:
        self._server = server
        self._keeper = keeper
        self._on_kernel = on_kernel

    async def adopt(self, row: KernelRow) -> Kernel | None:
        """A kernel whose process is that of a row, or another one in its place if that has ended.

        If that has ended and is not to be restarted, the kernel is dead. None if the keeper has no process of it.
        """
        try:
            process = await self._server.process_of(row, self._keeper)
        except KernelStartFailed as exc:
            logger.error("%s", exc.message)
            return None
        if process is None:
            return None
        if not process.exited.done():
            kernel = self._server.make(row, process)
            self._keeper.restore(kernel)
            await self._on_kernel(kernel)
            return kernel
        if not was_ready(row):
            await process.clean_up()
            return None
        return await self._in_place_of(row, process)

    async def _in_place_of(self, row: KernelRow, process: KeptProcess) -> Kernel:
        """A kernel that died while no server was there: its clients hear what it said, and it is restarted or dead."""
        restarts = self._server.restarts(row)
        reason = f"{DIED_MEANWHILE}: {process.exited.result().reason}"
        kernel = self._server.make(row if restarts else as_dead(row, reason), None)
        self._keeper.restore(kernel)
        await self._on_kernel(kernel)
        await self._keeper.read_record(kernel, process)
        logger.warning("kernel %s (%s): %s", row.id, row.name, reason)
        kernel.died_meanwhile(reason, restarts=restarts)
        await process.clean_up()
        return kernel

    async def end(self, row: KernelRow) -> None:
        """End the process of a row, if it runs, and have it forgotten."""
        if not await self._keeper.end(row):
            logger.error("kernel %s does not end", row.id)
