"""The shared documents of the Yjs plugin.

Keeping documents open and saving them works with fps-yjs 0.6.4, which is patched for that: see the modules beside this
one. With another Yjs plugin, documents are only found by their names.
"""

from __future__ import annotations

from typing import Any

from ..notebook import SharedNotebook
from ..shared_documents import CLOSE_TIMEOUT_S, SharedDocuments
from .cell_states import never_save_states
from .rooms import RoomLease, patch
from .saving import Saver


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
