"""A process of a kernel of Jupyter Server that a keeper runs, so that it outlives the server."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ...kept.keeper_client import KeeperClient
from ...kept.kept_launcher import is_plain
from ...kept.kept_process import KeptProcess
from .hosted_process import ManagedProcess
from .kernel_manager import FpsKernelManager

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

logger = logging.getLogger(__name__)

LIFE = (
    "start_kernel",
    "restart_kernel",
    "shutdown_kernel",
    "_async_pre_start_kernel",
    "_async_launch_kernel",
    "_async_post_start_kernel",
    "_async_cleanup_resources",
)
"""What a class of somebody else may do at a kernel's start and end, of which the next server would know nothing."""
STORED = frozenset({"kernel_id", "cwd", "env", "transport_encryption"})
"""Arguments of `start_kernel` that are written down for the next server."""


class KeptHostedProcess(ManagedProcess, KeptProcess):
    """A process that a keeper runs, whose manager has it as one that jupyter_client has launched."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        provisioner: Any = self._provisioner
        provisioner.process = KeptPopen(self, self._tell_signal)
        provisioner.pid, provisioner.pgid = self.pid, None  # None: signals go by way of the keeper
        provisioner.connection_info = self._manager.get_connection_info()

    async def clean_up(self) -> None:
        await super().clean_up()
        if self.keeper.left:  # jupyter_client deletes the file of a manager that is collected
            self._manager._connection_file_written = False

    async def _give_back(self) -> None:
        self._provisioner.process = None  # type: ignore[attr-defined]  # of the local one
        await super()._give_back()


class KeptPopen:
    """What jupyter_client's local provisioner has as the process of a kernel that is no child of this server.

    tell: sends a signal to it.
    """

    stdin = stdout = stderr = None

    def __init__(self, process: KeptProcess, tell: Callable[[int], None]) -> None:
        self._process = process
        self.send_signal = tell
        self.terminate = partial(tell, signal.SIGTERM)
        self.kill = partial(tell, signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs."""
        exited = self._process.exited
        if not exited.done():
            return None
        code = exited.result().code
        return -signal.SIGKILL if code is None else code  # not known: it ended together with its keeper

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit status; it is not waited for, as a provisioner asks only once there is one."""
        return self.returncode


def why_not_kept(manager: AsyncKernelManager) -> str | None:
    """Why processes of a manager cannot be kept, in words; None if they can, as far as the manager goes."""
    cls = type(manager)
    changed = [name for name in LIFE if getattr(cls, name) is not getattr(FpsKernelManager, name)]
    return f"{cls.__name__} has its own {changed[0]}" if changed else None


async def begin_kept(
    keeper: KeeperClient, manager: AsyncKernelManager, command: list[str], options: dict[str, Any]
) -> KeptHostedProcess | None:
    """Have the keeper launch what a manager has prepared; None if only the manager's provisioner can.

    Raises OSError when it cannot be started, KeeperUnavailable.
    """
    reason = why_not_kept(manager)
    if reason is None and not is_plain(manager.provisioner):
        reason = f"it is launched by {type(manager.provisioner).__name__}"
    if reason is None and (others := options.keys() - STORED):
        reason = f"it is started with {min(others)}"
    if reason is not None:
        logger.info("kernel %s ends with this server: %s", manager.kernel_id, reason)
        return None
    return await KeptHostedProcess.run(keeper, str(manager.kernel_id), manager, command, options)
