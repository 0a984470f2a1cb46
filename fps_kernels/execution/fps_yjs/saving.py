"""Patch of fps-yjs 0.6.4: a save that has begun is finished.

The plugin cancels a save when the document changes in the middle of it. That leaves half a file, or a whole one whose
date the plugin has not noted. It then takes the file for the change of another program and resets the document to it:
the outputs since then are lost. `RoomManager.maybe_save_document` is replaced, and saves as the plugin does otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Any

from ...tasks import TaskSet

logger = logging.getLogger(__name__)


class Saver:
    """Saves the documents of the plugin's room manager, in place of the plugin.

    manager: the `room_manager` of the `jupyverse_api.yjs.Yjs` resource of fps-yjs.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._saves = TaskSet()
        manager.maybe_save_document = self._save_after_pause

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
        try:
            async with manager.lock:
                path = await manager.get_file_path(file_id, document)
                if path is None:
                    return True  # it has been deleted
                if manager.last_modified[file_id] < _date(await manager.contents.read_content(path, False)):
                    # Another program has changed the file.
                    model = await manager.contents.read_content(path, True, file_format)
                    document.source = model.content
                    manager.last_modified[file_id] = _date(model)
                    return True
                content = {"content": document.source, "format": file_format, "path": path, "type": kind}
                await manager.contents.write_content(content)
                manager.last_modified[file_id] = _date(await manager.contents.read_content(path, False))
            document.dirty = False
        except Exception:  # a full disk, or a file that another program is writing: the next attempt may succeed
            logger.exception("saving %s failed", name)
            return False
        return True

    async def close(self, timeout_s: float) -> None:
        """Wait until the saves that have begun are finished, or the time is over."""
        if self._saves:
            await asyncio.wait(self._saves, timeout=timeout_s)


def _date(model: Any) -> datetime:
    return datetime.fromisoformat(model.last_modified.rstrip("Z"))
