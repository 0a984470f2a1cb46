"""The shared documents of the Yjs plugin: found, and kept open and saved while cells run in them.

Keeping them open and saving them works with fps-yjs 0.6.4; with another Yjs plugin they are found by
their names, and that is all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

from ...errors import DocumentNotFound
from ..notebook import SharedNotebook
from .rooms import RoomLease, outlive_clients
from .saving import Saver

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0


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
            self._saver = Saver(self._manager)
        self._notebooks: dict[str, SharedNotebook] = {}
        self._leases: dict[str, RoomLease] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, name: str | None, cell_id: str | None, path: str | None) -> SharedNotebook:
        """The notebook of that name; or, as a front end may have lost or kept a stale name, the one that has the cell.

        path: of the notebook that the kernel is for: decides when copies of a notebook have the same cells.
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
            known = self._notebooks[name] = SharedNotebook(name, document)
            self._forget_closed()
        return known

    def _forget_closed(self) -> None:
        for name in [name for name in self._notebooks if self._get(name) is None and name not in self._leases]:
            del self._notebooks[name]

    # --- keeping them open -----------------------------------------------------------------------

    def hold(self, notebook: SharedNotebook) -> None:
        """Keep it open, and save it now and then, until `release` was called as often."""
        if self._saver is None:
            return
        lease = self._leases.get(notebook.name)
        if lease is None:
            lease = self._leases[notebook.name] = RoomLease(self._manager, notebook)
            for task in lease.start(self._saver):
                self._tasks.add(task)
                task.add_done_callback(self._ended)
        lease.holders += 1

    def release(self, notebook: SharedNotebook) -> None:
        """It is saved, and closed as usual."""
        lease = self._leases.get(notebook.name)
        if lease is not None:
            lease.holders -= 1
            if not lease.holders:
                del self._leases[notebook.name]
                lease.leave()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=exc)

    async def close(self) -> None:
        """Let go of all; returns when they are saved, or after a few seconds."""
        for lease in self._leases.values():
            lease.leave()
        self._leases.clear()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._saver is not None:
            await self._saver.close(CLOSE_TIMEOUT_S)
