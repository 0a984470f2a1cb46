"""The keeper, as one server has it: what that holds of servers before, and what it is told of this server's kernels."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ...errors import FPSKernelsError
from ...keeper.keeper_folder import KeeperFolder
from ...kept.client_sockets import ClientSockets
from ...kept.keeper_cgroup import restart_warning
from ...kept.keeper_client import KeeperClient, RefusedByKeeper
from ...kept.kept_launcher import KeptLauncher
from ...kept.kept_process import KeptProcess, forget, kept_or
from ...kernel_driver.channels import OpenChannels
from ...kernel_driver.kernelspec import Kernelspecs
from ...kernel_driver.launch import LaunchOptions
from ...process_mark import ProcessMark
from ...store.model import KernelRow
from .orphan_end import end_orphan
from .record_reading import RecordReading

if TYPE_CHECKING:
    from ...kernel_driver.launcher import Launcher
    from ..kernel import Kernel

logger = logging.getLogger(__name__)

AdoptProcess = Callable[[KeeperClient, Mapping[str, Any], int | None], Awaitable[KeptProcess]]

UNMERGED = 20
"""How many messages a keeper keeps for each that a server does, which merges those that have text."""
MIN_MESSAGES = 20_000
MIN_BYTES = 8 * 1024 * 1024
"""What a keeper keeps in any case, because a server, too, reads from there, and may lag for a moment."""
READ_TIMEOUT_S = 2.0
"""Seconds in which the record of a process that has ended is read."""


@runtime_checkable
class KeepingLauncher(Protocol):
    """A launcher of processes that are kept, as far as they can be."""

    on_process: Callable[[KeptProcess], None]
    """Called with each process that is kept, before it is connected to."""


class KernelKeeper:
    """A server's side of its keeper.

    folder: the state folder.
    orphan_timeout_s: seconds without servers after which a keeper that is started here ends its kernels; 0 for never.
    max_messages, max_bytes: how much of what a kernel says is kept for clients that are away; None for the keeper's
      own bounds.

    client: the connection to the keeper.
    reading: what is made of the records of kernels.
    """

    def __init__(
        self, folder: Path, orphan_timeout_s: float, max_messages: int | None = None, max_bytes: int | None = None
    ) -> None:
        self.client = KeeperClient(KeeperFolder(folder), orphan_timeout_s)
        if max_messages is not None and max_bytes is not None:
            self.client.bounds = {
                "max_messages": max(MIN_MESSAGES, UNMERGED * max_messages),
                "max_bytes": max(MIN_BYTES, max_bytes),
            }
        self._sockets = ClientSockets(KeeperFolder(folder).clients)
        self.reading = RecordReading(folder / "cursors", self._sockets)
        self._held: dict[str, Mapping[str, Any]] = {}  # of servers before, by the ids of the kernels

    @property
    def uuid(self) -> str:
        """The keeper's; "" before `start`."""
        return self.client.uuid

    @property
    def well(self) -> bool:
        """Whether the keeper is connected, and answers."""
        return self.client.well

    async def start(self) -> None:
        """Connect to the keeper, which is started if there is none, and ask what it holds.

        Raises KeeperUnavailable, BadKeeperFolder.
        """
        await self.client.start()
        try:
            found = (await self.client.call("kernels"))["kernels"]
        except FPSKernelsError:
            await self.client.leave()
            raise
        self._sockets.open()
        self._held = {one["kernel"]: one for one in found}
        pid = int(self.client.hello["pid"])
        if warning := await asyncio.to_thread(restart_warning, os.environ, pid):
            logger.warning("%s", warning)
        await asyncio.to_thread(self.reading.open)

    def forget(self, kernel_id: str) -> None:
        """A kernel is gone for good. Nothing is done after `leave`."""
        forget(self.client, kernel_id)

    def restored(self) -> None:
        """All kernels of servers before have been made. May block."""
        self.reading.restored(self._held)

    async def leave(self) -> None:
        """End the connection. Kernels that run go on, whatever is done to them here. May be called twice."""
        await self.client.leave()

    async def close(self, *, keep: bool) -> None:
        """End the connection, when all clients have left. May be called twice.

        keep: whether kernels go on, so that the next server is to know where their clients were.
        """
        await self.leave()
        self._sockets.close()
        await asyncio.to_thread(self.reading.close, keep=keep)

    def open_channels(self, other: OpenChannels) -> OpenChannels:
        """What opens the channels to processes that are kept, and to others by `other`."""
        return kept_or(other)

    def launcher(
        self, options: LaunchOptions, specs: Kernelspecs, adopted: KeptProcess | None = None, **more: Any
    ) -> KeptLauncher:
        """A launcher of processes that are kept, as far as they can be. See KeptLauncher."""
        return KeptLauncher(options, specs, self.client, adopted=adopted, **more)

    def listen(self, kernel: Kernel, launcher: Launcher) -> None:
        """Have a kernel told of its processes that are kept, and forgotten at its end. Its start must not have begun.

        launcher: that of its processes. Does nothing for one whose processes are not kept.
        """
        if isinstance(launcher, KeepingLauncher):
            launcher.on_process = self.reading.watcher(kernel)

            async def forget_kernel() -> None:
                if not self.client.left:
                    self.forget(kernel.id)
                    self.reading.forget(kernel)

            kernel.on_stop(forget_kernel)

    async def process_of(self, row: KernelRow, adopt: AdoptProcess = KeptProcess.adopt) -> KeptProcess | None:
        """The process of a kernel that a server before has left, which may have ended; None if the keeper has none.

        adopt: makes it; KeptProcess.adopt, or one that does what that does.
        Raises KernelStartFailed when too little is known of it; KeeperUnavailable.
        """
        summary = self._held.get(row.id)
        if summary is None:
            if (summary := await self._watch_over(row)) is None:
                return None
            self._held[row.id] = summary
        return await adopt(self.client, summary, self.reading.start_number(summary))

    def restore(self, kernel: Kernel) -> None:
        """A kernel of a server before, which the keeper has, was made, and is not connected to yet."""
        self.reading.restore(kernel, self._held[kernel.id])

    async def read_record(self, kernel: Kernel, process: KeptProcess) -> None:
        """Have a kernel told the record of a process that has ended, in bounded time, if it is to begin before now."""
        end = int(self._held[kernel.id]["next_seq"])
        if process.from_seq is None or process.from_seq >= end:
            return
        self.reading.watcher(kernel)(process)
        kernel.client.connect(process.connection)
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                await process.read_until(end)
        except TimeoutError:
            logger.warning("kernel %s: its record was not read within %g s", kernel.id, READ_TIMEOUT_S)

    async def _watch_over(self, row: KernelRow) -> Mapping[str, Any] | None:
        """Have a new keeper watch over a process that has outlived the one before, whose record is lost.

        None if there is no such process. Raises KeeperUnavailable.
        """
        mark = row.process
        if mark is None or row.keeper_id in ("", self.uuid) or not await asyncio.to_thread(lambda: mark.runs):
            return None
        launched = row.launched
        try:
            summary = await self.client.call(
                "adopt",
                kernel=row.id,
                pid=mark.pid,
                start_time=mark.start_time,
                of_generation=max(1, row.generation),
                next_seq=self.reading.last_number(row.id),
                files=[launched.connection_file],
                bounds=self.client.bounds,
            )
        except RefusedByKeeper as exc:
            logger.warning("kernel %s has not outlived its keeper: %s", row.id, exc.message)
            return None
        process = {
            "kernel_name": row.name,
            "connection_file": launched.connection_file,
            "cwd": launched.cwd,
            "command": list(launched.kernelspec.get("argv", ())),
            "spec": dict(launched.kernelspec),
        }
        self.client.tell("facts", kernel=row.id, generation=summary["generation"], facts={"process": process})
        return {**summary, "facts": {"process": process}}

    async def end(self, row: KernelRow) -> bool:
        """End the process of a kernel that a server before has left, and have it forgotten; whether it is gone."""
        summary = self._held.pop(row.id, None)
        if summary is not None and summary["running"] and summary["pid"]:  # the row may not know of it yet
            row = replace(row, process=await asyncio.to_thread(ProcessMark.of, summary["pid"]))
        ended = await end_orphan(row)
        self.forget(row.id)
        if ended and (path := row.launched.connection_file):  # of one that the keeper has not had
            with contextlib.suppress(OSError):
                await asyncio.to_thread(os.unlink, path)
        return ended
