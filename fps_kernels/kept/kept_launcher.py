"""Where the processes of a kernel that is kept come from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..kernel_driver.kernelspec import Kernelspecs
from ..kernel_driver.launch import LaunchOptions, launch_by
from ..kernel_driver.launcher import KernelspecLauncher
from ..kernel_driver.process import LaunchedProcess
from .keeper_client import KeeperClient
from .kept_process import KeptProcess

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase


class KeptLauncher(KernelspecLauncher):
    """Launches processes as KernelspecLauncher does, but as children of the keeper where that is possible.

    keeper: the connection to the keeper.
    adopted: a process that the keeper runs already, which is the first one.
    more: see KernelspecLauncher.

    on_process: called with each process that is kept, before it is connected to.
    """

    def __init__(
        self,
        options: LaunchOptions,
        specs: Kernelspecs,
        keeper: KeeperClient,
        *,
        adopted: KeptProcess | None = None,
        **more: Any,
    ) -> None:
        super().__init__(options, specs, **more)
        self._keeper = keeper
        self._adopted = adopted
        self.on_process: Callable[[KeptProcess], None] = lambda process: None

    async def take(self, kernel_id: str) -> LaunchedProcess | None:
        process, self._adopted = self._adopted, None
        if process is None:
            return await super().take(kernel_id)
        self._remember(process)
        return process

    def _remember(self, process: LaunchedProcess) -> None:
        super()._remember(process)
        if isinstance(process, KeptProcess):
            self.on_process(process)

    async def _begin(self, kernel_id: str) -> LaunchedProcess:
        return await launch_by(kernel_id, self._options, self._specs, self._ledger, partial(_begin, self._keeper))


async def _begin(
    keeper: KeeperClient, kernel_id: str, manager: AsyncKernelManager, command: list[str], kwargs: dict[str, Any]
) -> LaunchedProcess:
    """Have the process that a manager has prepared started by the keeper, if it is one that can be kept.

    Only the plain local provisioner's are: what others do at a launch and afterwards is theirs.
    Raises OSError when it cannot be started, KeeperUnavailable.
    """
    if is_plain(manager.provisioner):
        return await KeptProcess.run(keeper, kernel_id, manager, command, kwargs)
    return await LaunchedProcess.begin(kernel_id, manager, command, kwargs)


def is_plain(provisioner: KernelProvisionerBase | None) -> bool:
    """Whether a provisioner is jupyter_client's local one, and none that derives from it."""
    from jupyter_client.provisioning.local_provisioner import LocalProvisioner

    return type(provisioner) is LocalProvisioner
