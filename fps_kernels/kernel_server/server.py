"""One kernel's web side: its WebSockets, and who of them hears what."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from time import monotonic, time

from ..errors import Forbidden, FPSKernelsError, KernelDied, MalformedMessage
from ..kernel_driver.client import KernelClient
from ..kernel_driver.driver import LifecycleObserver
from ..kernel_driver.message import EMPTY_DICT, Buffer, Message, dump_json, make_frames, make_header, peek_msg_type
from ..kernel_driver.request_log import Request
from ..websocket.frame_batch import Chunks, FrameBatch, IncomingMessage
from . import stand_in as replies
from . import wire
from .client_session import ClientSession, SessionOutbox
from .connection import CLOSE_NORMAL, CLOSE_TRY_AGAIN, Connection, WebSocket
from .iopub_log import Entry, Inbox, IopubLog, ReplayLimits
from .rate_limit import RateLimits
from .spec_adapter import Adapter

logger = logging.getLogger(__name__)

MAX_AWAY = 100
"""Sessions that are away and remembered."""
SLICES = 4
SLICE_BYTES = 1024 * 1024
"""Encoded runs of the log that are shared by the writers of WebSockets with the same protocol; a message
larger than that is not worth the memory."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What is kept for clients, and how fast they are served.

    socket_max_messages, socket_max_bytes: how far an open WebSocket may be behind before it is
    closed; four messages may be waiting whatever their size.
    """

    replay: ReplayLimits = field(default_factory=ReplayLimits)
    rates: RateLimits = field(default_factory=RateLimits)
    socket_max_messages: int = 100_000
    socket_max_bytes: int = 256 * 1024 * 1024
    socket_min_messages: int = 4


@dataclass(slots=True)
class Times:
    """When something last happened, in seconds since the epoch; None: never."""

    to_client: float | None = None
    to_kernel: float | None = None
    connected: float | None = None
    disconnected: float | None = None


class KernelServer(LifecycleObserver):
    """Bridges any number of WebSockets to one kernel's shared client.

    iopub goes to all of them, through one log; replies and input requests to the session whose
    request they answer, through its inbox. Each writer reads at its client's pace.

    greet_as_asked: whether the status that a new WebSocket is told has a parent header, as if it had asked:
    clients of Kernel Gateway look for a msg_id in every one.
    """

    def __init__(self, client: KernelClient, limits: ServerLimits | None = None) -> None:
        self.client = client
        self.times = Times()
        self.greet_as_asked = False
        self._limits = limits or ServerLimits()
        self._log = IopubLog(self._limits.replay)
        self._sessions: dict[str, ClientSession] = {}
        self._connections: tuple[Connection, ...] = ()
        self._left_at_seq: int | None = None  # where the last client was when it left
        self._slices: dict[tuple[bool, int, int, int], FrameBatch] = {}
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
        outbox = SessionOutbox(
            session,
            self._log,
            self._limits.rates,
            lambda channel, frames: self._encode(v1, channel, frames),
            lambda entries: self._encode_run(v1, entries),
            lambda: self.client.kernel_session,
        )
        try:
            await connection.run(outbox, lambda frame: self._on_frame(connection, session, frame))
        finally:
            self._detach(connection, session)

    def _attach(self, connection: Connection) -> ClientSession:
        self._trim()  # what has become too old since the kernel last spoke
        session = self._sessions.get(connection.session_id) or self._new_session(connection.session_id)
        if any(one.session_id == connection.session_id for one in self._connections):
            session.repeat_recent()  # it may have come back before anybody noticed that it was lost
        if session.connection is not None:
            # 1000, or JupyterLab would reconnect, and two clients with one id would duel for ever.
            session.connection.close(CLOSE_NORMAL, "replaced by a newer connection of the same session", flush=False)
        session.connection = connection
        self._connections = (*self._connections, connection)
        self.times.connected = time()
        self._left_at_seq = None
        self._put_status(session)
        self._forget_sessions()
        return session

    def _new_session(self, session_id: str) -> ClientSession:
        """Nothing that was said before is for it, unless nobody else is there to hear it."""
        cursor = self._log.next_seq
        if not self._connections and self._left_at_seq is not None:
            cursor = self._left_at_seq
        session = ClientSession(session_id, Inbox(self._limits.replay), cursor)
        self._sessions[session_id] = session
        return session

    def _detach(self, connection: Connection, session: ClientSession) -> None:
        self._connections = tuple(one for one in self._connections if one is not connection)
        self.times.disconnected = time()
        if session.connection is connection or session.connection is None:  # it may have been too slow
            session.connection = None
            session.left_at = monotonic()
            if connection.lost:
                session.repeat_recent()
            else:
                session.recent.clear()
        if not self._connections:
            self._left_at_seq = session.cursor
            self._slices.clear()

    def _forget_sessions(self) -> None:
        """Those that are away longest, if there are too many.

        Not by age, as for the log: the reply to a cell that ran for an hour must find a laptop that was closed.
        """
        away = sorted((one for one in self._sessions.values() if one.connection is None), key=lambda one: one.left_at)
        for session in away[: max(0, len(away) - MAX_AWAY)]:
            del self._sessions[session.session_id]

    def broadcast(self, channel: str, frames: Sequence[bytes]) -> None:
        """Tell all that are connected now; who is away does not hear of it later."""
        for session in self._sessions.values():
            if session.connection is not None:
                self._put(session, channel, frames)

    def close(self, code: int, reason: str) -> None:
        """Close all WebSockets, after what waits for them."""
        for connection in self._connections:
            connection.close(code, reason)

    # --- from the kernel: the hot path -----------------------------------------------------------

    def _on_batch(self, channel: str, messages: list[Message]) -> None:
        if channel != "iopub":
            for message in messages:
                self._route(channel, message)
            return
        if not self._sessions and self._left_at_seq is None:
            return  # nobody was ever there to hear it
        log = self._log
        log.append(messages, monotonic())
        if self._connections:
            self.times.to_client = time()
        for connection in self._connections:
            connection.wake()
        self._trim()

    def _trim(self) -> None:
        """Forget what all have heard, and see that what is left keeps its bounds."""
        log = self._log
        cursors = [session.cursor for session in self._sessions.values()]
        if self._left_at_seq is not None:
            cursors.append(self._left_at_seq)
        log.forget_before(min(cursors, default=log.next_seq))
        now = monotonic()
        if log.exceeds_bounds(now) or log.bytes > self._limits.socket_max_bytes:
            self._close_the_slow()
            sessions = self._sessions.values()
            live = [session.cursor for session in sessions if session.connection is not None]
            for session in sessions:
                cursors += session.inbox.places()
                cursors += [entry.end for entry in session.in_flight]
            log.keep_bounds(cursors, now, keep_from=min(live, default=log.next_seq))

    def _close_the_slow(self) -> None:
        limits = self._limits
        for session in self._sessions.values():
            connection = session.connection
            if connection is None:
                continue
            messages, size = self._log.waiting(session.cursor)
            if messages > limits.socket_max_messages or (
                size > limits.socket_max_bytes and messages > limits.socket_min_messages
            ):
                logger.warning("session %s reads too slowly: its WebSocket is closed", session.session_id)
                connection.close(CLOSE_TRY_AGAIN, "too slow: reconnect", flush=False)
                session.connection = None  # from now on it is away, and the bounds of replay hold
                session.left_at = monotonic()

    def _route(self, channel: str, message: Message) -> None:
        origin = message.request.origin if message.request is not None else None
        if origin is None:
            origin = self._sessions.get(message.parent_session)
        if isinstance(origin, ClientSession):
            origin.put(self._log.next_seq, channel, message.frames)

    def _encode(self, v1: bool, channel: str, frames: Sequence[bytes]) -> Chunks:
        if v1:
            return False, wire.v1_pieces(channel.encode(), frames)
        if self._adapter is not None:
            frames = self._adapter.from_kernel(frames)
        return wire.default_pieces(channel, frames)

    def _encode_run(self, v1: bool, entries: Sequence[Entry]) -> FrameBatch:
        """A run of the log. Writers that keep pace read the same runs: they are encoded once."""
        large = len(entries) == 1 and entries[0].size > SLICE_BYTES
        if large or len(self._connections) < 2:
            return FrameBatch([self._encode(v1, "iopub", entry.frames) for entry in entries])
        key = v1, entries[0].seq, entries[-1].end, len(entries)  # merging changes their number
        run = self._slices.get(key)
        if run is None:
            run = FrameBatch([self._encode(v1, "iopub", entry.frames) for entry in entries])
            while len(self._slices) >= SLICES:
                del self._slices[next(iter(self._slices))]
            self._slices[key] = run
        return run

    # --- from clients ----------------------------------------------------------------------------

    def _on_frame(self, connection: Connection, session: ClientSession, frame: IncomingMessage) -> None:
        frames: Sequence[Buffer]
        try:
            if connection.v1:
                if isinstance(frame, str):
                    raise MalformedMessage("the v1 protocol has no text frames", 1003)
                channel, frames = wire.decode_v1(frame)
            else:
                channel, frames = wire.decode_default(frame)
            wire.check_request(channel, frames)
            header = bytes(frames[0])
        except MalformedMessage as exc:
            logger.warning("session %s sent a malformed message: %s", connection.session_id, exc)
            connection.close(exc.close_code, exc.message)
            return
        try:
            self._check_allowed(connection, peek_msg_type(header))
            if self._adapter is not None and not connection.v1:
                frames = self._adapter.to_kernel(frames)
            self.client.send(channel, frames, session)
            self.times.to_kernel = time()
        except FPSKernelsError as exc:
            self._refuse(session, channel, header, exc)

    def _check_allowed(self, connection: Connection, msg_type: str) -> None:
        if not connection.may_execute:
            raise Forbidden("You may watch this kernel, but not execute on it")
        if msg_type in self._blocked or (self._allowed is not None and msg_type not in self._allowed):
            raise Forbidden(f"Messages of type {msg_type} are not allowed here")

    def _refuse(self, session: ClientSession, channel: str, header: bytes, error: FPSKernelsError) -> None:
        msg_type = peek_msg_type(header)
        logger.info("session %s: %s on %s refused: %s", session.session_id, msg_type, channel, error)
        if msg_type.endswith("_request"):
            self._answer(session, channel, msg_type, header, error)

    def _answer(
        self, session: ClientSession, channel: str, msg_type: str, header: bytes, error: FPSKernelsError
    ) -> None:
        """Reply in the kernel's place, and say idle, so that nobody waits for ever."""
        self._put(session, channel, replies.error_reply(msg_type, header, self.client.kernel_session, error))
        self._put(session, "iopub", replies.status("idle", self.client.kernel_session, header))

    # --- messages of the server's own ------------------------------------------------------------

    def _put(self, session: ClientSession, channel: str, frames: Sequence[bytes]) -> None:
        session.put(self._log.next_seq, channel, frames)

    def _put_status(self, session: ClientSession) -> None:
        parent = EMPTY_DICT
        if self.greet_as_asked:
            parent = dump_json(make_header("kernel_info_request", self.client.session))
        state = self.client.execution_state.value
        self._put(session, "iopub", replies.status(state, self.client.kernel_session, parent))

    def _on_state(self) -> None:
        """The kernel became ready: its own idle was the answer to a request of ours, which clients do not see."""
        if self.client.state.ready:
            self._adapter = Adapter.for_kernel(self.client.kernel_info)
            for session in self._sessions.values():
                if session.connection is not None:
                    self._put_status(session)

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        for session in self._sessions.values():
            session.inbox.discard("stdin")  # nobody waits for that input any more
        explained = not isinstance(error, KernelDied)
        for request in requests:
            session = request.origin
            if not isinstance(session, ClientSession):
                continue
            if not explained and request.msg_type == "execute_request":
                explained = True  # in the cell that ran: a front end shows errors, but no reasons of a status
                self._put(session, "iopub", replies.error(error, self.client.kernel_session, request.header))
            if request.owes_reply and not request.replied:
                self._answer(session, request.channel, request.msg_type, request.header, error)
            else:
                self._put(session, "iopub", replies.status("idle", self.client.kernel_session, request.header))

    def on_user_restart(self) -> None:
        """What the old process said is of no interest any more, but for the answers that are still due."""
        self._log.clear()
        self._slices.clear()
        for session in self._sessions.values():
            session.cursor = self._log.next_seq
            session.inbox.move_up(session.cursor)
        if self._left_at_seq is not None:
            self._left_at_seq = self._log.next_seq

    def on_restarting(self, reason: str) -> None:
        self._announce("restarting", reason)

    def on_dead(self, reason: str) -> None:
        self._announce("dead", reason)

    def _announce(self, state: str, reason: str) -> None:
        """A word of the watchdog: with a session of our own, so that clients know it is not the kernel's."""
        content = {"execution_state": state, "reason": reason}
        frames = make_frames("status", content, self.client.session)
        for session in self._sessions.values():
            self._put(session, "iopub", frames)
