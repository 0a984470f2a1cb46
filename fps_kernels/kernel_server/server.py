"""One kernel's web side: its WebSockets, and who of them hears what."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from ..errors import Forbidden, KernelsError, MalformedMessage
from ..kernel_driver.client import KernelClient
from ..kernel_driver.driver import LifecycleObserver
from ..kernel_driver.message import Message, make_parts, peek_msg_type
from ..kernel_driver.requests import Request
from . import replies, wire
from .adapt import Adapter
from .connection import CLOSE_NORMAL, Connection, Frame, WebSocket

logger = logging.getLogger(__name__)

MAX_SESSIONS = 1_000
"""Sessions that are remembered, those that are away included."""


class ClientSession:
    """A client, as its session_id names it, over all its WebSockets; at most one is open."""

    __slots__ = ("connection", "session_id")

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.connection: Connection | None = None


class KernelServer(LifecycleObserver):
    """Bridges any number of WebSockets to one kernel's shared client.

    iopub goes to all of them; replies and input requests to the one whose request they answer.
    """

    def __init__(self, client: KernelClient) -> None:
        self.client = client
        self._sessions: dict[str, ClientSession] = {}
        self._connections: tuple[Connection, ...] = ()
        self._allowed: frozenset[str] | None = None
        self._blocked: frozenset[str] = frozenset()
        self._adapter: Adapter | None = None
        client.add_batch_listener(self._on_batch)
        client.add_state_listener(self._on_state)

    @property
    def connections(self) -> int:
        """How many WebSockets are open."""
        return len(self._connections)

    def block_messages(self, msg_types: Collection[str]) -> None:
        """Answer these requests with an error, and let all others through."""
        self._allowed, self._blocked = None, frozenset(msg_types)

    def allow_messages(self, msg_types: Collection[str] | None) -> None:
        """Let only these message types through to the kernel; None: all, []: none."""
        self._allowed = None if msg_types is None else frozenset(msg_types)
        self._blocked = frozenset()

    # --- WebSockets ------------------------------------------------------------------------------

    async def serve(self, socket: WebSocket, session_id: str, *, v1: bool, may_execute: bool = True) -> None:
        """Serve an accepted WebSocket until it is closed, by either side."""
        connection = Connection(socket, session_id, v1=v1, may_execute=may_execute)
        session = self._attach(connection)
        try:
            await connection.run(lambda frame: self._on_frame(connection, session, frame))
        finally:
            self._detach(connection, session)

    def _attach(self, connection: Connection) -> ClientSession:
        session = self._sessions.pop(connection.session_id, None) or ClientSession(connection.session_id)
        self._sessions[connection.session_id] = session  # the youngest is last
        if session.connection is not None:
            # 1000, or JupyterLab would reconnect, and two clients with one id would duel for ever.
            session.connection.close(CLOSE_NORMAL, "replaced by a newer connection of the same session")
        session.connection = connection
        self._connections = (*self._connections, connection)
        self._forget_sessions()
        self._send_status([connection])
        return session

    def _detach(self, connection: Connection, session: ClientSession) -> None:
        self._connections = tuple(one for one in self._connections if one is not connection)
        if session.connection is connection:
            session.connection = None

    def _forget_sessions(self) -> None:
        if len(self._sessions) > MAX_SESSIONS:
            away = next((one for one in self._sessions.values() if one.connection is None), None)
            if away is not None:
                del self._sessions[away.session_id]

    def close(self, code: int, reason: str) -> None:
        """Close all WebSockets, after what waits for them."""
        for connection in self._connections:
            connection.close(code, reason)

    # --- from clients ----------------------------------------------------------------------------

    def _on_frame(self, connection: Connection, session: ClientSession, frame: Frame) -> None:
        try:
            if connection.v1:
                if isinstance(frame, str):
                    raise MalformedMessage("the v1 protocol has no text frames", 1003)
                channel, parts = wire.decode_v1(frame)
            else:
                channel, parts = wire.decode_default(frame)
            wire.check_request(channel, parts)
        except MalformedMessage as exc:
            logger.warning("session %s sent a malformed message: %s", connection.session_id, exc)
            connection.close(exc.close_code, exc.message)
            return
        try:
            self._check_allowed(connection, peek_msg_type(parts[0]))
            if self._adapter is not None and not connection.v1:
                parts = list(self._adapter.to_kernel(parts))
            self.client.send(channel, parts, session)
        except KernelsError as exc:
            self._refuse(connection, channel, parts, exc)

    def _check_allowed(self, connection: Connection, msg_type: str) -> None:
        if not connection.may_execute:
            raise Forbidden("You may watch this kernel, but not execute on it")
        if msg_type in self._blocked or (self._allowed is not None and msg_type not in self._allowed):
            raise Forbidden(f"Messages of type {msg_type} are not allowed here")

    def _refuse(self, connection: Connection, channel: str, parts: Sequence[bytes], error: KernelsError) -> None:
        msg_type = peek_msg_type(parts[0])
        logger.info("session %s: %s on %s refused: %s", connection.session_id, msg_type, channel, error)
        if msg_type.endswith("_request"):
            self._answer(connection, channel, msg_type, parts[0], error)

    def _answer(
        self, connection: Connection, channel: str, msg_type: str, header: bytes, error: KernelsError
    ) -> None:
        """Reply in the kernel's place, and say idle, so that nobody waits for ever."""
        session = self._kernel_session
        self._put(connection, channel, replies.error_reply(msg_type, header, session, error))
        self._put(connection, "iopub", replies.status("idle", session, header))

    # --- from the kernel: the hot path -----------------------------------------------------------

    def _on_batch(self, channel: str, messages: list[Message]) -> None:
        if channel != "iopub":
            for message in messages:
                self._route(channel, message)
        elif self._connections:
            self._broadcast([message.parts for message in messages])

    def _route(self, channel: str, message: Message) -> None:
        origin = message.request.origin if message.request is not None else None
        if origin is None:
            origin = self._sessions.get(message.parent_session)
        if isinstance(origin, ClientSession) and origin.connection is not None:
            self._put(origin.connection, channel, message.parts)

    def _broadcast(self, batch: Sequence[Sequence[bytes]]) -> None:
        """Send iopub messages to all; each is encoded once for each protocol that is spoken."""
        encoded: dict[bool, list[Frame]] = {}
        for connection in self._connections:
            frames = encoded.get(connection.v1)
            if frames is None:
                frames = encoded[connection.v1] = [self._encode(connection.v1, "iopub", parts) for parts in batch]
            connection.put(frames)

    def _put(self, connection: Connection, channel: str, parts: Sequence[bytes]) -> None:
        connection.put([self._encode(connection.v1, channel, parts)])

    def _encode(self, v1: bool, channel: str, parts: Sequence[bytes]) -> Frame:
        if v1:
            return wire.encode_v1(channel.encode(), parts)
        if self._adapter is not None:
            parts = self._adapter.from_kernel(parts)
        return wire.encode_default(channel, parts)

    # --- messages of the server's own ------------------------------------------------------------

    @property
    def _kernel_session(self) -> str:
        return self.client.kernel_session or self.client.session

    def _send_status(self, connections: Sequence[Connection]) -> None:
        parts = replies.status(self.client.execution_state.value, self._kernel_session)
        for connection in connections:
            self._put(connection, "iopub", parts)

    def _on_state(self) -> None:
        """The kernel became ready: its own idle was the answer to a request of ours, which clients do not see."""
        if self.client.state.ready:
            self._adapter = Adapter.for_kernel(self.client.kernel_info)
            self._send_status(self._connections)

    def on_requests_failed(self, requests: list[Request], error: KernelsError) -> None:
        for request in requests:
            session = request.origin
            if not isinstance(session, ClientSession) or session.connection is None:
                continue
            if request.owes_reply and not request.replied:
                self._answer(session.connection, request.channel, request.msg_type, request.header, error)
            else:
                self._put(session.connection, "iopub", replies.status("idle", self._kernel_session, request.header))

    def on_restarting(self, reason: str) -> None:
        self._announce("restarting", reason)

    def on_dead(self, reason: str) -> None:
        self._announce("dead", reason)

    def _announce(self, state: str, reason: str) -> None:
        """A word of the watchdog: with a session of our own, so that clients know it is not the kernel's."""
        content = {"execution_state": state, "reason": reason}
        self._broadcast([make_parts("status", content, self.client.session)])
