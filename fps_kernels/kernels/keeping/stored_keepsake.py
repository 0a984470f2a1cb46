"""Kernels and sessions that are written down in a store.

What must be written before something happens is waited for; all else is collected, and written by one task as soon as
the store takes it: when it cannot be reached, nothing is lost but time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...errors import StoreUnreachable
from ...kernel_driver.launch import LaunchOptions
from ...kernel_driver.launcher import Launcher
from ...process_mark import ProcessMark
from ...store.model import KernelRow, Phase, Purpose, ReplicaRow, SessionRow
from ...store.sqlite_store import SQLiteStore
from ..kernel_folder import KernelFolder
from .keepsake import Keepsake
from .kernel_record import KernelRecord, text_of
from .recorded_launcher import RecordedBy, RecordedLauncher, launched_with
from .write_behind import WriteBehind

if TYPE_CHECKING:
    from ..kernel import Kernel
    from .kernel_keeper import KernelKeeper

logger = logging.getLogger(__name__)


# Large: each of Keepsake's methods is a step in the life of a kernel or a session.
class StoredKeepsake(Keepsake):
    """The kernels and sessions of one server, in a store.

    store: where they are written down; opened and closed by this.
    root: the root folder of the server.
    address: where the server serves, for people.
    stays: whether kernels go on when the server is stopped, too.
    keeper: what keeps the processes of kernels; opened and closed by this, too. None if they end with the server.

    replica: what is written down of this server.
    keeper_id: the keeper that has the processes of kernels; empty for none.
    """

    def __init__(
        self,
        store: SQLiteStore,
        root: str,
        address: str = "",
        *,
        stays: bool = False,
        keeper: KernelKeeper | None = None,
    ) -> None:
        self.store = store
        self.stays = stays
        self.keeper = keeper
        self.keeper_id = ""
        now = text_of(datetime.now(UTC))
        self.replica = ReplicaRow(uuid.uuid4().hex, ProcessMark.of(os.getpid()), __version__, address, root, now)
        self._records: dict[str, KernelRecord] = {}
        self._sessions: dict[str, SessionRow] = {}
        self._rows = WriteBehind(store, self._look, self._write_anew)
        self._left = False

    async def open(self) -> None:
        """Open the store, and begin to write. Raises BadOption, StoreUnreachable, KeeperUnavailable."""
        await self.store.open()
        if self.keeper is not None:
            try:
                await self.keeper.start()
            except BaseException:
                await self.store.close()
                raise
            self.keeper_id = self.keeper.uuid
        await self.store.put_replica(self.replica)
        self._rows.start()

    @property
    def trouble(self) -> str:
        if self.keeper is not None and not self.keeper.well:
            return "The process that keeps kernels does not answer"
        return StoreUnreachable().message if self._rows.failing else ""

    def outlives(self, kernel_id: str) -> bool:
        record = self._records.get(kernel_id)
        return record is not None and _can_outlive(record)

    def began(self, kernel_id: str) -> str:
        record = self._records.get(kernel_id)
        return "" if record is None else record.row.created_at

    async def leave(self) -> None:
        """Write down what there is, for the next server: of kernels that can outlive this one, no more is written.

        May be called twice.
        """
        if not self._left:
            with contextlib.suppress(StoreUnreachable):  # the log has it
                self._look()
                await self._rows.flush()
        self._left = True
        if self.keeper is not None:
            await self.keeper.leave()

    async def close(self) -> None:
        """Write what is left, and close the store. May be called twice."""
        await self._rows.stop()
        with contextlib.suppress(StoreUnreachable):  # the log has it; the next server removes what is left
            await self._rows.flush()
            if not (self._records or self._left):
                await self.store.remove_replica(self.replica.id)
        await self.store.close()
        if self.keeper is not None:
            await self.keeper.close(keep=self._left)

    def launcher(
        self,
        launcher: Launcher,
        kernel_id: str,
        options: LaunchOptions,
        *,
        folder: KernelFolder | None,
        purpose: Purpose,
        startup_timeout_s: float,
    ) -> Launcher:
        """Have the processes of a new kernel written down; returns the launcher to use."""
        now = text_of(datetime.now(UTC))
        row = KernelRow(
            kernel_id,
            options.kernel_name,
            self.replica.id,
            self.replica.root,
            purpose,
            self.keeper_id,
            launched=launched_with(options, folder, startup_timeout_s),
            created_at=now,
            last_activity=now,
        )
        return self.recorded(launcher, row, options.connection_dir, folder)

    def recorded(
        self,
        launcher: Launcher,
        row: KernelRow,
        connection_dir: Path,
        folder: KernelFolder | None,
        *,
        runs: bool = False,
    ) -> RecordedLauncher:
        """The same for a kernel of which something is known already.

        connection_dir: where its connection file is.
        runs: whether the first process is the one of the row, which the launcher's first `take` gives.
        """
        record = self._records[row.id] = KernelRecord(row, self._on_change)

        async def begins() -> None:
            self._on_change(record)
            if record.row.purpose is Purpose.USER:
                await self._rows.flush()

        return RecordedLauncher(
            launcher,
            record,
            connection_dir,
            folder,
            RecordedBy(begins, self._runs, self._ended, self._goes_on),
            runs=runs,
        )

    def note_launched(self, kernel_id: str, **changes: Any) -> None:
        """Write down what other processes of a kernel are launched with: fields of Launched."""
        if (record := self._records.get(kernel_id)) is not None:
            record.change_launched(**changes)

    def found(self, row: KernelRow, *, ended: bool = False) -> None:
        """Write down what became of a kernel that was in the store.

        ended: whether it is to be forgotten.
        """
        if ended:
            self._rows.forget(row.id)
        else:
            self._rows.put(row)

    def follow(self, kernel: Kernel) -> None:
        """Have what happens to a kernel written down. Its start must have begun."""
        record = self._records.get(kernel.id)
        if record is None:
            return
        record.state = kernel.client.state
        kernel.observers.add(record)

        def started(task: asyncio.Task[None]) -> None:
            begun = record.row.phase in (Phase.LAUNCHING, Phase.RESTARTING)
            if begun and not task.cancelled() and task.exception() is None:
                record.answers()

        if kernel.starting is not None:
            kernel.starting.add_done_callback(started)

    async def ending(self, kernel_id: str) -> None:
        """A client wants to end a kernel. Raises StoreUnreachable."""
        record = self._records.get(kernel_id)
        if record is None or self._goes_on(record):
            return
        before = record.row.phase
        record.change(phase=Phase.ENDING)
        try:
            await self._rows.flush()
        except StoreUnreachable:
            if record.row.phase is Phase.ENDING:
                record.change(phase=before)
            raise

    def ends(self, kernel_id: str) -> None:
        """A kernel is being ended."""
        if (record := self._records.get(kernel_id)) is not None:
            record.change(phase=Phase.ENDING)

    def gone(self, kernel_id: str) -> None:
        """A kernel has been forgotten, and so have its sessions."""
        record = self._records.pop(kernel_id, None)
        if record is not None and not self._goes_on(record):
            self._sessions = {key: one for key, one in self._sessions.items() if one.kernel_id != kernel_id}
            self._rows.forget(kernel_id)
            if self.keeper is not None and record.row.purpose is Purpose.POOL:  # users' ones are, as they have ended
                self.keeper.forget(kernel_id)

    async def keep_session(self, session: SessionRow) -> None:
        """A session is about to be made or changed. Raises StoreUnreachable.

        That of an external kernel is not kept: each server finds those kernels by itself.
        """
        if self._left:
            return
        if (before := self._sessions.get(session.id)) is not None:
            session = replace(session, created_at=before.created_at)
        await self._rows.flush()  # its kernel first
        if await self.store.put_session(session):
            self._sessions[session.id] = session
        else:
            self._sessions.pop(session.id, None)

    async def forget_session(self, session_id: str) -> None:
        """A session is about to be forgotten. Raises StoreUnreachable."""
        if session_id in self._sessions and not self._left:
            await self.store.remove_session(session_id)
            self._sessions.pop(session_id, None)

    def found_session(self, session: SessionRow) -> None:
        """A session is in the store already."""
        self._sessions[session.id] = session

    def _on_change(self, record: KernelRecord) -> None:
        if self._records.get(record.id) is record and not self._goes_on(record):
            self._rows.put(record.row)

    def _goes_on(self, record: KernelRecord) -> bool:
        """Whether the process of a kernel is left to the next server now, as it can outlive this one."""
        return self._left and _can_outlive(record)

    def _runs(self, record: KernelRecord) -> None:
        """A kernel has a process. If that was one of the pool, it no longer is."""
        if record.row.purpose is Purpose.POOL and record.id not in self._records:  # another one, as a port was taken
            self._records[record.id] = record
            self._on_change(record)
        for other in tuple(self._records.values()):
            if other is not record and other.process is record.process:
                self.gone(other.id)

    def _ended(self, record: KernelRecord) -> None:
        """The process of a kernel has ended. Nobody else says so of one in the pool."""
        if record.row.purpose is Purpose.POOL and self._records.get(record.id) is record:
            self.gone(record.id)

    def _look(self) -> None:
        for record in self._records.values():
            record.look()

    async def _write_anew(self) -> None:
        """Write all there is: somebody has removed the file. Raises StoreUnreachable."""
        logger.warning("the store %s was removed; it is written anew", self.store.path)
        await self.store.put_replica(self.replica)
        await self.store.put_kernels([one.row for one in self._records.values()])
        for session in tuple(self._sessions.values()):
            await self.store.put_session(session)


def _can_outlive(record: KernelRecord) -> bool:
    """Whether the process of a kernel is one that a keeper runs, for a user."""
    return bool(getattr(record.process, "kept", False)) and record.row.purpose is Purpose.USER
