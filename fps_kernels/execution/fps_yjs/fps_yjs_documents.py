"""The shared documents of the Yjs plugin.

Keeping documents open and saving them works with fps-yjs 0.6.4, which is patched for that: see the modules beside this
one. With another Yjs plugin, documents are only found by their names.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from ..notebook import SharedNotebook
from ..shared_documents import CLOSE_TIMEOUT_S, SharedDocuments, SilentPeer
from .cell_states import never_save_states
from .rooms import RoomLease, patch
from .saving import Saver

OPEN_LOOK_S = 0.01
"""Interval between two looks whether the plugin has opened a document."""


class FpsYjsDocuments(SharedDocuments):
    """All shared notebooks of one Yjs plugin.

    yjs: the `jupyverse_api.yjs.Yjs` resource.
    """

    def __init__(self, yjs: Any) -> None:
        super().__init__()
        self._yjs = yjs
        self._manager = getattr(yjs, "room_manager", None)
        self._saver: Saver | None = None
        if self._manager is not None:
            self._saver = patch(self._manager)
            self._saver.on_saving = self.saving
            self.tells_saves = True

    def document(self, name: str) -> Any | None:
        try:
            return _notebook_or_none(self._yjs.get_document(name))
        except KeyError:
            return None

    def open_documents(self) -> dict[str, Any]:
        documents = getattr(self._manager, "documents", None) or {}
        return {name: document for name, document in documents.items() if _notebook_or_none(document) is not None}

    def lease(self, notebook: SharedNotebook) -> RoomLease | None:
        return None if self._saver is None else RoomLease(self._manager, self._saver, notebook)

    @contextlib.asynccontextmanager
    async def reopened(self, path: str) -> AsyncIterator[SharedNotebook | None]:
        manager: Any = self._manager
        if manager is None:
            yield None
            return
        ids = manager.contents.file_id_manager
        file_id = await ids.get_id(path) or await ids.index(path)
        if file_id is None:
            yield None
            return
        name = f"json:notebook:{file_id}"
        peer = SilentPeer(name)
        serving = asyncio.create_task(manager.serve(peer, None), name=f"opening {name}")
        rooms = manager.websocket_server.rooms
        try:
            while True:  # the plugin tells nobody
                if serving.done():
                    serving.result()
                if serving.done() or (name in rooms and rooms[name].ready and name in manager.documents):
                    break
                await asyncio.sleep(OPEN_LOOK_S)
            document = self.document(name)
            yield None if document is None else self._notebook(name, document)
            # Without a client, the plugin would begin to close it: whoever holds it must have come.
            end = asyncio.get_running_loop().time() + CLOSE_TIMEOUT_S
            while name in self._leases and name in rooms and asyncio.get_running_loop().time() < end:
                if len(rooms[name].clients) > 1:
                    break
                await asyncio.sleep(OPEN_LOOK_S)
        finally:
            peer.leave()
            await asyncio.wait([serving], timeout=CLOSE_TIMEOUT_S)

    async def close(self) -> None:
        await super().close()
        if self._saver is not None:
            await self._saver.close(CLOSE_TIMEOUT_S)


def _notebook_or_none(document: Any) -> Any | None:
    """The document if it is a notebook, in which states are never saved from now on."""
    if not hasattr(document, "ycells"):
        return None
    never_save_states(document)
    return document
