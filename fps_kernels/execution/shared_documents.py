"""The shared documents of a server: found, and kept open and saved while their cells run.

What is common to all hosts. Each host has rooms of its own, in which its documents live while somebody uses them.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Self

from ..errors import DocumentNotFound
from ..tasks import TaskSet
from .notebook import SharedNotebook

SAVE_INTERVAL_S = 10.0
"""Time between two saves while a cell runs. The hosts' own save never comes as long as a cell prints."""
CLOSE_TIMEOUT_S = 5.0
"""Wait for the last saves when the server ends."""


Saving = Callable[[str], Callable[[], None]]


class SilentPeer:
    """A client that a room takes for a WebSocket, and is kept open for: it sends nothing, and ignores what it is sent.

    path: the name of the document.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._left = asyncio.Event()

    def leave(self) -> None:
        """Leave the room."""
        self._left.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        await self._left.wait()
        raise StopAsyncIteration

    async def recv(self) -> bytes:
        return await self.__anext__()

    async def send(self, message: bytes) -> None:
        pass


class DocumentLease(ABC):
    """Keeps one document open and saved, until `leave`.

    holders: how many executions want it; counted by the owner.
    """

    def __init__(self, notebook: SharedNotebook) -> None:
        self.holders = 0
        self.notebook = notebook
        self._left = asyncio.Event()
        self._hurried = asyncio.Event()

    def leave(self) -> None:
        """End `keep`, after a last save."""
        self._left.set()

    def hurry(self) -> None:
        """End `keep` after a save at once: the server ends."""
        self._hurried.set()
        self._left.set()

    async def keep(self) -> None:
        """Be a client of the room, and save the document when it has changed, at intervals and at the end."""
        peer = SilentPeer(self.notebook.name)
        staying = asyncio.create_task(self.stay(peer), name=f"client of {peer.path}")
        try:
            while not self._left.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SAVE_INTERVAL_S):
                        await self._left.wait()
                if not self.notebook.changed:
                    continue
                self.notebook.changed = False
                if self._left.is_set() and await self.saved_by_the_room():
                    continue
                if not await self.save():
                    self.notebook.changed = True
        finally:
            peer.leave()
            await staying

    @abstractmethod
    async def stay(self, peer: SilentPeer) -> None:
        """Have the document's room serve the peer, until the peer leaves; then the room is closed as usual."""

    async def saved_by_the_room(self) -> bool:
        """Wait for a save of the room's own, if one is due soon, and unless `hurry` is called meanwhile.

        Returns whether the last save is left to others.
        """
        return False

    @abstractmethod
    async def save(self) -> bool:
        """Save the document; False when another attempt is worth it."""


class SharedDocuments(ABC):
    """All shared notebooks of a server.

    tells_saves: whether those who called `watch_saves` are told of all saves.
    """

    def __init__(self) -> None:
        self._notebooks: dict[str, SharedNotebook] = {}
        self._leases: dict[str, DocumentLease] = {}
        self._kept: set[DocumentLease] = set()
        self._tasks = TaskSet()
        self._on_saving: list[Saving] = []
        self.tells_saves = False

    def watch_saves(self, saving: Saving) -> None:
        """Have `saving(name)` called when a document is about to be saved as it is, and what it returns afterwards."""
        self._on_saving.append(saving)

    def unwatch_saves(self, saving: Saving) -> None:
        """End that."""
        self._on_saving.remove(saving)

    def saving(self, name: str) -> Callable[[], None]:
        """A document is about to be saved as it is now; what is returned is to be called when it was."""
        saved = [saving(name) for saving in self._on_saving]

        def call_all() -> None:
            for one in saved:
                one()

        return call_all

    @contextlib.asynccontextmanager
    async def reopened(self, path: str) -> AsyncIterator[SharedNotebook | None]:
        """The notebook of a file, which is open meanwhile though nobody shows it; None if it cannot be opened."""
        yield None

    @abstractmethod
    def document(self, name: str) -> Any | None:
        """The YNotebook of a name; None if there is none, or a document of another kind."""

    @abstractmethod
    def open_documents(self) -> Mapping[str, Any]:
        """All YNotebooks that are open, by their names."""

    @abstractmethod
    def lease(self, notebook: SharedNotebook) -> DocumentLease | None:
        """What keeps a notebook open; None where that cannot be done."""

    def find(self, name: str | None, cell_id: str | None, path: str | None) -> SharedNotebook:
        """The notebook of a name, or else the one that has the cell: front ends lose names, and keep stale ones.

        path: the path of the notebook that the kernel is for; it decides between copies that have the same cells.
        Raises DocumentNotFound.
        """
        document = self.document(name) if name else None
        if document is not None and name is not None:
            return self._notebook(name, document)
        notebooks = [self._notebook(*one) for one in self.open_documents().items()]
        having = [one for one in notebooks if cell_id is not None and one.find(cell_id) is not None]
        at_path = [one for one in having if path is not None and one.document.path == path]
        if not having or (len(having) > 1 and not at_path):
            raise DocumentNotFound(name or "(none named)")
        return (at_path or having)[0]

    def _notebook(self, name: str, document: Any) -> SharedNotebook:
        known = self._notebooks.get(name)
        if known is None or known.document is not document:
            known = self._notebooks[name] = SharedNotebook(name, document)
            for closed in [one for one in self._notebooks if self.document(one) is None and one not in self._leases]:
                del self._notebooks[closed]
        return known

    def hold(self, notebook: SharedNotebook) -> None:
        """Keep a notebook open, and save it now and then, until `release` has been called as often."""
        lease = self._leases.get(notebook.name)
        if lease is None:
            lease = self.lease(notebook)
            if lease is None:
                return
            self._leases[notebook.name] = lease
            self._kept.add(lease)
            task = self._tasks.start(lease.keep(), name=f"keeping {notebook.name}")
            task.add_done_callback(lambda _: self._kept.discard(lease))
        lease.holders += 1

    def release(self, notebook: SharedNotebook) -> None:
        """After the last release of a notebook it is saved, and closed as usual."""
        lease = self._leases.get(notebook.name)
        if lease is not None:
            lease.holders -= 1
            if not lease.holders:
                del self._leases[notebook.name]
                lease.leave()

    async def close(self) -> None:
        """Release all notebooks; returns when they have been saved, or after a few seconds."""
        for lease in self._kept:
            lease.hurry()
        self._leases.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)
            await self._tasks.close()
