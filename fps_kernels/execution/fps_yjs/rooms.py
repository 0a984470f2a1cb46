"""How documents stay open and are saved while nobody looks at them: what fps-yjs 0.6.4 has no call for.

It closes a document a minute after its last client left, and saves after a second in which nothing
changed. Here a client of our own, in the same process, keeps a room open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Self

from ..notebook import SharedNotebook
from .saving import Saver

logger = logging.getLogger(__name__)

SAVE_INTERVAL_S = 10.0
"""The plugin saves after a second in which nothing changed: never, as long as a cell prints."""


def outlive_clients(manager: Any) -> None:
    """Keep a client that breaks off from closing all documents.

    The plugin sends changes to clients in the task group that all its rooms share, and what a connection
    that is gone raises there ends them all, for good: a browser that is closed while a cell prints is enough.
    """
    serve = getattr(manager, "serve", None)
    if serve is not None:
        manager.serve = lambda websocket, permissions: serve(_TolerantWebSocket(websocket), permissions)


class _TolerantWebSocket:
    """The WebSocket of a client, to which sending never fails: reading tells that it has left."""

    def __init__(self, websocket: Any) -> None:
        self.path = websocket.path
        self._websocket = websocket

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        message: bytes = await self._websocket.__anext__()
        return message

    async def recv(self) -> bytes:
        message: bytes = await self._websocket.recv()
        return message

    async def send(self, message: bytes) -> None:
        try:
            await self._websocket.send(message)
        except Exception as exc:  # each server has its own for a connection that is gone
            logger.debug("a client of %s has left: %r", self.path, exc)


class _SilentPeer:
    """What a room takes for the WebSocket of a client: it says nothing, and does not listen."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.left = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        await self.left.wait()
        raise StopAsyncIteration

    async def recv(self) -> bytes:
        return await self.__anext__()

    async def send(self, message: bytes) -> None:
        pass


class RoomLease:
    """Keeps one document open and saved."""

    def __init__(self, manager: Any, notebook: SharedNotebook) -> None:
        self.holders = 0
        self._manager = manager
        self._notebook = notebook
        self._peer = _SilentPeer(notebook.name)

    def start(self, saver: Saver) -> list[asyncio.Task[None]]:
        """The tasks that end after `leave`."""
        name = self._notebook.name
        return [
            asyncio.create_task(self._stay(), name=f"client of {name}"),
            asyncio.create_task(self._save_now_and_then(saver), name=f"saving {name}"),
        ]

    def leave(self) -> None:
        self._peer.left.set()

    async def _stay(self) -> None:
        manager, name = self._manager, self._notebook.name
        room = manager.websocket_server.rooms.get(name)
        if room is None:
            return  # closed a moment ago
        cleaner = manager.cleaners.pop(room, None)
        if cleaner is not None:
            cleaner.cancel()
        await manager.websocket_server.serve(self._peer)
        if not room.clients and manager.websocket_server.rooms.get(name) is room:
            manager.cleaners[room] = asyncio.create_task(manager.maybe_clean_room(room, name))

    async def _save_now_and_then(self, saver: Saver) -> None:
        notebook = self._notebook
        while not self._peer.left.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAVE_INTERVAL_S):
                    await self._peer.left.wait()
            if notebook.changed:
                notebook.changed = False
                if not await saver.save(notebook.name, notebook.document):
                    notebook.changed = True
