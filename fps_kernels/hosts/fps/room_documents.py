"""The shared documents of fps-yjs 0.14, whose rooms are those of fps-yrooms.

A room is there from its first client on until some time after its last one has left. It saves its document after a
second without a change, never while a cell prints, and reads the file again when another program has written it. It
takes a save of its own for that of another program, though, if the file watcher is faster than its look at the date,
and would put the document back to what was saved. What goes wrong in one room, such as a file that cannot be written,
ends all rooms for good. Both are guarded here, for the documents that are asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any

from ...execution.document_hooks import SavesByTask, show_reloads
from ...execution.notebook import SharedNotebook
from ...execution.shared_documents import DocumentLease, SharedDocuments, SilentPeer
from ...tasks import TaskSet

logger = logging.getLogger(__name__)


class RoomDocuments(SharedDocuments):
    """All shared notebooks of one Yjs plugin.

    yjs: the `jupyverse_yjs.Yjs` that fps-yjs publishes, see `has_rooms`.
    """

    def __init__(self, yjs: Any) -> None:
        super().__init__()
        self._yjs = yjs
        self.tells_saves = True

    @staticmethod
    def has_rooms(yjs: Any) -> bool:
        """Whether documents can be found in a plugin."""
        return hasattr(getattr(yjs, "yrooms", None), "_rooms") and hasattr(yjs, "file_id")

    def document(self, name: str) -> Any | None:
        room = self._room(name)
        return None if room is None else room.jupyter_ydoc

    def open_documents(self) -> dict[str, Any]:
        return {
            name: room.jupyter_ydoc for name in [*self._yjs.yrooms._rooms] if (room := self._room(name)) is not None
        }

    def _room(self, name: str) -> Any | None:
        """The open room of a notebook, which is guarded from now on."""
        room = self._yjs.yrooms._rooms.get(name)
        if room is None or room._close_event.is_set() or not hasattr(getattr(room, "_jupyter_ydoc", None), "ycells"):
            return None
        if not isinstance(room._contents, _GuardedContents):
            guard(room, partial(self.saving, name))
            show_reloads(room.jupyter_ydoc)
        return room

    def lease(self, notebook: SharedNotebook) -> RoomLease | None:
        room = self._room(notebook.name)
        return None if room is None else RoomLease(self._yjs.yrooms, room, notebook)

    @contextlib.asynccontextmanager
    async def reopened(self, path: str) -> AsyncIterator[SharedNotebook | None]:
        ids = self._yjs.file_id
        file_id = await ids.get_id(path) or await ids.index(path)
        if file_id is None:
            yield None
            return
        name = f"json:notebook:{file_id}"
        await self._yjs.yrooms.get_room(name)
        document = self.document(name)
        if document is None:
            yield None
            return
        notebook = self._notebook(name, document)
        self.hold(notebook)
        try:
            yield notebook
        finally:
            self.release(notebook)  # it is closed as usual, unless it is held for cells


class RoomLease(DocumentLease):
    """Keeps the document of one room open and saved.

    rooms: the YRooms. room: one of them, guarded.
    """

    def __init__(self, rooms: Any, room: Any, notebook: SharedNotebook) -> None:
        super().__init__(notebook)
        self._rooms = rooms
        self._room = room
        self._saves = TaskSet()

    async def stay(self, peer: SilentPeer) -> None:
        if self._rooms._rooms.get(self.notebook.name) is not self._room:
            return  # it has just been closed
        try:
            await self._room.serve(peer)
        except Exception as exc:  # it ends with the server, before its clients
            logger.debug("%s was closed: %r", self.notebook.name, exc)

    async def save(self) -> bool:
        saving = self._saves.start(self._room._contents.save(), name=f"save of {self.notebook.name}", log_failure=False)
        try:
            await asyncio.shield(saving)  # half a file is worse than none
        except Exception:  # of the contents plugin
            logger.warning("%s cannot be saved now", self.notebook.document.path, exc_info=True)
            return False
        return True


def guard(room: Any, saving: Callable[[], Callable[[], None]]) -> None:
    """Have a room take its own saves for its own, and go on when something fails.

    saving: called when the document is about to be saved as it is; what it returns is called when it was.
    """
    document, find_path = room.jupyter_ydoc, room._get_file_path
    saves = SavesByTask()
    aget = document.aget

    async def get(**how: Any) -> Any:
        saved = saving()  # what changes from now on need not be in the content
        content = await aget(**how)
        saves.note_content(saved)
        return content

    async def last_path(id_of_file: str) -> str:
        """Where the file is, or was when it is deleted, or when the server ends."""
        with contextlib.suppress(Exception):
            path: str | None = await find_path(id_of_file)
            if path is not None:
                return path
        known: str = document.path
        return known

    document.aget = get
    room._get_file_path = last_path
    room._contents = _GuardedContents(room, saves)
    room._write_to_file_later = partial(_try, room._write_to_file_later, room, "saved")
    room._read_file = partial(_try, room._read_file, room, "read")


async def _try(call: Callable[..., Awaitable[None]], room: Any, what: str, *arguments: Any) -> None:
    try:
        await call(*arguments)
    except Exception:  # the rooms' task group would end, with all rooms
        logger.warning("%s cannot be %s now", room.jupyter_ydoc.path, what, exc_info=True)


class _GuardedContents:
    """The contents plugin, as one room has it."""

    def __init__(self, room: Any, saves: SavesByTask) -> None:
        self._room = room
        self._contents = room._contents
        self._saves = saves

    def __getattr__(self, name: str) -> Any:
        return getattr(self._contents, name)

    async def write_content(self, content: Any) -> None:
        """Write the document. The caller notes the date of the file then."""
        room, saved = self._room, self._saves.take_saved()
        before, room._last_modified = room._last_modified, datetime.max  # no file is younger
        try:
            await self._contents.write_content(content)
        except BaseException:
            room._last_modified = before
            raise
        saved()

    async def save(self) -> None:
        """Save the document."""
        room = self._room
        path = await room._get_file_path(room._id_of_file)
        content = {
            "content": await room.jupyter_ydoc.aget(),
            "format": room._file_format,
            "path": path,
            "type": room._file_type,
        }
        await self.write_content(content)
        model = await self.read_content(path, False)
        room._last_modified = datetime.fromisoformat(model.last_modified.rstrip("Z"))
        room.jupyter_ydoc.dirty = False
