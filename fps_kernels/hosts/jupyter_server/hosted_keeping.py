"""What of the kernels of a Jupyter Server is written down, and left to the next one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...kernel_driver.launch import LaunchOptions
from ...kernel_driver.launcher import Launcher
from ...kernels.keeping.opening import do_nothing, keepsake_of, restore
from ...kernels.kernel import Kernel
from ...options import KernelsOptions
from ...store.model import Purpose
from .hosted_launcher import HostedLauncher, own_variables

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

    from ...kernels.keeping.next_server import NextServer, OnKernel
    from ...kernels.keeping.stored_keepsake import StoredKeepsake
    from .hosted_process import BeginKept


class HostedKeeping:
    """What outlives the server; nothing, if `keep_kernels` is `never`.

    options: the kernels' options. Raises BadOption.

    keepsake: where kernels and sessions are written down.
    sessions: the manager of sessions, which is told those that were kept.
    address: where the server serves, for people.
    on_kernel: awaited for each kernel of a server before this one that goes on, before that is connected to.
    """

    def __init__(self, options: KernelsOptions) -> None:
        self.keepsake = keepsake_of(options)
        self.sessions: object = None
        self.address = ""
        self.on_kernel: OnKernel = do_nothing
        self._opening: asyncio.Task[None] | None = None

    @property
    def keeps(self) -> bool:
        """Whether anything outlives the server."""
        return self.keepsake.keeper is not None

    @property
    def begin_kept(self) -> BeginKept | None:
        """What launches processes that outlive the server; None if there is nothing that does."""
        if self.keepsake.keeper is None:
            return None
        from .kept_hosted_process import begin_kept  # none of this is needed for kernels that are not kept

        return partial(begin_kept, self.keepsake.keeper.client)

    def record(
        self,
        launcher: HostedLauncher,
        manager: AsyncKernelManager,
        startup_timeout_s: float,
        purpose: Purpose = Purpose.USER,
    ) -> Launcher:
        """Have the processes of a new kernel written down; returns the launcher to use."""
        if not self.keeps:
            return launcher
        options = LaunchOptions(
            kernel_name=manager.kernel_name,
            cwd="",
            env={},
            extra_env={},
            connection_dir=Path(manager.connection_file).parent,
            transport=manager.transport,
        )
        return self.keepsake.launcher(
            launcher,
            str(manager.kernel_id),
            options,
            folder=None,
            purpose=purpose,
            startup_timeout_s=startup_timeout_s,
        )

    def listen(self, kernel: Kernel, launcher: HostedLauncher) -> None:
        """Have a kernel told of its processes that are kept. Its start must not have begun."""
        if self.keepsake.keeper is not None:
            self.keepsake.keeper.listen(kernel, launcher)

    def note_options(self, kernel_id: str, options: Mapping[str, Any]) -> None:
        """Write down what `start_kernel` was given for other processes of a kernel.

        Of the environment, only what is not the server's is written down: the next one has its own.
        """
        if self.keeps:
            cwd = str(options.get("cwd") or os.getcwd())
            self.keepsake.note_launched(kernel_id, cwd=cwd, extra_env=own_variables(options.get("env") or {}))

    async def open(self, server: Callable[[object, StoredKeepsake], NextServer]) -> None:
        """Take over what servers before this one have left. Done once, for whoever asks first.

        server: makes what takes it over, of the manager of sessions and of the keepsake.
        Raises BadOption, StoreUnreachable, KeeperUnavailable.
        """
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(server), name="taking kernels over")
        await asyncio.shield(self._opening)

    async def _open(self, server: Callable[[object, StoredKeepsake], NextServer]) -> None:
        keepsake = cast("StoredKeepsake", self.keepsake)
        keepsake.replica = replace(keepsake.replica, address=self.address)
        await keepsake.open()
        await restore(server(self.sessions, keepsake), keepsake, self.on_kernel)

    async def leave(self) -> None:
        """The server is being stopped: from now on its kernels are the next one's, if they are to go on."""
        if self.keepsake.stays and self._opening is not None:
            await self.keepsake.leave()

    async def close(self) -> None:
        """Write what is left, and end; all kernels have ended, or were left. May be called twice."""
        if self._opening is not None:
            await self.keepsake.close()
