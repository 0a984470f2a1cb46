"""A Jupyter Server that takes over what servers before it have left."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ...kept.kept_process import KeptProcess
from ...kernel_driver.own_connection_file import free_path
from ...kernels.keeping.found_kernel import restore_state
from ...kernels.keeping.kernel_keeper import KernelKeeper
from ...kernels.keeping.stored_keepsake import StoredKeepsake
from ...kernels.kernel import Kernel
from ...kernels.prewarm import PrewarmPool
from ...store.model import KernelRow, SessionRow
from .hosted_pool import HostedFactory
from .kept_hosted_process import KeptHostedProcess, why_not_kept
from .kept_sessions import KeptSessions
from .kernel_manager import FpsKernelManager


class HostedNextServer:
    """The server. A `NextServer`.

    factory: makes the managers of kernels. pool: asked for their next processes.
    take_in: lists a kernel, whose start has begun.
    sessions: the manager of sessions.
    keepsake: where kernels are written down, which is open.
    """

    def __init__(
        self,
        factory: HostedFactory,
        pool: PrewarmPool,
        take_in: Callable[[FpsKernelManager], None],
        sessions: object,
        keepsake: StoredKeepsake,
    ) -> None:
        self._factory = factory
        self._pool = pool
        self._take_in = take_in
        self._sessions = sessions
        self._keepsake = keepsake
        self._managers: dict[str, FpsKernelManager] = {}

    def _manager(self, row: KernelRow) -> FpsKernelManager:
        """The one manager of a kernel."""
        if row.id not in self._managers:
            self._managers[row.id] = manager = self._factory.make_manager(row.name)
            manager.connection_file = os.path.join(manager.parent.connection_dir, f"kernel-{row.id}.json")
            manager.kernel_id = row.id
        return self._managers[row.id]

    def _arguments(self, row: KernelRow) -> dict[str, Any]:
        """What `start_kernel` was given for a kernel, in this server's environment."""
        launched = row.launched
        return self._factory.start_arguments(cwd=launched.cwd, env={**os.environ, **launched.extra_env})

    def restarts(self, row: KernelRow) -> bool:
        return bool(self._manager(row).lifecycle.restart_limit)

    async def process_of(self, row: KernelRow, keeper: KernelKeeper) -> KeptProcess | None:
        manager = self._manager(row)
        if why_not_kept(manager) is not None:
            return None

        def make_manager(*, kernel_name: str, connection_file: str) -> FpsKernelManager:
            manager.connection_file = connection_file
            return manager

        process = await keeper.process_of(row, partial(KeptHostedProcess.adopt, make_manager=make_manager))
        if process is not None:
            manager.take_over(self._arguments(row))
        return process

    def make(self, row: KernelRow, process: KeptProcess | None) -> Kernel:
        assert process is None or isinstance(process, KeptHostedProcess)
        factory, manager = self._factory, self._manager(row)
        if not manager._connection_file_written:
            manager.connection_file = str(free_path(Path(manager.connection_file)))
        launcher = factory.make_launcher(manager, self._pool, process)
        launcher.options = self._arguments(row)
        folder = Path(manager.connection_file).parent
        recorded = self._keepsake.recorded(launcher, row, folder, None, runs=process is not None)
        manager.make_kernel(launcher, recorded, manager.lifecycle)
        assert manager.kernel is not None
        restore_state(manager.kernel, row)
        return manager.kernel

    def add(self, kernel: Kernel) -> None:
        manager = self._managers[kernel.id]
        manager.begin()
        self._keepsake.follow(kernel)
        self._take_in(manager)

    async def restore_session(self, row: SessionRow) -> None:
        if isinstance(self._sessions, KeptSessions):
            await self._sessions.restore(row)
