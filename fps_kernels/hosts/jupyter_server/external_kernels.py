"""The kernels of a Jupyter Server that others started, whose connection files it finds in a folder."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ...errors import FPSKernelsError
from ...kernel_driver.connection_file import InvalidConnection
from ...kernel_driver.state import ExecutionState
from ...tasks import TaskSet, cancel_and_wait
from .kernel_manager import FpsKernelManager

if TYPE_CHECKING:
    from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

logger = logging.getLogger(__name__)


RESCAN_S = 2.0
"""The longest time between two looks into the folder: Jupyter Server itself looks when a client lists the kernels."""


class ExternalKernels:
    """Those of the manager's kernels that others started, and that are served by us.

    `follow` is called after each look into the folder, and has it looked into again from the first time on.
    """

    def __init__(self, owner: AsyncMappingKernelManager) -> None:
        self._owner = owner
        self._managers: dict[str, FpsKernelManager] = {}
        self._tasks = TaskSet()
        self._searched: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    def __contains__(self, kernel_id: str) -> bool:
        return kernel_id in self._managers

    def __len__(self) -> int:
        return len(self._managers)

    def forget_files(self) -> None:
        """Forget the files of kernels that were removed before them: jupyter_client would remove those again."""
        files = self._owner.kernel_id_to_connection_file
        for kernel_id in [one for one, path in files.items() if one not in self._owner and not path.is_file()]:
            del files[kernel_id]

    def follow(self) -> None:
        """Serve the kernels that have come, leave those that have gone, and look for those that are dead."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return  # the server lists its kernels before it runs
        if self._looking is None and self._owner.external_connection_dir is not None:
            self._looking = self._tasks.start(self._look_again(), name="look for external kernels")
        for kernel_id in [one for one in self._managers if one not in self._owner]:
            self._tasks.start(self.leave(kernel_id), name=f"end of external kernel {kernel_id}")
        for kernel_id in self._owner.kernel_id_to_connection_file:
            if kernel_id in self._owner and kernel_id not in self._managers:
                self._attach(kernel_id)
        for kernel_id, manager in self._managers.items():
            kernel = manager.kernel
            dead = kernel is not None and kernel.execution_state is ExecutionState.DEAD
            if dead and kernel_id in self._owner and kernel_id not in self._searched:
                self._searched.add(kernel_id)
                self._tasks.start(self._search(kernel_id, manager), name=f"search for {kernel_id}")

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(RESCAN_S)
            try:
                self._owner.list_kernel_ids()
            except Exception:  # of a file with a value of a wrong type, say, which is not looked at again
                logger.exception("a file of an external kernel cannot be used")

    def _attach(self, kernel_id: str) -> None:
        manager = self._owner.get_kernel(kernel_id)
        if not isinstance(manager, FpsKernelManager) or manager.owns_kernel or manager.kernel is not None:
            return
        try:
            manager.attach()
        except InvalidConnection as exc:
            logger.warning("external kernel %s is left to jupyter_server: its file %s", kernel_id, exc.message)
            return
        self._managers[kernel_id] = manager
        self._owner._kernel_connections[kernel_id] = 0
        logger.info("external kernel %s (%s) found", kernel_id, manager.kernel_name)

    async def _search(self, kernel_id: str, manager: FpsKernelManager) -> None:
        assert manager.kernel is not None
        try:
            if await manager.kernel.driver.reconnect():
                logger.info("external kernel %s is back", kernel_id)
        except FPSKernelsError as exc:
            logger.warning("external kernel %s listens, but is not back: %s", kernel_id, exc.message)
        finally:
            self._searched.discard(kernel_id)

    async def leave(self, kernel_id: str) -> None:
        """List a kernel no more, and close its WebSockets; its process goes on."""
        manager = self._managers.pop(kernel_id)
        self._owner.remove_kernel(kernel_id)
        self._owner._kernel_connections.pop(kernel_id, None)
        await manager.shutdown_kernel()

    async def close(self) -> None:
        """Wait until all that are being left are left, and look no more."""
        await cancel_and_wait(self._looking)
        await self._tasks.join()
