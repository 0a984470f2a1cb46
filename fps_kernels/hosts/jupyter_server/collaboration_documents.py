"""The shared documents of jupyter-collaboration, whose server part is jupyter-server-ydoc 2 or 3.

Its extension has the rooms, by name. A room is closed some time after its last client has left, by a task that the
handler of this client has started: whoever stays longer has to start another one. It saves its document after a second
without a change, never while a cell prints. It tells nobody of that: what it takes the content from, and what writes
the file, are wrapped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from ...execution.document_hooks import SavesByTask, show_reloads
from ...execution.notebook import SharedNotebook
from ...execution.shared_documents import DocumentLease, SharedDocuments, SilentPeer
from ...tasks import cancel_and_wait

logger = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 60.0
"""Wait for a document that is being read from its file."""
ROOM_SAVE_S = 5.0
"""How long a room's own save is waited for."""


class CollaborationDocuments(SharedDocuments):
    """All shared notebooks of a Jupyter Server.

    settings: those of its web application, where the extension puts itself when it is loaded.

    saves: what is to be called when its rooms have saved.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self._settings = settings
        self.saves = SavesByTask()
        self.tells_saves = True

    @property
    def extension(self) -> Any | None:
        """The extension, a YDocExtension; None if it could not be loaded."""
        return self._settings.get("jupyter_server_ydoc")

    def _rooms(self) -> dict[str, Any]:
        return getattr(getattr(self.extension, "ywebsocket_server", None), "rooms", {})

    def document(self, name: str) -> Any | None:
        room = self._rooms().get(name)
        document = getattr(room, "_document", None)
        if room is None or not room.ready or not hasattr(document, "ycells"):
            return None
        show_reloads(document)
        self._hear_of_saves(name, room)
        return document

    def open_documents(self) -> dict[str, Any]:
        found = {name: self.document(name) for name in self._rooms()}
        return {name: document for name, document in found.items() if document is not None}

    async def until_read(self, name: str | None) -> None:
        """Wait until a document is read from its file, if it is being opened."""
        room = self._rooms().get(name) if name else None
        extension = self.extension
        if room is None or extension is None:
            return
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                if not room.ready:
                    await extension.get_document(room_id=name, copy=False)
                if getattr(room, "_document_load_progressively", False):
                    await asyncio.shield(room._document_progressively_loaded)
        except Exception as exc:  # who opens it is told why; here it is not found, then
            logger.debug("%s cannot be read: %r", name, exc)

    @contextlib.asynccontextmanager
    async def reopened(self, path: str) -> AsyncIterator[SharedNotebook | None]:
        found, extension = None, self.extension
        if extension is not None:
            kind = {"content_type": "notebook", "file_format": "json"}
            try:
                found = await extension.get_document(path=path, **kind, copy=False, create=True)
            except Exception as exc:  # the extension's log has it, too
                logger.debug("%s cannot be opened: %r", path, exc)
        name = next((name for name, one in self.open_documents().items() if one is found), None)
        if name is None:
            yield None
            return
        await self.until_read(name)
        notebook = self._notebook(name, found)
        self.hold(notebook)
        try:
            yield notebook
        finally:
            self.release(notebook)  # it is closed as usual, unless it is held for cells

    def _hear_of_saves(self, name: str, room: Any) -> None:
        """Be told of all saves of a room's document. Idempotent."""
        document, file = room._document, room._file
        if getattr(document.aget, "func", None) is not _get:
            document.aget = partial(_get, document.aget, self, name)
        if getattr(file.maybe_save_content, "func", None) is not _save:  # rooms of one file share it
            file.maybe_save_content = partial(_save, file.maybe_save_content, self)

    def lease(self, notebook: SharedNotebook) -> CollaborationLease | None:
        room = self._rooms().get(notebook.name)
        return None if room is None else CollaborationLease(self.extension, room, notebook)


async def _get(aget: Callable[..., Awaitable[Any]], documents: CollaborationDocuments, name: str, **how: Any) -> Any:
    saved = documents.saving(name)  # what changes from now on need not be in the content
    content = await aget(**how)
    documents.saves.note_content(saved)
    return content


async def _save(save: Callable[[Any], Awaitable[Any]], documents: CollaborationDocuments, model: Any) -> Any:
    saved = documents.saves.take_saved()
    saved_model = await save(model)
    if saved_model is not None:  # else the file may not be written, or it is not known whether it was
        saved()
    return saved_model


class CollaborationLease(DocumentLease):
    """Keeps the document of one room open and saved.

    extension: the YDocExtension. room: its DocumentRoom.
    """

    def __init__(self, extension: Any, room: Any, notebook: SharedNotebook) -> None:
        super().__init__(notebook)
        self._extension = extension
        self._room = room
        # At once, as the room may be due. It is in its place, so that its end has not begun.
        if room.cleaner is not None:
            room.cleaner.cancel()

    @property
    def _is_open(self) -> bool:
        return self._extension.ywebsocket_server.rooms.get(self.notebook.name) is self._room

    async def stay(self, peer: SilentPeer) -> None:
        if not self._is_open:
            return
        await self._extension.ywebsocket_server.serve(peer)
        if self._is_open and not self._room.clients:
            # Whoever opens the document again cancels it.
            self._room.cleaner = asyncio.create_task(self._close_room(), name=f"closing {self.notebook.name}")

    async def _close_room(self) -> None:
        """Close the room when its time is over, as the handler of a client does."""
        extension, room = self._extension, self._room
        if extension.document_cleanup_delay is None:
            return
        await asyncio.sleep(extension.document_cleanup_delay)
        name = self.notebook.name
        async with extension._room_locks[name]:
            if not self._is_open or room.clients:
                return
            await extension.ywebsocket_server.delete_room(room=room)
            file_id = name.split(":", 2)[2]
            if not extension.file_loaders[file_id].number_of_subscriptions:
                await extension.file_loaders.remove(file_id)
            extension._room_locks.pop(name, None)

    async def saved_by_the_room(self) -> bool:
        """Wait for the save that follows a second without a change, if others have the document open.

        As a cell ends, many press Ctrl+S. JupyterLab compares the file then with what the room told it of the last
        save, and asks whether to overwrite it if another one is under way.
        """
        saving: asyncio.Task[None] | None = getattr(self._room, "_saving_document", None)
        if saving is None or saving.done() or len(self._room.clients) < 2:  # this lease is one of them
            return False
        hurry = asyncio.create_task(self._hurried.wait(), name=f"hurry {self.notebook.name}")
        try:
            await asyncio.wait([saving, hurry], timeout=ROOM_SAVE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(hurry)
        return saving.done()  # or given up for that which follows a later change

    async def save(self) -> bool:
        """Save the document, unless its user has switched that off.

        The room's own save is cancelled by each change. This one is not: nobody else has its task.
        """
        if self._saves:
            await self._room._maybe_save_document(None, save_now=True)
        return True  # what fails is logged by the room, and tried again after the next change

    @property
    def _saves(self) -> bool:
        """Whether the room would save by itself: not without a delay, nor when all of its clients say so."""
        states = [state for state in self._room.awareness.states.values() if state]
        return self._extension.document_save_delay is not None and (
            not states or any(state.get("autosave", True) for state in states)
        )
