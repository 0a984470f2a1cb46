"""The shared documents of the Yjs plugin: found, and kept open and saved while their cells run.

Keeping documents open and saving them works with fps-yjs 0.6.4, which is patched for that: see the modules beside this
one. With another Yjs plugin, documents are only found by their names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from ...errors import DocumentNotFound
from ...tasks import TaskSet
from ..notebook import SharedNotebook
from .cell_states import never_save_states
from .odd_notebooks import read_odd_notebooks
from .rooms import RoomLease, outlive_clients
from .saving import Saver

CLOSE_TIMEOUT_S = 5.0
"""Wait for the last saves when the server ends."""


class Documents:
    """All shared notebooks of one Yjs plugin.

    yjs: the `jupyverse_api.yjs.Yjs` resource.
    """

    def __init__(self, yjs: Any) -> None:
        self._yjs = yjs
        self._manager = getattr(yjs, "room_manager", None)
        self._saver: Saver | None = None
        if self._manager is not None:
            outlive_clients(self._manager)
            read_odd_notebooks(self._manager)
            self._saver = Saver(self._manager)
        self._notebooks: dict[str, SharedNotebook] = {}
        self._leases: dict[str, RoomLease] = {}
        self._tasks = TaskSet()

    def find(self, name: str | None, cell_id: str | None, path: str | None) -> SharedNotebook:
        """The notebook of a name, or else the one that has the cell: front ends lose names, and keep stale ones.

        path: the path of the notebook that the kernel is for; it decides between copies that have the same cells.
        Raises DocumentNotFound.
        """
        document = self._get(name)
        if document is not None and name is not None:
            return self._notebook(name, document)
        having = [one for one in self._open() if cell_id is not None and one.find(cell_id) is not None]
        at_path = [one for one in having if path is not None and one.document.path == path]
        if not having or (len(having) > 1 and not at_path):
            raise DocumentNotFound(name or "(none named)")
        return (at_path or having)[0]

    def _get(self, name: str | None) -> Any | None:
        """The YNotebook of a name; None if there is none, or a document of another kind."""
        if not name:
            return None
        try:
            document = self._yjs.get_document(name)
        except KeyError:
            return None
        return document if hasattr(document, "ycells") else None

    def _open(self) -> Iterator[SharedNotebook]:
        documents = getattr(self._manager, "documents", None) or {}
        for name, document in list(documents.items()):
            if hasattr(document, "ycells"):
                yield self._notebook(name, document)

    def _notebook(self, name: str, document: Any) -> SharedNotebook:
        known = self._notebooks.get(name)
        if known is None or known.document is not document:
            never_save_states(document)
            known = self._notebooks[name] = SharedNotebook(name, document)
            for closed in [one for one in self._notebooks if self._get(one) is None and one not in self._leases]:
                del self._notebooks[closed]
        return known

    def hold(self, notebook: SharedNotebook) -> None:
        """Keep a notebook open, and save it now and then, until `release` has been called as often."""
        if self._saver is None:
            return
        lease = self._leases.get(notebook.name)
        if lease is None:
            lease = self._leases[notebook.name] = RoomLease(self._manager, notebook)
            self._tasks.start(lease.stay(), name=f"client of {notebook.name}")
            self._tasks.start(lease.save_now_and_then(self._saver), name=f"saving {notebook.name}")
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
        for lease in self._leases.values():
            lease.leave()
        self._leases.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)
            await self._tasks.close()
        if self._saver is not None:
            await self._saver.close(CLOSE_TIMEOUT_S)
