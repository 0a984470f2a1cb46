"""Launchers whose processes are written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...kernel_driver.launch import LaunchOptions
from ...kernel_driver.launcher import Launcher
from ...kernel_driver.process import Process
from ...process_mark import ProcessMark
from ...store.model import Launched
from ..kernel_folder import KernelFolder
from .kernel_record import KernelRecord


@dataclass(frozen=True, slots=True)
class RecordedBy:
    """Whoever writes down what a launcher tells.

    begins: awaited before the first process; raises StoreUnreachable.
    runs: called with the record when there is a process, and so is `ended` when that has ended, or could not be had.
    goes_on: whether the process of a record is left to the next server.
    """

    begins: Callable[[], Awaitable[None]]
    runs: Callable[[KernelRecord], None]
    ended: Callable[[KernelRecord], None]
    goes_on: Callable[[KernelRecord], bool]


class RecordedLauncher:
    """A launcher that has a kernel's processes written down: before they are launched, and when they run.

    launcher: what launches them. A process of it that can outlive the server has an attribute `kept`, which is true.
    record: what is to be written down.
    connection_dir: where connection files are.
    folder: where the processes start, if that can change.
    by: who writes it down.
    runs: whether the first process is one that an earlier server has launched, see `took_over`.

    took_over: whether the process is one that an earlier server has launched.
    """

    def __init__(
        self,
        launcher: Launcher,
        record: KernelRecord,
        connection_dir: Path,
        folder: KernelFolder | None,
        by: RecordedBy,
        *,
        runs: bool = False,
    ) -> None:
        self._launcher = launcher
        self._record = record
        self._connection_dir = connection_dir
        self._folder = folder
        self._by = by
        self._runs = runs
        self.took_over = False

    @property
    def kernel_name(self) -> str:
        return self._launcher.kernel_name

    @property
    def owned(self) -> bool:
        """Whether the process is ours to end: not when the server is stopped and leaves it to the next one."""
        return self._launcher.owned and not self._by.goes_on(self._record)

    async def take(self, kernel_id: str) -> Process | None:
        runs, self._runs = self._runs, False
        first = not self._record.row.generation
        if not runs:
            self._record.begins()
        if first:
            await self._by.begins()
        try:
            process = await self._launcher.take(kernel_id)
        except BaseException:
            self._by.ended(self._record)
            raise
        if process is not None:
            self._write_down(process, took_over=runs)
            if not (first or runs):  # the first one is watched until it answers
                self._record.answers()
        return process

    async def launch(self, kernel_id: str) -> Process:
        try:
            process = await self._launcher.launch(kernel_id)
        except BaseException:
            self._by.ended(self._record)
            raise
        self._write_down(process, took_over=False)
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

    def _write_down(self, process: Process, *, took_over: bool) -> None:
        """Nothing is awaited here: the process would have no owner if that were cancelled."""
        record = self._record
        record.process = process
        self.took_over = took_over
        mark = None if process.pid is None else ProcessMark.of(process.pid)
        named = getattr(process, "connection_file", "")  # else it has the name that it gets unless that is taken
        record.change_launched(
            kernelspec=dict(process.kernelspec) or record.row.launched.kernelspec,
            connection_file=str(named or self._connection_dir / f"kernel-{record.id}.json"),
        )
        if took_over and mark is None:
            mark = record.row.process
        record.change(process=mark, generation=max(1, record.row.generation + (not took_over)))
        self._by.runs(record)

        def on_exit(_: object) -> None:
            if record.process is process:
                self._by.ended(record)

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
