"""Registries whose kernels and sessions are written down in a store."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fps_kernels.hosts.asphalt.config import KernelsConfig
from fps_kernels.kernel_driver.connection_file import ConnectionInfo
from fps_kernels.kernel_driver.external import ExternalLauncher
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernel_driver.launcher import KernelspecLauncher
from fps_kernels.kernel_driver.process import LaunchedProcess
from fps_kernels.kernels.keeping.found_kernel import found_kernel
from fps_kernels.kernels.keeping.kernel_keeper import KernelKeeper
from fps_kernels.kernels.keeping.next_server import OwnNextServer
from fps_kernels.kernels.keeping.restoring import Restored, Restoring
from fps_kernels.kernels.keeping.stored_keepsake import StoredKeepsake
from fps_kernels.kernels.kernel import Kernel
from fps_kernels.kernels.prewarm import Pacing
from fps_kernels.kernels.registry import KernelRegistry
from fps_kernels.kernels.sessions import SessionStore
from fps_kernels.kernels.start_policy import StartPolicy
from fps_kernels.store.model import KernelRow, SessionRow
from fps_kernels.store.sqlite_store import SQLiteStore

from .waits import until


class LeavingLauncher(KernelspecLauncher):
    """A launcher of processes that can outlive their server, as nothing here ends them."""

    launched: list[LaunchedProcess]

    async def launch(self, kernel_id: str) -> LaunchedProcess:
        process = await super().launch(kernel_id)
        self.launched.append(process)
        process.kept = True  # what a launcher of the keeper's has
        return process


class KeptRegistry(KernelRegistry):
    """A registry of kernels, and where they are written down.

    base: the folder that has its root, the connection files and the store.
    stays: whether its kernels go on when it is stopped. keeper: what keeps them, if anything does.
    """

    def __init__(
        self,
        base: Path,
        *,
        stays: bool = False,
        policy: StartPolicy | None = None,
        keeper: KernelKeeper | None = None,
        **values: Any,
    ) -> None:
        folders = {"root_dir": str(base / "root"), "connection_dir": str(base / "runtime")}
        (base / "root").mkdir(exist_ok=True)
        config = KernelsConfig(**folders | {"prewarm": 0, "shutdown_wait_time_s": 0.5, "start_answer_s": 30} | values)
        options = config.options()
        store = SQLiteStore(base / "store.sqlite", busy_timeout_s=0.1)
        self.kept = StoredKeepsake(store, str(base / "root"), stays=stays, keeper=keeper)
        specs = Kernelspecs(options.default_kernel)
        super().__init__(options, specs, policy, pacing=Pacing(quiet_s=0.1, patience_s=0.5), keepsake=self.kept)

    async def rows(self) -> dict[str, KernelRow]:
        """What is written down of kernels, by their ids."""
        return {row.id: row for row in await self.kept.store.kernels()}

    async def session_rows(self) -> dict[str, SessionRow]:
        """What is written down of sessions, by their ids."""
        return {row.id: row for row in await self.kept.store.sessions()}

    async def written(self, kernel_id: str, fits: Callable[[KernelRow], object]) -> KernelRow:
        """Wait until what is written down of a kernel is as it should be, and return it."""

        async def found() -> KernelRow | None:
            row = (await self.rows()).get(kernel_id)
            return row if row is not None and fits(row) else None

        row = await until(found)
        assert isinstance(row, KernelRow)
        return row


class Successor:
    """A server after another one: its registry, its sessions, and what it does with what it finds.

    adopts: the connection files of kernels that can be taken over, by the ids of these.
    ended: the rows whose processes it was told to end.
    """

    def __init__(self, base: Path, **values: Any) -> None:
        self.registry = KeptRegistry(base, **values)
        self.sessions = SessionStore(self.registry)
        self.adopts: dict[str, Path] = {}
        self.ended: list[KernelRow] = []

    async def start(self) -> Restored:
        await self.registry.open()
        return await self.restore()

    async def restore(self) -> Restored:
        """What `start` does once the registry is open."""
        kept = self.registry.kept
        return await Restoring(OwnNextServer(self.registry, self.sessions, kept), kept, self.adopt, self.end).restore()

    async def adopt(self, row: KernelRow) -> Kernel | None:
        """Connect to the process by its connection file, as to one that others started."""
        if row.id not in self.adopts:
            return None
        info = ConnectionInfo.from_dict(json.loads(self.adopts[row.id].read_text()))
        return found_kernel(row, ExternalLauncher(row.name, info), self.registry.factory, self.registry.kept)

    async def end(self, row: KernelRow) -> None:
        self.ended.append(row)
        if row.process is not None and row.process.runs:
            os.kill(row.process.pid, signal.SIGKILL)
