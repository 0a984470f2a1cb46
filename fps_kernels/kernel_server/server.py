"""One kernel's web side: its WebSockets, and which of them hears what."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from time import monotonic, time

from ..errors import (
    Forbidden,
    FPSKernelsError,
    KernelRestarted,
    KernelStartFailed,
    MalformedMessage,
    TooManyConnections,
)
from ..kernel_driver.client import KernelClient
from ..kernel_driver.message import (
    EMPTY_DICT,
    Message,
    RequestHeader,
    dump_json,
    load_object,
    make_frames,
    make_header,
    with_msg_id,
)
from ..kernel_driver.observer import LifecycleObserver
from ..kernel_driver.request_log import Request
from ..kernel_driver.state import ExecutionState
from ..tasks import TaskSet
from ..websocket.frame_batch import IncomingMessage
from . import stand_in, wire
from .client_session import ClientSession, SessionKey
from .connection import CLOSE_FAILED, CLOSE_NORMAL, CLOSE_TRY_AGAIN, Connection, WebSocket
from .encoder import Encoder
from .iopub_log import ReplayLimits
from .journal import BacklogLimits, Journal
from .kernel_notes import KernelNotes
from .outbox import SessionOutbox
from .page_pace import PagePace
from .prompts import Prompts
from .rate_limit import RateLimits
from .spec_adapter import Adapter
from .subshells import Subshells
from .tally import FROM_KERNEL, TO_KERNEL

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What is kept for clients, how fast they are served, and how many may be connected.

    page_wait_s: see PagePace; 0 for none.
    """

    replay: ReplayLimits = field(default_factory=ReplayLimits)
    rates: RateLimits = field(default_factory=RateLimits)
    backlog: BacklogLimits = field(default_factory=BacklogLimits)
    max_connections: int = 500
    page_wait_s: float = 0.0


@dataclass(slots=True)
class Times:
    """When something last happened, in seconds since the epoch; None means never.

    to_client, to_kernel: a message that is activity, so that an open tab, which asks by itself, does not move them.
    """

    to_client: float | None = None
    to_kernel: float | None = None
    connected: float | None = None
    disconnected: float | None = None


class KernelServer(LifecycleObserver):
    """A bridge between any number of WebSockets and one kernel's shared client.

    iopub goes to all of them, replies and input requests to the session whose request they answer. The journal keeps
    both until they are heard; each WebSocket has a writer that reads there at its client's pace.

    tasks: what runs for the kernel's clients; to be closed when the kernel has ended.
    journal: what waits for the kernel's clients.
    times: when clients came and went, and when something was last sent.
    notes: what the next server of the kernel is to know, should this one be killed.
    was_ready: whether the kernel has ever been ready, so that clients may have something to hear of it.
    status_has_parent: whether the status sent to a new WebSocket has a parent header, as if the client had asked
      for it. Clients of Kernel Gateway look for a msg_id in every parent header.
    """

    def __init__(self, client: KernelClient, limits: ServerLimits | None = None) -> None:
        self.client = client
        self.tasks = TaskSet()
        self.times = Times()
        self.status_has_parent = False
        self.notes = KernelNotes()
        self._limits = limits or ServerLimits()
        self.journal = Journal(self._limits.replay, self._limits.backlog)
        self._encoders = {v1: Encoder(v1=v1) for v1 in (True, False)}
        self._connections: tuple[Connection, ...] = ()  # all that are open, also those that are being closed
        self._attached: dict[SessionKey, Connection] = {}  # the one of each attached session
        self._prompts = Prompts()
        self._make_outbox: Callable[..., SessionOutbox] = SessionOutbox
        self.was_ready = False
        self._subshells = Subshells(
            client,
            self.tasks,
            lambda one, error: self._answer(one.origin, one.channel, one.msg_type, one.header, error),
        )
        self._last_activity = client.last_activity
        client.add_batch_listener(self._on_batch)
        client.add_state_listener(self._on_state)

    @property
    def connections(self) -> int:
        """How many WebSockets are open."""
        return len(self._connections)

    def broadcast(self, channel: str, frames: Sequence[bytes]) -> None:
        """Send a message to all clients that are connected now. Those that are away do not get it later."""
        for session in self.journal.sessions:
            if session.attached:
                self._put(session, channel, frames)

    def close(self, code: int, reason: str) -> None:
        """Close all WebSockets, after what waits for them has been sent."""
        for connection in self._connections:
            connection.close(code, reason)

    def check_room(self, session_id: str, user: str = "", *, page: bool = False) -> None:
        """Check that one more WebSocket may be opened. One that takes the place of another one always may.

        page: whether it is for a page in a browser. JupyterLab asks for the model of a kernel whose WebSocket is
          refused, and shows its reason in a dialog; from one that is open, it takes the word "dead" and asks no more.
        Raises TooManyConnections. A named user gets half of the room, so that others are not shut out. Raises
        KernelStartFailed for a page when the kernel never came up.
        """
        if page and not self.was_ready and self.client.execution_state is ExecutionState.DEAD:
            raise KernelStartFailed(self.client.state.reason or "The kernel did not start")
        most = self._limits.max_connections
        if (user, session_id) in self._attached:
            return
        of_user = sum(one.key[0] == user for one in self._connections) if user else 0
        if len(self._connections) >= most or of_user >= max(1, most // 2):
            raise TooManyConnections(most)

    async def serve(
        self,
        socket: WebSocket,
        session_id: str,
        *,
        v1: bool,
        may_execute: bool = True,
        user: str = "",
        page: bool = False,
    ) -> None:
        """Serve an accepted WebSocket until it is closed, by either side.

        user: whom the server knows the client to be; "" where all are one user.
        page: whether the client is a page in a browser.
        """
        connection = Connection(socket, (user, session_id), v1=v1, may_execute=may_execute, page=page)
        session = self._attach(connection)
        encoder = self._encoders[v1]
        pace = PagePace(self._limits.page_wait_s) if page and self._limits.page_wait_s else None
        outbox = self._make_outbox(session, self.journal.log, self._limits.rates, encoder, self.client, pace)
        encoder.add_reader()
        try:
            await connection.run(outbox, lambda message: self._on_message(connection, session, message))
        finally:
            encoder.remove_reader()
            self._detach(connection, session)

    def _attach(self, connection: Connection) -> ClientSession:
        (user, session_id), now = connection.key, monotonic()
        self._trim(now)
        again = any(one.key == connection.key for one in self._connections)
        session = self.journal.attach(session_id, now, user=user, maybe_lost=again)
        if older := self._attached.get(connection.key):
            # 1000, or JupyterLab would reconnect, and two clients with one id would replace each other endlessly.
            older.close(CLOSE_NORMAL, "replaced by a newer connection of the same session", flush=False)
        self._attached[connection.key] = connection
        self._connections = (*self._connections, connection)
        self.times.connected = time()
        self.journal.tally.opened += 1
        self._put_status(session)
        return session

    def _detach(self, connection: Connection, session: ClientSession) -> None:
        self._connections = tuple(one for one in self._connections if one is not connection)
        self.times.disconnected = time()
        # Without an attached connection the session was put away because this one was too slow.
        if self._attached.get(connection.key, connection) is connection:
            self._attached.pop(connection.key, None)
            self.journal.detach(session, monotonic(), lost=connection.lost)

    # --- from the kernel: the hot path -----------------------------------------------------------

    def _on_batch(self, channel: str, messages: list[Message]) -> None:
        if channel != "iopub":
            flow = self.journal.tally.flows[FROM_KERNEL, channel]
            for message in messages:
                flow.messages += 1
                flow.bytes += sum(map(len, message.frames))
                session = self.journal.recipient(message)
                if session is not None:
                    if channel == "stdin":
                        self._prompts.ask(session, message.request)
                    self._put(session, channel, _as_asked(message))
                if message.msg_type == "delete_subshell_reply":
                    self._subshells.ask()
            return
        now = monotonic()
        self.journal.append(messages, now)
        if self._connections and self.client.last_activity is not self._last_activity:
            self._last_activity = self.client.last_activity
            self.times.to_client = time()
        for connection in tuple(self._connections):
            connection.wake()
        self._trim(now)

    def _trim(self, now: float) -> None:
        for session in self.journal.trim(now):
            logger.warning("session %s reads too slowly: its WebSocket is closed", session.session_id)
            self.journal.tally.slow += 1
            self._attached.pop(session.key).close(CLOSE_TRY_AGAIN, "too slow: reconnect", flush=False)

    # --- from clients ----------------------------------------------------------------------------

    def _on_message(self, connection: Connection, session: ClientSession, data: IncomingMessage) -> None:
        try:
            channel, frames, header = wire.decode_request(data, v1=connection.v1)
        except MalformedMessage as exc:
            logger.warning("session %s sent a malformed message: %s", connection.session_id, exc)
            connection.close(exc.close_code, exc.message)
            return
        try:
            if not connection.may_execute:
                raise Forbidden("You may watch this kernel, but not execute on it")
            if channel == "stdin" and not self._prompts.answer(session):
                raise Forbidden("The kernel does not wait for input from this session")
            adapter = self._encoders[connection.v1].adapter
            adapted = frames if adapter is None else adapter.to_kernel(frames)
            request = self.client.send(channel, adapted, session, header=header)
            flow = self.journal.tally.flows[TO_KERNEL, channel]
            flow.messages += 1
            flow.bytes += sum(map(len, adapted))
            if request is not None:
                _note_ids(session, request, header)
                if channel == "shell":
                    self._subshells.on_sent(request)
            if channel == "stdin" or header.msg_type not in self.client.state.untracked:
                self.times.to_kernel = time()
        except FPSKernelsError as exc:
            logger.info("session %s: %s on %s refused: %s", session.session_id, header.msg_type, channel, exc)
            if header.msg_type.endswith("_request"):
                self._answer(session, channel, header.msg_type, header.written or header.data, exc)

    # --- messages of the server's own ------------------------------------------------------------

    def _put(self, session: ClientSession, channel: str, frames: Sequence[bytes]) -> None:
        """Send a message to one session; it waits while the client is away."""
        self.journal.put(session, channel, frames)
        if connection := self._attached.get(session.key):
            connection.wake()

    def _answer(
        self, session: ClientSession, channel: str, msg_type: str, header: bytes, error: FPSKernelsError
    ) -> None:
        """Reply in the kernel's place, and say idle, so that no client waits for an answer that does not come."""
        self._put(session, channel, stand_in.error_reply(msg_type, header, self.client.kernel_session, error))
        self._put(session, "iopub", stand_in.status("idle", self.client.kernel_session, header))

    def _put_status(self, session: ClientSession) -> None:
        parent = EMPTY_DICT
        if self.status_has_parent:
            parent = dump_json(make_header("kernel_info_request", self.client.session))
        state = self.client.execution_state.value
        self._put(session, "iopub", stand_in.status(state, self.client.kernel_session, parent))

    def _on_state(self) -> None:
        """The kernel became ready: its own idle answered a request of the server's, which clients do not see."""
        if self.client.state.ready:
            self.was_ready = True
            self._encoders[False].adapter = Adapter.for_kernel(self.client.kernel_info)
            for session in self.journal.sessions:
                if session.attached:
                    self._put_status(session)

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        """Answer the requests that the kernel will not answer, because it died or was restarted."""
        self.journal.discard_input_requests()
        self._prompts.clear()
        explained = isinstance(error, KernelRestarted)
        for request in requests:
            session = request.origin
            if not isinstance(session, ClientSession):
                continue
            if not explained and request.msg_type == "execute_request":
                explained = True  # in the cell that ran: a front end shows errors, but no reasons of a status
                self._put(session, "iopub", stand_in.error(error, self.client.kernel_session, request.header))
            if request.owes_reply and not request.replied:
                self._answer(session, request.channel, request.msg_type, request.header, error)
            else:
                self._put(session, "iopub", stand_in.status("idle", self.client.kernel_session, request.header))

    def on_user_restart(self) -> None:
        """Forget what the old process said, but for the answers that are still due: a user's restart is a new start."""
        self.journal.restart()
        for encoder in self._encoders.values():
            encoder.forget_runs()

    def on_restarting(self, reason: str) -> None:
        """Tell all clients that the kernel died and is being restarted."""
        self._announce("restarting", reason)

    def on_dead(self, reason: str) -> None:
        """Tell all clients that the kernel died for good. Pages hear of a failed start as `check_room` says."""
        pages = [one for one in self._attached.values() if one.page and not self.was_ready]
        self._announce("dead", reason, except_for=[one.key for one in pages])
        for page in pages:
            page.close(CLOSE_FAILED, reason)

    def _announce(self, state: str, reason: str, except_for: Collection[SessionKey] = ()) -> None:
        """Tell all clients, also those that are away, with a session of ours: it is not the kernel that says so."""
        frames = make_frames("status", {"execution_state": state, "reason": reason}, self.client.session)
        for session in self.journal.sessions:
            if session.key not in except_for:
                self._put(session, "iopub", frames)


def _note_ids(session: ClientSession, request: Request, header: RequestHeader) -> None:
    """Have the session hear the msg_id that it chose, where the kernel got another one."""
    chosen = header.msg_id if header.written is None else load_object(header.written, "header").get("msg_id")
    if chosen != header.msg_id:  # no string that could be an id: nobody else's either
        request.rename(chosen, request.msg_id)
        session.restore(request.msg_id, chosen)
    elif request.renamed or session.hears_other_ids:
        session.rename(header.msg_id, request.msg_id if request.renamed else None)


def _as_asked(message: Message) -> Sequence[bytes]:
    """The frames of a reply or an input request, with the msg_id that the session chose for its request."""
    frames = message.frames
    if message.request is None or not message.request.renamed:
        return frames
    try:
        return [frames[0], with_msg_id(frames[1], message.request.chosen_msg_id), *frames[2:]]
    except MalformedMessage:  # a kernel's nonsense, which clients get as it is
        return frames
