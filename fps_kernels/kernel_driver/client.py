"""The one connection to a kernel that everybody shares: WebSockets, documents, other plugins.

It outlives the kernel's process: after a restart it is connected to the new one, with the same
listeners. What it is asked to send before the kernel is ready waits in a queue.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import zmq

from ..errors import BadSignature, KernelDied, KernelNotConnected, KernelTimeout, MalformedMessage, QueueFull
from .channels import Channels
from .connection_file import ConnectionInfo
from .heartbeat import Heartbeat, HeartbeatOptions
from .listener import Callback, Filter, Listener
from .message import (
    DELIMITER,
    Buffer,
    Message,
    Signer,
    make_frames,
    peek_msg_id,
    peek_msg_type,
    peek_session,
    split_frames,
)
from .request_log import Request, RequestLog
from .state import READY, ExecutionState, KernelState, wire_state

logger = logging.getLogger(__name__)

QUEUE_MESSAGES = 10_000
QUEUE_BYTES = 64 * 1024 * 1024
"""What may wait for a kernel that is not ready: messages and bytes."""
HANDSHAKE_REPEAT_S = 0.5
HANDSHAKE_IOPUB_REPEAT_S = 0.02
HANDSHAKE_IOPUB_LOST_S = 0.1
HANDSHAKE_IOPUB_S = 2.0
"""How often the kernel is asked; and on iopub, after which such pause it is connected to anew. A kernel may answer
kernel_info without publishing a status: so long after the reply it counts as ready."""
MAX_ROUTES = 1_000
"""Message types whose listeners are remembered; a kernel could invent more."""

CONTROL_TYPES = frozenset(
    {
        "shutdown_request",
        "interrupt_request",
        "debug_request",
        "create_subshell_request",
        "delete_subshell_request",
        "list_subshell_request",
    }
)
"""Requests that go to control: their busy and idle say nothing about the shell."""

_STATES = {
    content % state.encode(): state
    for content in (b'{"execution_state": "%s"}', b'{"execution_state":"%s"}')
    for state in (ExecutionState.BUSY, ExecutionState.IDLE)
}
"""How nearly all say it: 0.1 µs instead of 7 to parse it."""

BatchCallback = Callable[[str, list[Message]], None]


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """A snapshot of a client: its listeners, and the requests that the kernel has not finished."""

    listeners: int
    pending: int


class KernelClient:
    """Listen to a kernel and talk to it.

    generation: counts the connections; 0 before the first.
    session: the session in the headers of our own requests; their answers are not for listeners.
    kernel_session: the session that the kernel puts into its headers; before it spoke, ours. For messages
      in the kernel's place: JupyterLab takes another one for a new kernel, and throws its queue away.
    kernel_info: the content of its last kernel_info_reply.
    verify: whether the signatures of its messages are checked.
    """

    def __init__(
        self,
        kernel_id: str,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        verify: bool = True,
        heartbeat: HeartbeatOptions | None = None,
    ) -> None:
        self.kernel_id = kernel_id
        self.generation = 0
        self.session = uuid.uuid4().hex
        self.kernel_session = self.session
        self.kernel_info: dict[str, Any] = {}
        self.state = KernelState()
        self.rejected = 0
        self._own_session = self.session.encode()
        self._context = context
        self._verify = verify
        self._signer = Signer(b"")
        self._channels: Channels | None = None
        self._heartbeat_options = heartbeat or HeartbeatOptions()
        self._heartbeat: asyncio.Task[None] | None = None
        self._requests = RequestLog()
        self._queue: deque[tuple[str, Sequence[Buffer]]] = deque()
        self._queue_bytes = 0
        self._listeners: list[Listener] = []
        self._batch_listeners: tuple[BatchCallback, ...] = ()
        self._state_listeners: tuple[Callable[[], None], ...] = ()
        self._routes: dict[tuple[str, str], tuple[Listener, ...]] = {}
        self._ready = asyncio.Event()
        self._heard = self._muted = False  # the process of this generation
        self._shell_answers = self._assumed_busy = False  # the same
        self._replied: asyncio.Future[str] | None = None
        self._published: asyncio.Event = asyncio.Event()

    # --- what everybody may ask -----------------------------------------------------------------

    @property
    def execution_state(self) -> ExecutionState:
        return self.state.execution_state

    @property
    def last_activity(self) -> datetime:
        return self.state.last_activity

    @property
    def pending(self) -> int:
        """How many requests the kernel has not finished."""
        return len(self._requests)

    def statistics(self) -> ClientStatistics:
        return ClientStatistics(len(self._listeners), self.pending)

    def add_listener(
        self,
        callback: Callback,
        msg_types: Iterable[Filter] | None = None,
        exclude_msg_types: Iterable[Filter] | None = None,
        *,
        channels: Iterable[str] | None = None,
        session: str | None = None,
    ) -> Listener:
        """Have `callback(channel_name, frames)` called with messages from the kernel.

        frames: header, parent_header, metadata, content (JSON as bytes), then any buffers.
        msg_types, exclude_msg_types: msg_type strings or pairs (msg_type, channel_name); None: all.
        channels: of shell, control, stdin, iopub; None: all.
        session: replies and input requests only for requests whose header has this session;
          without it all are seen. iopub is for everybody.
        Answers to the server's own requests are not delivered. Survives restarts.
        """
        listener = Listener(callback, msg_types, exclude_msg_types, channels=channels, session=session)
        self._listeners.append(listener)
        self._routes.clear()
        return listener

    def remove_listener(self, listener: Listener | Callback) -> None:
        """Take back what `add_listener` did, given what it returned or its callback.

        Nothing happens when it is not there (any more).
        """
        for found in [one for one in self._listeners if listener in (one, one.callback)]:
            self._listeners.remove(found)
            found.stop()
        self._routes.clear()

    def broadcast_state(self, listener: Listener) -> None:
        """Tell one listener the current execution state, as an iopub status message."""
        frames = self.make_frames("status", {"execution_state": wire_state(self.execution_state)})
        if listener.wants("iopub", "status"):
            listener.deliver("iopub", frames)

    def send(self, channel: str, frames: Sequence[Buffer], origin: Any = None) -> None:
        """Send a message to the kernel, or queue it until the kernel is ready.

        channel: shell, control or stdin. frames: header, parent_header, metadata, content, buffers.
        origin: who asks, given back with the answers as `Message.request.origin`.
        Raises QueueFull when too much waits, KernelDied when the kernel is dead, MalformedMessage
        when the header has no msg_id.
        """
        self._check_alive()
        if channel != "stdin":
            header = bytes(frames[0])
            msg_id = peek_msg_id(header)
            if not msg_id:
                raise MalformedMessage("header has no msg_id")
            request = Request(msg_id, channel, peek_msg_type(header), header, origin)
            self._requests.add(request)
            try:
                self._send_or_queue(channel, frames)
            except (QueueFull, KernelNotConnected):
                self._requests.discard(request)
                raise
        else:
            self._send_or_queue(channel, frames)

    async def request(
        self,
        channel: str,
        msg_type: str,
        content: dict[str, Any] | None = None,
        *,
        timeout_s: float,
        at_once: bool = False,
    ) -> Message:
        """Send a request of the server's own and return the reply.

        at_once: also before the kernel is ready for others, instead of waiting for that.
        Raises KernelTimeout after `timeout_s` seconds, KernelDied or KernelRestarted when the kernel
        died or was restarted before it answered, and whatever `send` raises.
        """
        self._check_alive()
        frames = make_frames(msg_type, content or {}, self.session)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        request = Request(peek_msg_id(frames[0]), channel, msg_type, frames[0], future=future)
        self._requests.add(request)
        try:
            if at_once:
                self.send_now(channel, frames)
            else:
                self._send_or_queue(channel, frames)
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError as exc:
            raise KernelTimeout(f"The kernel did not answer {msg_type} within {timeout_s:g} s") from exc
        finally:
            self._requests.discard(request)

    async def wait_ready(self) -> None:
        """Return once the kernel can be asked (again). Unbounded: use a timeout."""
        await self._ready.wait()

    # --- for the web side: batches, so that one message costs no call ----------------------------

    def add_batch_listener(self, callback: BatchCallback) -> None:
        """Have `callback(channel, messages)` called with what one drain of a channel brought."""
        self._batch_listeners = (*self._batch_listeners, callback)

    def add_state_listener(self, callback: Callable[[], None]) -> None:
        """Have `callback()` called whenever the state may have changed by other than the kernel's word."""
        self._state_listeners = (*self._state_listeners, callback)

    def make_frames(self, msg_type: str, content: dict[str, Any], parent_header: bytes = b"{}") -> list[bytes]:
        """A message of the server's own that looks like the kernel's."""
        return make_frames(msg_type, content, self.kernel_session, parent_header)

    # --- for the driver: connections and states --------------------------------------------------

    def connect(self, info: ConnectionInfo) -> None:
        """Open the sockets to a (new) process. Raises KernelNotConnected."""
        self.disconnect()
        self.generation += 1
        self._heard = self._muted = self._shell_answers = self._assumed_busy = False
        self._signer = info.signer()
        self._published = asyncio.Event()
        self._replied = asyncio.get_running_loop().create_future()
        self._channels = Channels(self._context, info, uuid.uuid4().hex.encode(), self._on_batch)
        if self._heartbeat_options.interval_s:
            heartbeat = Heartbeat(self.kernel_id, self.state, self._context, info, self._heartbeat_options)
            self._heartbeat = asyncio.create_task(heartbeat.run(), name=f"heartbeat {self.kernel_id}")

    def disconnect(self) -> None:
        """Close the sockets; nothing that was not sent reaches the next process. Listeners stay."""
        self._ready.clear()
        channels, self._channels = self._channels, None
        if channels is not None:
            channels.close()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self.state.unwell = None

    def mute(self) -> None:
        """Deliver nothing more from this process; it can still be asked to end.

        For one whose requests were answered in its place: clients must not get two answers.
        """
        self._muted = True

    async def handshake(
        self,
        timeout_s: float,
        *,
        ask_control: bool = False,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Wait until the kernel answers kernel_info and is heard on iopub; it can be asked then.

        ask_control: ask there too; a kernel that is busy does not answer on shell.
        prepare: awaited when it answers, before anybody else can ask it.
        Raises KernelTimeout after `timeout_s` seconds.
        """
        replied = self._replied
        if replied is None:
            raise KernelNotConnected("The kernel is not connected")
        asking = ("shell", "control") if ask_control else ("shell",)
        try:
            async with asyncio.timeout(timeout_s):
                while not replied.done():
                    for channel in asking:
                        self.ask_now(channel, "kernel_info_request")
                    await asyncio.wait([replied], timeout=HANDSHAKE_REPEAT_S)
                    self._connected().reopen_lost()
                await self._hear_iopub()
        except TimeoutError as exc:
            raise KernelTimeout(f"The kernel did not answer within {timeout_s:g} s") from exc
        if prepare is not None:
            await prepare()
        self._assumed_busy = not self._shell_answers
        self._become_ready(ExecutionState.BUSY if self._assumed_busy else ExecutionState.IDLE)

    async def _hear_iopub(self) -> None:
        """The status that came with the reply may have been published before we were subscribed: ask again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HANDSHAKE_IOPUB_S
        patience = HANDSHAKE_IOPUB_REPEAT_S
        reopened = False
        while not self._published.is_set():
            left = deadline - loop.time()
            if left <= 0:
                logger.warning("kernel %s answers, but nothing is heard on iopub", self.kernel_id)
                return
            try:
                async with asyncio.timeout(min(left, patience)):
                    await self._published.wait()
            except TimeoutError:
                if patience > HANDSHAKE_IOPUB_LOST_S and not reopened:
                    reopened = True  # once, with time enough to be heard: see Channels.reopen_lost
                    self._connected().reopen("iopub")
                self.ask_now("shell", "kernel_info_request")
                patience *= 2

    def _become_ready(self, state: ExecutionState) -> None:
        self.state.change(state)
        self._ready.set()
        queue, self._queue = self._queue, deque()
        self._queue_bytes = 0
        for channel, frames in queue:
            self.send_now(channel, frames)
        self._tell_state()  # whoever sends something now comes after what waited

    def change_state(self, state: ExecutionState, reason: str | None = None) -> None:
        """For whoever owns the kernel's process. Raises InvalidTransition."""
        if state not in (ExecutionState.IDLE, ExecutionState.BUSY):
            self._ready.clear()
        self.state.change(state, reason)
        self._tell_state()

    def _tell_state(self) -> None:
        for callback in self._state_listeners:
            callback()

    def fail_requests(self, error: Exception) -> list[Request]:
        """The kernel will not answer what it was asked: forget all that, and what waits to be sent.

        Requests of our own fail with `error`; those of others are returned, oldest first.
        """
        self._queue.clear()
        self._queue_bytes = 0
        failed = []
        for request in self._requests.clear():
            if request.future is None:
                failed.append(request)
            elif not request.future.done():
                request.future.set_exception(error)
        return failed

    async def close(self) -> None:
        """Close everything, for good."""
        self.disconnect()
        for listener in self._listeners:
            listener.stop()
        for listener in self._listeners:
            await listener.stopped()
        if self._heartbeat is not None:
            await asyncio.gather(self._heartbeat, return_exceptions=True)
        self._listeners.clear()
        self._routes.clear()
        self._batch_listeners = self._state_listeners = ()

    # --- sending ---------------------------------------------------------------------------------

    def _check_alive(self) -> None:
        if self.state.execution_state is ExecutionState.DEAD:
            raise KernelDied(f"The kernel is dead: {self.state.reason or 'unknown reason'}")

    def _send_or_queue(self, channel: str, frames: Sequence[Buffer]) -> None:
        if self._ready.is_set():
            self.send_now(channel, frames)
            return
        size = sum(map(len, frames))
        if len(self._queue) >= QUEUE_MESSAGES or self._queue_bytes + size > QUEUE_BYTES:
            raise QueueFull("The kernel is not ready yet, and too much waits for it")
        self._queue.append((channel, frames))
        self._queue_bytes += size

    def send_now(self, channel: str, frames: Sequence[Buffer]) -> None:
        """Send without waiting until the kernel is ready, and without expecting an answer.

        Raises KernelNotConnected, QueueFull.
        """
        self._connected().send(channel, [DELIMITER, self._signer.sign(frames), *frames])

    def _connected(self) -> Channels:
        if self._channels is None:
            raise KernelNotConnected("The kernel is not connected")
        return self._channels

    def ask_now(self, channel: str, msg_type: str, content: dict[str, Any] | None = None) -> None:
        """A request of the server's own, as `send_now`; listeners do not see the answer."""
        self.send_now(channel, make_frames(msg_type, content or {}, self.session))

    # --- receiving: the hot path -----------------------------------------------------------------

    def _on_batch(self, channel: str, batch: list[list[bytes]]) -> None:
        if self._muted:
            return
        handle = self._handle_iopub if channel == "iopub" else self._handle_reply
        messages = []
        for received in batch:
            try:
                signature, frames = split_frames(received)
                if self._verify:
                    self._signer.verify(signature, frames)
                message = handle(channel, frames)
                if message is not None and not message.msg_type:
                    raise MalformedMessage("header has no msg_type")
            except (BadSignature, MalformedMessage) as exc:
                self._reject(channel, exc)
                continue
            if message is not None:
                messages.append(message)
        if not messages:
            return
        for callback in self._batch_listeners:
            callback(channel, messages)
        if self._listeners:
            for message in messages:
                self._deliver(channel, message)

    def _reject(self, channel: str, exc: Exception) -> None:
        self.rejected += 1
        # A kernel gone mad must not fill the disk with log lines: one for each power of two.
        if not self.rejected & (self.rejected - 1):
            logger.warning(
                "kernel %s: dropped a message on %s (%d so far): %s", self.kernel_id, channel, self.rejected, exc
            )

    def _handle_iopub(self, channel: str, frames: list[bytes]) -> Message | None:
        if not self._published.is_set():
            self._published.set()
        message = Message(channel, frames)
        if not self._heard:
            self._hear(frames)
        if self._own_session in frames[1]:
            return None  # the echo of a request of ours
        msg_type = message.msg_type
        if msg_type == "status":
            self._on_status(message)
        elif msg_type == "iopub_welcome":
            return None
        return message

    def _on_status(self, message: Message) -> None:
        state = _STATES.get(message.frames[3])
        if state is None:
            try:
                state = ExecutionState(str(message.content.get("execution_state")))
            except ValueError:
                return  # not a state we know; clients may
        request = self._requests.get(message.parent_msg_id)
        if request is not None and state is ExecutionState.IDLE:
            self._requests.on_idle(request)
        if state in READY and self._is_of_main_shell(message, request):
            self._assumed_busy = False
            self.state.kernel_says(state)

    @staticmethod
    def _is_of_main_shell(message: Message, request: Request | None) -> bool:
        """A control request's busy and idle, or a subshell's, say nothing about the cell that runs."""
        parent = message.frames[1]
        if b'"subshell_id"' in parent and message.parent_header.get("subshell_id"):
            return False
        if request is not None:
            return request.channel == "shell"
        return peek_msg_type(parent) not in CONTROL_TYPES

    def _hear(self, frames: list[bytes]) -> None:
        """The first message of a process: until then its predecessor's session stays the kernel's."""
        self.kernel_session = peek_session(frames[0]) or self.kernel_session
        self._heard = True

    def _handle_reply(self, channel: str, frames: list[bytes]) -> Message | None:
        message = Message(channel, frames)
        message.check_headers()
        if not self._heard:
            self._hear(frames)
        own = self._own_session in frames[1]
        if own and message.msg_type == "kernel_info_reply":
            self._on_kernel_info(message)
        request = self._requests.get(message.parent_msg_id)
        if request is not None and channel != "stdin":
            self._requests.on_reply(request)
            if request.future is not None and not request.future.done():
                request.future.set_result(message)
        message.request = request
        return None if own else message

    def _on_kernel_info(self, message: Message) -> None:
        """The answer to our asking whether the kernel is ready."""
        if self._replied is not None and not self._replied.done():
            self.kernel_info = message.content
            self._replied.set_result(message.channel)
        if message.channel == "shell":
            self._shell_answers = True
            if self._assumed_busy:  # control was only faster, or the cell has ended
                self._assumed_busy = False
                self.state.kernel_says(ExecutionState.IDLE)
                self._tell_state()

    def _deliver(self, channel: str, message: Message) -> None:
        key = (channel, message.msg_type)
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) >= MAX_ROUTES:
                self._routes.clear()
            route = tuple(listener for listener in self._listeners if listener.wants(*key))
            self._routes[key] = route
        for listener in route:
            if channel == "iopub" or listener.session in (None, message.parent_session):
                listener.deliver(channel, [*message.frames[:4], *message.buffers])
