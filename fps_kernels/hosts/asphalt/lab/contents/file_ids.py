"""Ids of files, by which shared documents are known, and news of files that change.

Only files that somebody has opened have an id, and only those that are open as shared documents are looked at: the
size of a folder does not matter, nor what else is in it. Ids are for one run of the server. They are not kept, as no
client does: JupyterLab asks for the id of a path each time it opens one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Self
from uuid import uuid4

from jupyverse_api.contents import FileIdManager

from .....threads import DaemonThreads
from .moved_files import Seen, find_again, look_at

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 0.5
"""Time between two looks at the files that are watched. A look at a hundred takes less than a millisecond."""
LOOK_TIMEOUT_S = 60.0


class FileWatcher:
    """Yields a path when its file has changed, or has another path now. Made by FileIds.watch.

    path: where the file is now.
    """

    def __init__(self, ids: FileIds, path: str) -> None:
        self.path = path
        self._ids = ids
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        try:
            await self._changed.wait()
        except asyncio.CancelledError:  # the one who watches has gone, and says nothing of it
            self._ids.unwatch(self.path, self)
            raise
        self._changed.clear()
        return self.path


class FileIds(FileIdManager):
    """The ids of the files below a folder. Paths are those of the contents API.

    root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths: dict[str, str] = {}  # by id
        self._ids: dict[str, str] = {}  # by path
        self._watchers: set[FileWatcher] = set()
        self._seen: dict[str, Seen | None] = {}  # by path, of those that are watched
        self._known: dict[str, Seen] = {}  # the same, with what this server has written since then
        self._missed: set[str] = set()  # those of them that were not there at the last look
        self._gone: set[str] = set()  # those of them that have been looked for in vain
        self._looked = asyncio.Event()
        self._watched = asyncio.Event()
        self._looking = DaemonThreads("watched files", 1)
        self._asking = DaemonThreads("ids of files")
        self.stop_watching_files = asyncio.Event()
        self.stopped_watching_files = asyncio.Event()

    async def get_id(self, file_path: str) -> str | None:  # type: ignore[override]  # None, as the plugin's
        """The id of a file that has one and is there."""
        found = self._ids.get(file_path.strip("/"))
        return found if found is not None and await self.get_path(found) is not None else None

    async def get_path(self, file_id: str) -> str | None:  # type: ignore[override]  # None, as the plugin's
        """Where the file of an id is; None while there is none. A file that comes back has its id again."""
        path = self._paths.get(file_id)
        while path is not None and (await self._look([path], self._asking))[path] is None:
            if not self._may_come_again(path):
                return None
            await self._looked.wait()
            path = self._paths.get(file_id)
        return path

    def _may_come_again(self, path: str) -> bool:
        """Whether a file that is watched is not there just now, and has not been looked for yet."""
        is_watched = any(watcher.path == path for watcher in self._watchers)
        return is_watched and path in self._known and path not in self._gone

    async def written(self, path: str) -> None:
        """Know a file again that this server has just written."""
        path = path.strip("/")
        if path in self._known and (status := (await self._look([path], self._asking))[path]) is not None:
            self._known[path] = status

    async def index(self, path: str) -> str | None:
        """Give a file an id. None if there is no such file below the folder."""
        path = path.strip("/")
        if not path or ".." in path.split("/") or (await self._look([path], self._asking))[path] is None:
            return None
        if path not in self._ids:
            self._ids[path] = found = uuid4().hex
            self._paths[found] = path
        return self._ids[path]

    def moved(self, old: str, new: str) -> None:
        """Have ids and watchers follow a file, or all in a folder, to its new path."""
        old, new = old.strip("/"), new.strip("/")
        for path, found in list(self._ids.items()):
            if path == old or path.startswith(f"{old}/"):
                target = new + path[len(old) :]
                del self._ids[path]
                if self._ids.get(target) is not None:
                    del self._paths[self._ids[target]]  # of a file that was there once
                self._ids[target], self._paths[found] = found, target
        for watcher in self._watchers:
            if watcher.path == old or watcher.path.startswith(f"{old}/"):
                watcher.path = new + watcher.path[len(old) :]
                watcher.notify()

    def watch(self, path: str) -> FileWatcher:
        """Yields whenever the file changes, wherever it is moved to through this server."""
        watcher = FileWatcher(self, path.strip("/"))
        self._watchers.add(watcher)
        self._watched.set()
        return watcher

    def unwatch(self, path: str, watcher: FileWatcher) -> None:
        """End a watcher; but not for the path that its file had before: it has moved with it."""
        if watcher.path == path.strip("/"):
            self._watchers.discard(watcher)

    async def run(self) -> None:
        """Look at the files that are watched, until `stop_watching_files`."""
        stopping = asyncio.create_task(self.stop_watching_files.wait(), name="end of watched files")
        try:
            while not stopping.done():
                if not self._watchers:
                    self._watched.clear()
                    self._seen.clear()
                    self._known.clear()
                    self._has_looked()
                    waiting = asyncio.create_task(self._watched.wait(), name="watched files")
                    await asyncio.wait([stopping, waiting], return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
                    continue
                await self._compare()
                self._has_looked()
                await asyncio.wait([stopping], timeout=LOOK_INTERVAL_S)
        finally:
            self._known.clear()
            self._has_looked()
            stopping.cancel()
            self.stopped_watching_files.set()

    def _has_looked(self) -> None:
        """Wake those who wait now."""
        self._looked.set()
        self._looked.clear()

    async def _compare(self) -> None:
        """Notify the watchers of what has changed since the last look."""
        try:
            seen = await self._look({watcher.path for watcher in self._watchers}, self._looking)
        except TimeoutError:
            logger.warning("A disk does not say whether files that are open have changed")
            return
        missed = {path for path, status in seen.items() if status is None}
        self._gone &= missed
        for path in missed & self._missed - self._gone:  # editors may take a file away for a moment while they save
            await self._follow(path)
        self._missed = missed
        for watcher in list(self._watchers):
            now = seen.get(watcher.path)
            if now is not None and now != self._seen.get(watcher.path):  # or seen for the first time
                watcher.notify()
        # What has gone is compared with what it was, when it is there again.
        self._seen = {path: now or self._seen.get(path) for path, now in seen.items()}
        self._known = {path: known for path, known in self._known.items() if path in seen}
        self._known |= {path: status for path, status in seen.items() if status is not None}

    async def _follow(self, path: str) -> None:
        """Look for a file that has gone from its path, and have its id and watchers follow it."""
        known = self._known.get(path)
        if known is None:
            return
        found = None
        with contextlib.suppress(TimeoutError):
            found = await self._looking.run(find_again, self._root, path, known, timeout_s=LOOK_TIMEOUT_S)
        if found is None:
            self._gone.add(path)
            logger.warning("%s has gone while it is open: what is changed in it is not saved", path)
        else:
            logger.info("%s has become %s", path, found)
            self.moved(path, found)

    async def _look(self, paths: Iterable[str], threads: DaemonThreads) -> dict[str, Seen | None]:
        """Raises TimeoutError."""
        return await threads.run(_look_at, self._root, tuple(paths), timeout_s=LOOK_TIMEOUT_S)


def _look_at(root: Path, paths: tuple[str, ...]) -> dict[str, Seen | None]:
    return {path: look_at(root / path) for path in paths}
