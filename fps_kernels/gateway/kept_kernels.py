"""What a state folder says of kernels, for the commands that show and end them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..errors import BadOption
from ..kernels.keeping.restoring import is_alive
from ..state_folder import open_state_folder, state_dir_path
from ..store.model import KernelRow, Phase, ReplicaRow
from ..store.sqlite_store import FILE, SQLiteStore


@dataclass(frozen=True, slots=True)
class KeptKernel:
    """A kernel that is written down.

    notebooks: the paths of its sessions, or that for which it was started.
    server: the server whose it is; None if that does not live any more.
    """

    row: KernelRow
    notebooks: tuple[str, ...]
    server: ReplicaRow | None

    @property
    def state(self) -> str:
        """What it is doing, in a word. May block, for a moment."""
        row = self.row
        if row.phase is Phase.DEAD or row.process is None or row.process.runs:
            return row.execution_state if row.phase is Phase.RUNNING else row.phase.value
        return "gone"


@contextlib.asynccontextmanager
async def opened_store(state_dir: str | None) -> AsyncIterator[SQLiteStore | None]:
    """The store in a state folder; None if there is none. Nothing is made. Raises BadOption."""
    folder = state_dir_path(state_dir)
    if not (folder / FILE).exists():
        if state_dir and not folder.is_dir():
            raise BadOption(f"--state-dir={state_dir}: there is no such folder")
        yield None
        return
    store = SQLiteStore(open_state_folder(state_dir) / FILE)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def kept_kernels(store: SQLiteStore) -> list[KeptKernel]:
    """All kernels that are written down, oldest first. Raises StoreUnreachable."""
    servers = {one.id: one for one in await store.replicas() if is_alive(one)}
    paths: dict[str, list[str]] = {}
    for session in await store.sessions():
        paths.setdefault(session.kernel_id, []).append(session.path)
    found = []
    for row in await store.kernels():
        notebooks = paths.get(row.id) or [row.launched.path or ""]
        found.append(KeptKernel(row, tuple(filter(None, notebooks)), servers.get(row.replica)))
    return found
