"""Patch of fps-yjs 0.6.4: documents stay open and are saved although no browser shows them.

The plugin closes a document a minute after its last client has left, and saves it after a second without a change. It
has no call to keep a document open, so a client of our own joins the room, in the same process. Another client that
breaks off must not close the rooms of all documents: `RoomManager.serve` is replaced for that, and to answer pages
that ask for a save.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, Self

from ...tasks import TaskSet
from ..notebook import SharedNotebook
from ..shared_documents import DocumentLease, SilentPeer
from .odd_notebooks import read_odd_notebooks
from .saving import Saver

logger = logging.getLogger(__name__)


RAW = 2
"""The first byte of messages that concern no document: a page asks for a save, and is told how it went."""
SAVE = b"\x04save"
EXPIRED = 1003
EXPIRED_REASON = json.dumps({"reason": "unknown_session", "sessionId": "", "reloadable": True, "errorReason": ""})
"""How a page is told that it is of an earlier run of the server, whose ids of files nobody knows: it asks its user to
reload it. With an exception, as from the plugin, it would try again and again."""


def patch(manager: Any) -> Saver:
    """Have a room manager outlive its clients, read odd notebooks, and save as pages expect it. Idempotent."""
    is_new = not hasattr(manager, "fps_kernels_saver")
    saver = Saver.of(manager)
    if is_new:
        read_odd_notebooks(manager)
        outlive_clients(manager, saver)
    return saver


def outlive_clients(manager: Any, saver: Saver) -> None:
    """Keep a client that breaks off from closing all documents.

    The plugin sends changes to clients in one task group for all its rooms. An error of a lost connection ends that
    group, and all rooms for good: it is enough to close a browser while a cell prints.
    """
    serve = manager.serve

    async def serve_client(websocket: Any, permissions: Any) -> None:
        name = websocket.path
        is_new_file = name.count(":") >= 2 and name not in manager.documents
        if is_new_file and await manager.contents.file_id_manager.get_path(name.split(":", 2)[2]) is None:
            logger.info("a page wants a document whose file is not known: %s", name)
            await websocket._websocket.close(EXPIRED, EXPIRED_REASON)
            return
        may_write = permissions is None or "write" in permissions.get("yjs", [])
        await serve(_RoomClient(websocket, manager, saver, may_write), permissions)

    manager.serve = serve_client


class _RoomClient:
    """The WebSocket of a client, to which sending never fails: the plugin learns from reading that it has left.

    What the client asks for besides the document is answered here: Ctrl+S in a page waits for it.
    """

    def __init__(self, websocket: Any, manager: Any, saver: Saver, may_write: bool) -> None:
        self.path = websocket.path
        self._websocket = websocket
        self._manager = manager
        self._saver = saver
        self._may_write = may_write
        self._answers = TaskSet()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            message: bytes = await self._websocket.__anext__()
            if not message:
                continue  # on which the plugin fails
            if message[0] != RAW:
                return message
            if message[1 : 1 + len(SAVE)] == SAVE:
                self._answers.start(self._save(message[1 + len(SAVE) :]), name=f"save of {self.path}")

    async def recv(self) -> bytes:
        message: bytes = await self._websocket.recv()
        return message

    async def send(self, message: bytes) -> None:
        try:
            await self._websocket.send(message)
        except Exception as exc:  # each server has its own error for a lost connection
            logger.debug("a client of %s has left: %r", self.path, exc)

    async def _save(self, number: bytes) -> None:
        document = self._manager.documents.get(self.path)
        saved = self._may_write and document is not None and await self._saver.save(self.path, document)
        answer = {"type": "save", "responseTo": _read_number(number), "status": "success" if saved else "failed"}
        text = json.dumps(answer).encode()
        await self.send(bytes([RAW]) + _number(len(text)) + text)


def _read_number(data: bytes) -> int:
    """A number as lib0 writes it: seven bits in each byte, the last ones first."""
    value = 0
    for place, byte in enumerate(data[:8]):
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            break
    return value


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(128 | value & 127)
        value >>= 7
    return bytes([*found, value])


class RoomLease(DocumentLease):
    """Keeps one document of the plugin's room manager open and saved."""

    def __init__(self, manager: Any, saver: Saver, notebook: SharedNotebook) -> None:
        super().__init__(notebook)
        self._manager = manager
        self._saver = saver

    async def stay(self, peer: SilentPeer) -> None:
        manager, name = self._manager, self.notebook.name
        room = manager.websocket_server.rooms.get(name)
        if room is None:
            return  # it has just been closed
        cleaner = manager.cleaners.pop(room, None)
        if cleaner is not None:
            cleaner.cancel()
        await manager.websocket_server.serve(peer)
        if not room.clients and manager.websocket_server.rooms.get(name) is room:
            # As when a browser leaves: the plugin owns this task, and cancels it when another client comes.
            manager.cleaners[room] = asyncio.create_task(manager.maybe_clean_room(room, name))

    async def save(self) -> bool:
        return await self._saver.save(self.notebook.name, self.notebook.document)
