"""The web side of a kernel that is kept: as that of others, and each step that the next server must know is noted."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from ..errors import FPSKernelsError
from ..kernel_driver.client import KernelClient
from ..kernel_driver.message import Message
from ..kernel_driver.request_log import Request
from ..kernel_server.client_session import ClientSession, SessionKey
from ..kernel_server.connection import Connection, WebSocket
from ..kernel_server.server import KernelServer, ServerLimits
from ..websocket.frame_batch import IncomingMessage
from .client_sockets import ClientSockets
from .cursor_file import CursorFile
from .kept_journal import KeptJournal
from .kept_outbox import KeptOutbox
from .kept_places import NumberedFrames
from .kept_prompts import KeptPrompts
from .kept_socket import KeptSocket

EARLY_S = 5.0
"""Seconds for which clients' messages wait until the record was read, at most."""
EARLY_MESSAGES = 1_000
EARLY_BYTES = 16 * 1024 * 1024
"""How many of them wait, and of which size, without it being taken for read."""


class KeptKernelServer(KernelServer):
    """A KernelServer whose sessions outlive it.

    cursors: this server process's file of cursors.
    sockets: hands the sockets of clients to the keeper.

    kept: what it tells the keeper, and makes of what earlier servers have told. Use as said there.
    """

    def __init__(
        self, client: KernelClient, cursors: CursorFile, sockets: ClientSockets, limits: ServerLimits | None = None
    ) -> None:
        super().__init__(client, limits)
        self._sockets = sockets
        self._prompts = prompts = KeptPrompts()
        self.kept = KeptJournal(client, self.journal, prompts, cursors)
        self.notes = self.kept.notes
        self._make_outbox = self._make_kept_outbox
        self._number: int | None = None  # of the reply, or input request, that is being passed on
        self._makes = False  # whether what is put into inboxes now is to outlive this server
        self._outboxes: dict[WebSocket, KeptOutbox] = {}
        self._early: list[tuple[Connection, ClientSession, IncomingMessage]] = []
        self._early_bytes = 0
        self._early_timer: asyncio.TimerHandle | None = None

    async def serve(self, socket: WebSocket, session_id: str, **options: Any) -> None:
        """Serve an accepted WebSocket until it is closed, by either side."""
        kept = KeptSocket(socket)
        descriptor = kept.fileno()
        number = None if descriptor is None else self._sockets.hand_over(descriptor)
        try:
            await super().serve(kept, session_id, **options)
        finally:
            if number is not None:
                self._sockets.take_back(number)

    def _make_kept_outbox(self, session: ClientSession, *more: Any) -> KeptOutbox:
        outbox = KeptOutbox(session, *more)
        kept, key = self.kept, session.key
        socket = self._attached[key].socket
        place = kept.places.get(session) or kept.on_attached(session)
        assert isinstance(socket, KeptSocket)
        outbox.keep(kept.places, place, socket, lambda place: kept.on_safe(key, place))
        self._outboxes[socket] = outbox
        return outbox

    def _attach(self, connection: Connection) -> ClientSession:
        session = super()._attach(connection)
        self.kept.on_attached(session)
        return session

    def _detach(self, connection: Connection, session: ClientSession) -> None:
        super()._detach(connection, session)
        if (outbox := self._outboxes.pop(connection.socket, None)) is not None:
            outbox.end()
        self.kept.on_detached(session)

    def _on_message(self, connection: Connection, session: ClientSession, data: IncomingMessage) -> None:
        if self._early or self.kept.replaying:
            # The answer to a question of which this server has not heard yet, say.
            if not self._early:
                self._early_timer = asyncio.get_running_loop().call_later(EARLY_S, self._take_early)
                self.kept.on_replayed = self._take_early
            self._early.append((connection, session, data))
            self._early_bytes += len(data)
            if len(self._early) >= EARLY_MESSAGES or self._early_bytes >= EARLY_BYTES:
                self._take_early()
            return
        super()._on_message(connection, session, data)

    def _take_early(self) -> None:
        """Take what clients have sent while the record was read: that is done, or has taken too long."""
        self.kept.on_replayed = None
        if self._early_timer is not None:
            self._early_timer.cancel()
            self._early_timer = None
        self._early_bytes = 0
        early, self._early = self._early, []
        for connection, session, data in early:
            if connection in self._connections:
                super()._on_message(connection, session, data)

    def _on_batch(self, channel: str, messages: list[Message]) -> None:
        kept = self.kept
        if not kept.active:
            super()._on_batch(channel, messages)
            return
        numbers = kept.numbers_of(messages)
        if channel == "iopub":
            kept.places.note(numbers)
            super()._on_batch(channel, messages)
            return
        for number, message in zip(numbers, messages, strict=True):
            if channel == "stdin" and (session := self.journal.recipient(message)) is not None:
                kept.on_asked(session.key, number)  # first: a client that has the question may see this server killed
            self._number = number
            try:
                super()._on_batch(channel, [message])
            finally:
                self._number = None

    def _put(self, session: ClientSession, channel: str, frames: Sequence[bytes]) -> None:
        if self._number is not None:
            if self.kept.places.has_heard(session, self._number):
                return
            frames = NumberedFrames(frames, self._number + 1)
        elif self._makes:
            frames = self.kept.number_made(session, channel, frames)
        super()._put(session, channel, frames)

    def _answer(
        self, session: ClientSession, channel: str, msg_type: str, header: bytes, error: FPSKernelsError
    ) -> None:
        makes, self._makes = self._makes, True
        try:
            super()._answer(session, channel, msg_type, header, error)
        finally:
            self._makes = makes

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        self.kept.mark("failed")
        self._makes = True
        try:
            super().on_requests_failed(requests, error)
        finally:
            self._makes = False

    def on_user_restart(self) -> None:
        self.kept.mark("restart")
        super().on_user_restart()

    def _announce(self, state: str, reason: str, except_for: Collection[SessionKey] = ()) -> None:
        self._makes = True
        try:
            super()._announce(state, reason, except_for)
        finally:
            self._makes = False
