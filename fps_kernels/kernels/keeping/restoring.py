"""What a server does at its start with the kernels and sessions of servers that are gone.

A kernel belongs to the server that wrote it down, as long as that lives. Of one that is gone, whichever server comes
first takes it over, by one change in the store: two that start at once never have the same kernel. Kernels of servers
with another root folder are left alone, as the paths of their notebooks mean something else here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from ...errors import StoreUnreachable
from ...kernel_driver.state import ExecutionState
from ...store.model import KernelRow, ReplicaRow
from ..kernel import Kernel
from .next_server import NextServer
from .stored_keepsake import StoredKeepsake
from .verdict import Verdict, as_dead, reason_of, verdict_of, was_ready

logger = logging.getLogger(__name__)

Adopt = Callable[[KernelRow], Awaitable[Kernel | None]]
"""adopt(row): a kernel whose start connects it to the process of the row, see next_server.py, or one that is dead as
that has ended; None if nothing is known of that process, or it is out of reach."""
End = Callable[[KernelRow], Awaitable[None]]
"""end(row): ends the process of a row, if it runs. Nothing is to be left of it."""

ADOPT_TIMEOUT_S = 20.0
"""How long it may take to find out whether a kernel can be taken over; its handshake is not waited for."""
END_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Restored:
    """What became of the kernels that were found, by their ids.

    adopted: those that go on.
    dead: those that are shown with a reason, and can be restarted.
    ended: those that are forgotten.
    """

    adopted: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


class Restoring:
    """The start of one server, as far as it has to do with those before it.

    server: where kernels and sessions are put.
    keepsake: the server's, which is open.
    adopt, end: what is done with processes.
    """

    def __init__(self, server: NextServer, keepsake: StoredKeepsake, adopt: Adopt, end: End) -> None:
        self._server = server
        self._keepsake = keepsake
        self._adopt = adopt
        self._end = end

    async def restore(self) -> Restored:
        """Take over what servers that are gone have left.

        Raises StoreUnreachable, before anything is done to kernels.
        """
        store, mine = self._keepsake.store, self._keepsake.replica
        restored = Restored()
        replicas = await store.replicas()
        alive = {one.id for one in replicas if await asyncio.to_thread(is_alive, one)}
        rows, sessions = await store.kernels(), await store.sessions()
        claimed = [
            replace(row, replica=mine.id)
            for row in rows
            if row.replica not in alive and row.root == mine.root and await store.claim(row.id, row.replica, mine.id)
        ]
        # One that hangs must not hold up the others.
        await asyncio.gather(*(self._restore(row, restored) for row in claimed))
        for session in sessions:
            if session.kernel_id in restored.adopted or session.kernel_id in restored.dead:
                self._keepsake.found_session(session)
                await self._server.restore_session(session)
        needed = alive | {row.replica for row in rows if row.root != mine.root}
        with contextlib.suppress(StoreUnreachable):  # the next one forgets them
            for replica in replicas:
                if replica.id not in needed:
                    await store.remove_replica(replica.id)
        if claimed:
            logger.info(
                "of the kernels of a server before this one %d go on, %d are dead and %d were ended",
                len(restored.adopted),
                len(restored.dead),
                len(restored.ended),
            )
        return restored

    async def _restore(self, row: KernelRow, restored: Restored) -> None:
        match verdict_of(row):
            case Verdict.END:
                await self._end_process(row)
                self._keepsake.found(row, ended=True)
                restored.ended.append(row.id)
            case Verdict.SHOW_DEAD:
                self._show_dead(row, row.reason)
                restored.dead.append(row.id)
            case Verdict.ADOPT:
                if (kernel := await self._adopted(row)) is not None:
                    if kernel.execution_state is ExecutionState.DEAD:
                        self._take_in_dead(row, kernel, kernel.client.state.reason or "")
                        restored.dead.append(row.id)
                    else:
                        self._server.add(kernel)
                        restored.adopted.append(row.id)
                    return
                mark = row.process
                same_boot = mark is None or await asyncio.to_thread(lambda: mark.is_of_this_boot)
                runs = mark is not None and await asyncio.to_thread(lambda: mark.runs)
                await self._end_process(row)
                if not was_ready(row):
                    logger.warning("kernel %s (%s) was not ready when its server ended", row.id, row.name)
                    self._keepsake.found(row, ended=True)
                    restored.ended.append(row.id)
                    return
                reason = reason_of(row, same_boot=same_boot, runs=runs)
                logger.warning("kernel %s (%s): %s", row.id, row.name, reason)
                self._show_dead(row, reason)
                restored.dead.append(row.id)

    async def _adopted(self, row: KernelRow) -> Kernel | None:
        try:
            async with asyncio.timeout(ADOPT_TIMEOUT_S):
                return await self._adopt(row)
        except TimeoutError:
            logger.error("kernel %s could not be taken over within %g s", row.id, ADOPT_TIMEOUT_S)
        except Exception:  # one kernel must not keep the server from starting
            logger.exception("kernel %s could not be taken over", row.id)
        return None

    async def _end_process(self, row: KernelRow) -> None:
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await self._end(row)
        except TimeoutError:
            logger.error("kernel %s did not end within %g s", row.id, END_TIMEOUT_S)
        except Exception:
            logger.exception("kernel %s could not be ended", row.id)

    def _show_dead(self, row: KernelRow, reason: str) -> None:
        kernel = self._server.make(as_dead(row, reason), None)
        kernel.lie_dead(reason)
        self._take_in_dead(row, kernel, reason)

    def _take_in_dead(self, row: KernelRow, kernel: Kernel, reason: str) -> None:
        self._server.add(kernel)
        self._keepsake.found(as_dead(row, reason))


def is_alive(replica: ReplicaRow) -> bool:
    """Whether a server still runs. Blocks, for a moment."""
    return replica.process is not None and replica.process.runs
