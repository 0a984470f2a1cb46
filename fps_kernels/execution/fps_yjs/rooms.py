"""Patch of fps-yjs 0.6.4: documents stay open and are saved although no browser shows them.

The plugin closes a document a minute after its last client has left, and saves it after a second without a change. It
has no call to keep a document open, so a client of our own joins the room, in the same process. Another client that
breaks off must not close the rooms of all documents: `RoomManager.serve` is replaced for that.
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
"""Time between two saves while a cell runs. The plugin's own save never comes as long as a cell prints."""


def outlive_clients(manager: Any) -> None:
    """Keep a client that breaks off from closing all documents.

    The plugin sends changes to clients in one task group for all its rooms. An error of a lost connection ends that
    group, and all rooms for good: it is enough to close a browser while a cell prints.
    """
    serve = getattr(manager, "serve", None)
    if serve is not None:
        manager.serve = lambda websocket, permissions: serve(_TolerantWebSocket(websocket), permissions)


class _TolerantWebSocket:
    """The WebSocket of a client, to which sending never fails: the plugin learns from reading that it has left."""

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
        except Exception as exc:  # each server has its own error for a lost connection
            logger.debug("a client of %s has left: %r", self.path, exc)


class _SilentPeer:
    """A client that a room takes for a WebSocket: it sends nothing, and ignores what it is sent."""

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
    """Keeps one document open and saved, until `leave`.

    holders: how many executions want it; counted by the owner.
    """

    def __init__(self, manager: Any, notebook: SharedNotebook) -> None:
        self.holders = 0
        self._manager = manager
        self._notebook = notebook
        self._peer = _SilentPeer(notebook.name)

    def leave(self) -> None:
        """End `stay` and `save_now_and_then`."""
        self._peer.left.set()

    async def stay(self) -> None:
        """Be a client of the document's room."""
        manager, name = self._manager, self._notebook.name
        room = manager.websocket_server.rooms.get(name)
        if room is None:
            return  # it has just been closed
        cleaner = manager.cleaners.pop(room, None)
        if cleaner is not None:
            cleaner.cancel()
        await manager.websocket_server.serve(self._peer)
        if not room.clients and manager.websocket_server.rooms.get(name) is room:
            # As when a browser leaves: the plugin owns this task, and cancels it when another client comes.
            manager.cleaners[room] = asyncio.create_task(manager.maybe_clean_room(room, name))

    async def save_now_and_then(self, saver: Saver) -> None:
        """Save the document when it has changed, at intervals and at the end."""
        notebook = self._notebook
        while not self._peer.left.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAVE_INTERVAL_S):
                    await self._peer.left.wait()
            if notebook.changed:
                notebook.changed = False
                if not await saver.save(notebook.name, notebook.document):
                    notebook.changed = True
