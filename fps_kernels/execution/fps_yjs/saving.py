"""Patch of fps-yjs 0.6.4: a save that has begun is finished, and pages learn of it.

The plugin cancels a save when the document changes in the middle of it. That leaves half a file, or a whole one whose
date the plugin has not noted. It then takes the file for the change of another program and resets the document to it:
the outputs since then are lost. `RoomManager.maybe_save_document` is replaced, and saves as the plugin does otherwise.

A page that is to save a document first compares the file with what it knows of it, and asks its user whether to
overwrite the file if that is another. jupyter-collaboration puts the hash of the file into the document for that, under
`state`, at each save; the plugin does not. `RoomManager.maybe_load_file` is replaced to do so for the changes of other
programs, and `RoomManager.on_document_change` not to save again for it: the state is no part of the file.

The plugin takes a file for changed when it is younger than when it was saved. It overlooks an older file that was moved
to its place, and what was written between its save and its look at the date; it then overwrites that with its next
save. Here a file has changed when its content has, where the contents plugin tells the hashes of what it reads and
writes; elsewhere when its date is another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self

from ...tasks import TaskSet

logger = logging.getLogger(__name__)

HASH = "hash"
"""The key of a document's state under which pages look for it."""


class Saver:
    """Saves the documents of the plugin's room manager, in place of the plugin.

    manager: the `room_manager` of the `jupyverse_api.yjs.Yjs` resource of fps-yjs.

    on_saving: called with the name of a document that is about to be saved as it is now; what it returns is called when
      the document was saved.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._saves = TaskSet()
        self._hashes: dict[str, tuple[Any, str]] = {}  # by room: its document, and the file that it is in step with
        self.on_saving: Callable[[str], Callable[[], None]] = lambda name: lambda: None
        self._on_change = manager.on_document_change
        manager.maybe_save_document = self._save_after_pause
        manager.maybe_load_file = self._load
        manager.on_document_change = self._on_document_change

    def _on_document_change(
        self, file_id: str, kind: str, file_format: str, document: Any, target: str, event: Any
    ) -> None:
        if target != "state":
            self._on_change(file_id, kind, file_format, document, target, event)

    async def _load(self, file_format: str, path: str, file_id: str) -> None:
        """What the plugin calls when a file may have changed."""
        try:
            async with self._manager.lock:
                await self._take_changes(path, file_id)
        except Exception:  # it is being written, or has gone: the plugin would never look at it again
            logger.warning("%s has changed, and cannot be read now", path, exc_info=True)

    async def _take_changes(self, path: str, file_id: str) -> Mapping[str, Any]:
        """Put a file into those of its documents that are not in step with it; returns these, by the names of rooms.

        The caller holds the manager's lock.
        """
        model = await self._manager.contents.read_content(path, False)
        documents = self._documents(file_id)
        changed = {name: one for name, one in documents.items() if not self._is_in_step(name, one, file_id, model)}
        if changed:
            model = await self._show(path, changed)
        self._in_step(file_id, model)
        return changed

    def _is_in_step(self, name: str, document: Any, file_id: str, model: Any) -> bool:
        whose, known = self._hashes.get(name, (None, None))
        if whose is document:
            return bool(model.hash == known)
        return bool(_date(model) == self._manager.last_modified[file_id])  # it was opened lately

    async def _show(self, path: str, documents: Mapping[str, Any]) -> Any:
        """Put a file into documents, each in its own form; returns the last model of it."""
        model = None
        for name, document in documents.items():
            model = await self._manager.contents.read_content(path, True, name.partition(":")[0])
            if document.source != model.content:
                document.source = model.content
        return model

    def _in_step(self, file_id: str, model: Any) -> None:
        """The documents of a file hold what is in it."""
        manager = self._manager
        manager.last_modified[file_id] = _date(model)
        if getattr(model, "hash", None):
            self._hashes = {name: known for name, known in self._hashes.items() if name in manager.documents}
            self._hashes |= {name: (document, model.hash) for name, document in self._documents(file_id).items()}
            if hasattr(manager.contents, "in_step"):
                manager.contents.in_step(model.path, model.hash)
        self._tell(file_id, model)

    def _documents(self, file_id: str) -> dict[str, Any]:
        return {name: one for name, one in self._manager.documents.items() if name.endswith(f":{file_id}")}

    def _tell(self, file_id: str, model: Any) -> None:
        """Tell the pages that have a file open which one is there: by its date where there is no hash."""
        known = getattr(model, "hash", None) or model.last_modified
        for document in self._documents(file_id).values():
            if document.ystate.get(HASH) != known:
                document.ystate[HASH] = known

    async def _save_after_pause(self, file_id: str, kind: str, file_format: str, document: Any) -> None:
        """What the plugin starts at each change, and cancels at the next one."""
        await asyncio.sleep(self._manager.yjs_config.document_save_delay)
        await self.save(f"{file_format}:{kind}:{file_id}", document)

    async def save(self, name: str, document: Any) -> bool:
        """Save a document, to the end even if this is cancelled; False when it failed, which is logged.

        name: the name of its room, "format:type:file id".
        """
        return await asyncio.shield(self._saves.start(self._save(name, document), name=f"saving {name}"))

    async def _save(self, name: str, document: Any) -> bool:
        file_format, kind, file_id = name.split(":", 2)
        manager = self._manager
        path = None
        try:
            async with manager.lock:
                path = await manager.get_file_path(file_id, document)
                if path is None:
                    return True  # it has been deleted
                if name in await self._take_changes(path, file_id):
                    return True
                saved = self.on_saving(name)
                content = {"content": document.source, "format": file_format, "path": path, "type": kind}
                # A notebook may be open as a text, too, whose next save would bring back what was there before.
                if hasattr(manager.contents, "write_and_hash"):
                    self._hashes[name] = document, await manager.contents.write_and_hash(content)
                    await self._take_changes(path, file_id)  # of a program that wrote right after us, too
                else:
                    await manager.contents.write_content(content)
                    model = await manager.contents.read_content(path, False)
                    await self._show(path, {one: it for one, it in self._documents(file_id).items() if one != name})
                    self._in_step(file_id, model)
            saved()
            document.dirty = False
        except Exception:  # a full disk, or a file that another program is writing: the next attempt may succeed
            if path is not None and await manager.contents.file_id_manager.get_path(file_id) not in (None, path):
                return await self._save(name, document)  # it was renamed just then
            logger.exception("saving %s failed", name)
            return False
        return True

    @classmethod
    def of(cls, manager: Any) -> Self:
        """The saver of a room manager, which has one only."""
        saver: Self | None = getattr(manager, "fps_kernels_saver", None)
        if saver is None:
            saver = manager.fps_kernels_saver = cls(manager)
        return saver

    async def close(self, timeout_s: float) -> None:
        """Wait until the saves that have begun are finished, or the time is over."""
        if self._saves:
            await asyncio.wait(self._saves, timeout=timeout_s)


def _date(model: Any) -> datetime:
    return datetime.fromisoformat(model.last_modified.rstrip("Z"))
