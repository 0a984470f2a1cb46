"""How shared documents become files: what fps-yjs 0.6.4 does, without its loss.

It cancels a save when the document changes in the middle of it. What is left is half a file; or a whole one
whose date it has not noted, which it takes for somebody else's change: it puts the document back to what
was saved, and the outputs that came since are gone.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Any

logger = logging.getLogger(__name__)


class Saver:
    """Saves the documents of the plugin's room manager, in the plugin's place. A save that has begun is finished.

    manager: the `room_manager` of the `jupyverse_api.yjs.Yjs` resource of fps-yjs.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._tasks: set[asyncio.Task[bool]] = set()
        manager.maybe_save_document = self._save_after_pause

    async def _save_after_pause(self, file_id: str, kind: str, file_format: str, document: Any) -> None:
        """What the plugin starts at each change, and cancels at the next."""
        await asyncio.sleep(self._manager.yjs_config.document_save_delay)
        await self.save(f"{file_format}:{kind}:{file_id}", document)

    async def save(self, name: str, document: Any) -> bool:
        """Save a document, also when this is cancelled meanwhile; False when it failed, which is logged.

        name: of its room, "format:type:file id".
        """
        task = asyncio.create_task(self._save(name, document), name=f"saving {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _save(self, name: str, document: Any) -> bool:
        file_format, kind, file_id = name.split(":", 2)
        manager = self._manager
        try:
            async with manager.lock:
                path = await manager.get_file_path(file_id, document)
                if path is None:
                    return True  # deleted
                if await self._is_newer(file_id, path):
                    model = await manager.contents.read_content(path, True, file_format)
                    document.source = model.content
                    manager.last_modified[file_id] = _date(model)
                    return True
                content = {"content": document.source, "format": file_format, "path": path, "type": kind}
                await manager.contents.write_content(content)
                manager.last_modified[file_id] = _date(await manager.contents.read_content(path, False))
            document.dirty = False
        except Exception:  # a full disk, or a file that somebody else is just writing; the next time may be better
            logger.exception("saving %s failed", name)
            return False
        return True

    async def _is_newer(self, file_id: str, path: str) -> bool:
        """Whether somebody else has changed the file."""
        model = await self._manager.contents.read_content(path, False)
        return bool(self._manager.last_modified[file_id] < _date(model))

    async def close(self, timeout_s: float) -> None:
        """Wait until what has begun is saved."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)


def _date(model: Any) -> datetime:
    return datetime.fromisoformat(model.last_modified.rstrip("Z"))
