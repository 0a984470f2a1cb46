"""Launchers whose processes are written down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from ...kernel_driver.launcher import Launcher
from ...kernel_driver.process import LaunchOptions, Process
from ...process_mark import ProcessMark
from ...store.model import Launched
from ..kernel_folder import KernelFolder
from .kernel_record import KernelRecord


class RecordedLauncher:
    """A launcher that has a kernel's processes written down: before they are launched, and when they run.

    launcher: what launches them.
    record: what is to be written down.
    connection_dir: where connection files are.
    folder: where the processes start, if that can change.
    begins: awaited before the first process; raises StoreUnreachable.
    runs: called with the record when there is a process, and so is `ended` when that has ended.
    """

    def __init__(
        self,
        launcher: Launcher,
        record: KernelRecord,
        connection_dir: Path,
        folder: KernelFolder | None,
        begins: Callable[[], Awaitable[None]],
        runs: Callable[[KernelRecord], None],
        ended: Callable[[KernelRecord], None],
    ) -> None:
        self._launcher = launcher
        self._record = record
        self._connection_dir = connection_dir
        self._folder = folder
        self._begins = begins
        self._runs = runs
        self._ended = ended

    @property
    def kernel_name(self) -> str:
        return self._launcher.kernel_name

    @property
    def owned(self) -> bool:
        return self._launcher.owned

    async def take(self, kernel_id: str) -> Process | None:
        self._record.begins()
        first = not self._record.row.generation
        if first:
            await self._begins()
        process = await self._launcher.take(kernel_id)
        if process is not None:
            await self._write_down(process)
            if not first:  # the first one is watched until it answers
                self._record.answers()
        return process

    async def launch(self, kernel_id: str) -> Process:
        process = await self._launcher.launch(kernel_id)
        await self._write_down(process)
        return process

    async def listens(self) -> bool:
        return await self._launcher.listens()

    def on_ready(self) -> None:
        self._launcher.on_ready()
        self._record.answers()

    def set_environment(self, names: Mapping[str, str]) -> None:
        self._launcher.set_environment(names)
        launched = self._record.row.launched
        self._record.change_launched(
            extra_env={**launched.extra_env, **names},
            path=launched.path if self._folder is None else self._folder.path,
        )

    async def _write_down(self, process: Process) -> None:
        record = self._record
        record.process = process
        mark = None if process.pid is None else await asyncio.to_thread(ProcessMark.of, process.pid)
        named = getattr(process, "connection_file", "")  # else it has the name that it gets unless that is taken
        record.change_launched(
            kernelspec=dict(process.kernelspec) or record.row.launched.kernelspec,
            connection_file=str(named or self._connection_dir / f"kernel-{record.id}.json"),
        )
        known = mark is not None and mark == record.row.process  # it was taken over from another server
        record.change(process=mark, generation=record.row.generation + (not known))
        self._runs(record)

        def on_exit(_: object) -> None:
            if record.process is process:
                self._ended(record)

        process.exited.add_done_callback(on_exit)


def launched_with(options: LaunchOptions, folder: KernelFolder | None, startup_timeout_s: float) -> Launched:
    """What is written down of the options of a launch."""
    return Launched(
        cwd=options.cwd,
        path="" if folder is None else folder.path,
        environ={} if folder is None else dict(folder.environ),
        extra_env=dict(options.extra_env),
        encryption=options.encryption,
        transport=options.transport,
        startup_timeout_s=startup_timeout_s,
    )
