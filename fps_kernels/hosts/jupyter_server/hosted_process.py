"""A process that Jupyter Server's manager of its kernel launches, the same one over restarts."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ...kernel_driver.connection_file import ConnectionInfo
from ...kernel_driver.launch import end_launch, is_local
from ...kernel_driver.launch_trouble import leave_removed_folder
from ...kernel_driver.oom import OomWatch
from ...kernel_driver.process import LaunchedProcess
from ...kernel_driver.stderr import StderrReader

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager


BeginKept = Callable[["AsyncKernelManager", list[str], dict[str, Any]], Awaitable["ManagedProcess | None"]]
"""begin_kept(manager, command, launch options): a process that outlives this server; None if there can be none."""


class ManagedProcess(LaunchedProcess):
    """A process of a kernel whose manager outlives it: ports, key and connection file stay for the next one.

    last: whether no other one will follow, as of a kernel that nobody has asked for yet.
    """

    last = False

    @property
    def connection_file(self) -> str:
        """Where the kernel's connection file is."""
        return str(self._manager.connection_file)

    def give_to(self, manager: AsyncKernelManager) -> None:
        """Make this the process of another manager, which has had none yet."""
        manager.adopt(self._manager)  # type: ignore[attr-defined]  # our class
        self._manager = manager
        self.last = False

    async def _give_back(self) -> None:
        await self._manager._async_cleanup_resources(restart=not self.last)


class HostedProcess(ManagedProcess):
    """A process that jupyter_client's manager launches itself; it ends with this server."""

    @classmethod
    async def launch_by(
        cls, manager: AsyncKernelManager, options: dict[str, Any], begin_kept: BeginKept | None = None
    ) -> ManagedProcess:
        """Launch a process by the steps of jupyter_client's manager, so that what subclasses override is heeded.

        options: what the manager's `start_kernel` was given.
        begin_kept: launches it elsewhere, where that is possible.
        Raises what the manager and its provisioner raise.
        """
        leave_removed_folder()
        stderr_read, stderr_write = os.pipe()
        try:
            command, launch_options = await manager._async_pre_start_kernel(**options)
            if begin_kept is not None and (kept := await begin_kept(manager, command, launch_options)) is not None:
                await manager._async_post_start_kernel(**launch_options)
                return kept
            provisioner = manager.provisioner
            assert provisioner is not None
            local = is_local(provisioner)
            if local:  # unless a provisioner or a subclass wants them elsewhere
                launch_options.setdefault("stdout", stderr_write)
                launch_options.setdefault("stderr", stderr_write)
            oom = OomWatch()
            await manager._async_launch_kernel(command, **launch_options)
            info = ConnectionInfo.from_dict(dict(manager.get_connection_info()))
            process = cls(str(manager.kernel_id), manager, provisioner, info, oom)
            process.command = tuple(command)
            await manager._async_post_start_kernel(**launch_options)
            if local:
                process._stderr = StderrReader(process.kernel_id, stderr_read, process.port_watch.look_at)
                stderr_read = -1  # it closes that
            process._watch(local)
        except BaseException:
            manager.let_ports_go()  # type: ignore[attr-defined]  # our class
            await end_launch(manager)
            await manager._async_cleanup_resources(restart=True)  # another launch may follow
            raise
        finally:
            os.close(stderr_write)
            if stderr_read >= 0:
                os.close(stderr_read)
        return process
