"""The one connection to a kernel that all share: WebSockets, documents, other plugins.

It outlives the kernel's process: after a restart it is connected to the new one, with the same listeners. Messages
that are sent before the kernel is ready wait in a queue.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import zmq

from ..errors import FPSKernelsError, KernelDied, KernelNotConnected, KernelTimeout, MalformedMessage
from ..tasks import TaskSet
from .admission import Admission
from .awaited_answer import await_answer, complete_answer
from .channels import OpenChannels, ZMQChannels
from .connection_file import ConnectionInfo
from .heartbeat import Heartbeat, HeartbeatOptions
from .link import Link
from .listener import BatchCallback, Callback, Filter, Listener, Listeners
from .message import EMPTY_DICT, Buffer, Message, RequestHeader, dump_json, make_frames, make_header, with_msg_id
from .receiver import Receiver
from .request_log import Request, RequestLog
from .send_queue import SendQueue
from .state import READY, ClientStatistics, ExecutionState, KernelState, wire_state
from .traceback_filter import TracebackFilter

QUEUE_MESSAGES, QUEUE_BYTES = 10_000, 64 * 1024 * 1024
"""Messages, and their bytes, that may wait for a kernel that is not ready."""
EXECUTE_GRACE_S = 5.0
"""Between the reply to an execute_request and idle: a kernel may forget either."""


# Large: the one object that everything above this room holds; Link, Receiver and Listeners do its work.
class KernelClient:
    """A shared connection to a kernel: listen to it and talk to it.

    context: the ZMQ context for the sockets.
    verify: whether the signatures of messages from the kernel are checked.
    heartbeat: how often the kernel's process is asked whether it responds.
    open_channels: opens the channels to a process.
    traceback_filter: takes errors out of what the kernel says; None to leave them there.

    admission: which messages may be sent on a client's behalf.
    generation: the number of connections so far; 0 before the first.
    requests: what was sent on behalf of clients, and is remembered.
    session: the client session in the headers of our own requests. Listeners do not hear the answers to those.
    state: the kernel's state.
    """

    def __init__(
        self,
        kernel_id: str,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        verify: bool = True,
        heartbeat: HeartbeatOptions | None = None,
        open_channels: OpenChannels = ZMQChannels,
        traceback_filter: TracebackFilter | None = None,
        requests: RequestLog | None = None,
    ) -> None:
        self.kernel_id = kernel_id
        self.generation = 0
        self.session = uuid.uuid4().hex
        self.admission = Admission(self.session)
        self.state = KernelState()
        self._context = context
        self._open_channels = open_channels
        self._heartbeat_options = heartbeat or HeartbeatOptions()
        self.requests = RequestLog() if requests is None else requests
        self._listeners = Listeners()
        self._receiver = Receiver(kernel_id, self.session, self.state, self.requests, self._listeners, verify=verify)
        self._receiver.traceback_filter = traceback_filter
        self._link: Link | None = None
        self._heartbeats = TaskSet()
        self._ready = asyncio.Event()
        self._queue = SendQueue(QUEUE_MESSAGES, QUEUE_BYTES)

    @property
    def execution_state(self) -> ExecutionState:
        """The kernel's execution state."""
        return self.state.execution_state

    @property
    def last_activity(self) -> datetime:
        """When the kernel was last active."""
        return self.state.last_activity

    @property
    def pending(self) -> int:
        """The number of requests that the kernel has not finished."""
        return len(self.requests)

    @property
    def executing(self) -> bool:
        """Whether code runs that `execute` was given. Of the server's own code the execution state says nothing."""
        return bool(self._receiver.executions)

    @property
    def rejected(self) -> int:
        """The number of messages that were dropped because they were malformed or wrongly signed."""
        return self._receiver.rejected

    @property
    def kernel_info(self) -> dict[str, Any]:
        """The content of the kernel's last kernel_info_reply; empty before the first."""
        return self._receiver.kernel_info

    @property
    def kernel_session(self) -> str:
        """The client session in the kernel's headers; ours until the kernel has said something.

        Messages in the kernel's place must have it: JupyterLab drops its queue when the session is a new one.
        """
        return self._receiver.kernel_session

    def statistics(self) -> ClientStatistics:
        """A snapshot of the client's counters."""
        return ClientStatistics(len(self._listeners), self.pending, self.rejected)

    def add_listener(
        self,
        callback: Callback,
        msg_types: Iterable[Filter] | None = None,
        exclude_msg_types: Iterable[Filter] | None = None,
        *,
        channels: Iterable[str] | None = None,
        session: str | None = None,
    ) -> Listener:
        """Have `callback(channel_name, frames)` called with messages from the kernel, also after restarts.

        frames: header, parent_header, metadata, content (JSON as bytes), then any buffers.
        msg_types: the types to listen to, each a msg_type or a pair (msg_type, channel_name); None for all.
        exclude_msg_types: types not to listen to, in the same form.
        channels: the channels to listen to, of shell, control, stdin, iopub; None for all.
        session: the client session whose replies and input requests are heard, None for all; iopub is for all.
        Answers to the server's own requests are not delivered.
        """
        listener = Listener(callback, msg_types, exclude_msg_types, channels=channels, session=session)
        self._listeners.add(listener)
        return listener

    def remove_listener(self, listener: Listener | Callback) -> None:
        """Undo `add_listener`, given what it returned or its callback."""
        self._listeners.remove(listener)

    def broadcast_state(self, listener: Listener) -> None:
        """Tell one listener the current execution state, as an iopub status message."""
        if listener.wants("iopub", "status"):
            listener.deliver("iopub", self.make_frames("status", {"execution_state": wire_state(self.execution_state)}))

    def send(
        self, channel: str, frames: Sequence[Buffer], origin: Any = None, *, header: RequestHeader | None = None
    ) -> Request | None:
        """Send a message on a client's behalf to the kernel, or queue it until the kernel is ready.

        channel: shell, control or stdin.
        frames: header, parent_header, metadata, content (JSON as bytes), then any buffers.
        origin: the sender, given back with the answers as `Message.request.origin`. A msg_id is its own: where
          another origin has a request with the same one, the kernel gets a new one.
        header: the first frame as it was read before; it is not looked into again then.
        Returns what is remembered of a request; None on stdin.
        Raises QueueFull, KernelDied, MalformedMessage if there is no msg_id, Forbidden if clients may not send it.
        """
        if header is None:
            header = RequestHeader.read(bytes(frames[0]))
        self.admission.check(channel, header)
        if channel == "stdin":
            self._send(channel, frames)
            return None
        if not header.msg_id:
            raise MalformedMessage("header has no msg_id")
        request = Request(header.msg_id, channel, header.msg_type, header.written or header.data, origin)
        if self.requests.give_free_id(request):
            frames = [with_msg_id(bytes(frames[0]), request.msg_id), *frames[1:]]
        self.requests.add(request)
        try:
            self._send(channel, frames)
        except FPSKernelsError:
            self.requests.discard(request)
            raise
        return request

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

        timeout_s: seconds to wait for the reply, including the wait for a kernel that is not ready.
        at_once: send the request even before the kernel is ready for others, instead of waiting for that.
        Raises KernelTimeout, KernelDied or KernelRestarted when the kernel died or was restarted before it replied,
        and whatever `send` raises.
        """
        header = make_header(msg_type, self.session)
        frames = [dump_json(header), EMPTY_DICT, EMPTY_DICT, dump_json(content or {})]
        request = Request(header["msg_id"], channel, msg_type, frames[0])
        request.reply_future = reply = asyncio.get_running_loop().create_future()
        self.requests.add(request)
        try:
            self._send(channel, frames, at_once=at_once)
            async with asyncio.timeout(timeout_s):
                message: Message = await reply
                return message
        except TimeoutError as exc:
            raise KernelTimeout(f"The kernel did not answer {msg_type} within {timeout_s:g} s") from exc
        finally:
            self.requests.discard(request)

    async def execute(
        self,
        code: str,
        on_message: Callable[[Message], None] | None = None,
        *,
        timeout_s: float | None,
        grace_s: float = EXECUTE_GRACE_S,
        late_s: float = EXECUTE_GRACE_S,
        at_once: bool = False,
        header: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Any = None,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: Mapping[str, str] | None = None,
        allow_stdin: bool = False,
        stop_on_error: bool = True,
    ) -> Message:
        """Run code and return the execute_reply, once all outputs have been given to `on_message`.

        Code that fails raises nothing: see the `status` of the reply.
        on_message: called with each message on iopub that the request causes, and with its input requests, until
          this returns. An input request is answered with `send("stdin", …)`. What it raises is logged.
        timeout_s: seconds until the kernel must have finished, including the wait for a kernel that is not ready;
          None for no limit. Code that is still running then goes on.
        grace_s: seconds to wait for the idle status after the reply; without it `Message.request.idle` is False.
        late_s: seconds to wait for the reply after the idle status.
        at_once: send the request even before the kernel is ready for others, instead of waiting for that.
        header: the request's header, from `make_header("execute_request", …)`, when the msg_id must be known
          beforehand or listeners are to see the answers. By default it is a request of the server's own.
        origin: as for `send`; None for the server's own code, which needs no permission. Observers do not hear of it.
        The other parameters are those of the Jupyter messaging protocol.
        Raises KernelTimeout, IdleWithoutReply, KernelDied or KernelRestarted when the kernel died or was restarted
        before it replied, and whatever `send` raises. When this is cancelled, the code goes on.
        """
        if origin is not None:
            self.admission.check_type("execute_request")
        content = {
            "code": code,
            "silent": silent,
            "store_history": store_history,
            "user_expressions": dict(user_expressions or {}),
            "allow_stdin": allow_stdin,
            "stop_on_error": stop_on_error,
        }
        header = header or make_header("execute_request", self.session)
        frames = [dump_json(header), EMPTY_DICT, dump_json(metadata or {}), dump_json(content)]
        request = Request(header["msg_id"], "shell", "execute_request", frames[0], origin)
        reply, idle = await_answer(request)
        request.on_message = on_message
        self.requests.add(request)
        self._receiver.executions[request.msg_id] = request
        try:
            self._send(request.channel, frames, at_once=at_once)
            # Bare futures, which a cancellation leaves alone: the kernel's answer may come at the same moment.
            await asyncio.wait([reply, idle], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not (reply.done() or idle.done()):
                raise KernelTimeout(f"The kernel did not answer execute_request within {timeout_s:g} s")
            return await complete_answer(request, grace_s, late_s)
        finally:
            self.requests.discard(request)
            self._receiver.executions.pop(request.msg_id, None)

    async def wait_ready(self) -> None:
        """Return once the kernel is ready (again). Unbounded: use a timeout."""
        await self._ready.wait()

    def make_frames(self, msg_type: str, content: dict[str, Any], parent_header: bytes = EMPTY_DICT) -> list[bytes]:
        """The frames of a message of the server's own that looks like the kernel's."""
        return make_frames(msg_type, content, self.kernel_session, parent_header)

    def add_batch_listener(self, callback: BatchCallback) -> None:
        """Have `callback(channel, messages)` called with what one drain of a channel brought, for the web side."""
        self._listeners.add_batch_callback(callback)

    def add_state_listener(self, callback: Callable[[], None]) -> None:
        """Have `callback()` called whenever the state may have changed for another reason than the kernel's word."""
        self._listeners.add_state_callback(callback)

    def _send(self, channel: str, frames: Sequence[Buffer], *, at_once: bool = False) -> None:
        """Send a message, or queue it until the kernel is ready. Raises KernelDied, KernelNotConnected, QueueFull."""
        if self.state.execution_state is ExecutionState.DEAD:
            raise KernelDied(f"The kernel is dead: {self.state.reason or 'unknown reason'}")
        if at_once or self._ready.is_set():
            self.send_now(channel, frames)
            return
        self._queue.put(channel, frames)

    def send_now(self, channel: str, frames: Sequence[Buffer]) -> None:
        """Send at once, without expecting an answer. Raises KernelNotConnected, QueueFull."""
        self._connected().send(channel, frames)

    def ask_now(self, channel: str, msg_type: str, content: dict[str, Any] | None = None) -> None:
        """Send a request of the server's own like `send_now`. Listeners do not hear the answer."""
        self._connected().ask(channel, msg_type, content)

    def _connected(self) -> Link:
        if self._link is None:
            raise KernelNotConnected("The kernel is not connected")
        return self._link

    # What follows is for the driver.

    def connect(self, info: ConnectionInfo) -> None:
        """Connect to a (new) process. Raises KernelNotConnected."""
        self.disconnect()
        self.generation += 1
        self._link = Link(self._context, info, self.session, self._receiver.on_batch, self._open_channels)
        if self._heartbeat_options.interval_s:
            heartbeat = Heartbeat(self.kernel_id, self.state, self._context, info, self._heartbeat_options)
            self._heartbeats.start(heartbeat.run(), name=f"heartbeat {self.kernel_id}")

    def disconnect(self) -> None:
        """Close the sockets; nothing that was not sent reaches the next process. Listeners stay."""
        self._ready.clear()
        link, self._link = self._link, None
        if link is not None:
            link.close()
        for heartbeat in self._heartbeats:
            heartbeat.cancel()
        self.state.unresponsive = None

    def mute(self) -> None:
        """Deliver nothing more from this process: its requests were answered in its place. It can be asked to end."""
        if self._link is not None:
            self._link.muted = True

    async def handshake(
        self,
        timeout_s: float,
        *,
        ask_control: bool = False,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Wait until the kernel is ready, see handshake.py, and send it what waited for that.

        timeout_s: seconds until the kernel must be ready, `prepare` not included.
        ask_control: whether to ask on control as well: a kernel that runs a cell does not answer on shell.
        prepare: awaited when the kernel answers, before others can ask it anything.
        Raises KernelTimeout, KernelNotConnected.
        """
        link = self._connected()
        await link.shake_hands(self.kernel_id, timeout_s, ask_control=ask_control)
        if prepare is not None:
            await prepare()
        link.assumed_busy = not link.shell_answers
        self.state.change(ExecutionState.BUSY if link.assumed_busy else ExecutionState.IDLE)
        self._ready.set()
        for channel, frames in self._queue.take_all():
            self.send_now(channel, frames)
        self._listeners.on_state()  # what listeners send now comes after what waited

    def set_state(self, state: ExecutionState, reason: str | None = None) -> None:
        """Change the state, for the owner of the kernel's process. Raises InvalidTransition."""
        if state not in READY:
            self._ready.clear()
        self.state.change(state, reason)
        self._listeners.on_state()

    def fail_requests(self, error: Exception, *, only_cells: bool = False) -> list[Request]:
        """Forget all requests, because the kernel will not answer them, and all that waits to be sent.

        only_cells: forget only what clients want to run, of a kernel that is not ready yet.
        Those that are awaited fail with `error`. Returns those that have an origin, oldest first.
        """
        failed = self.requests.clear_cells() if only_cells else self.requests.clear()
        self._queue.drop({request.msg_id for request in failed} if only_cells else None)
        for request in failed:
            request.fail(error)
        return [request for request in failed if request.reply_future is None or request.origin is not None]

    async def close(self) -> None:
        """Close the sockets and remove all listeners, for good."""
        self.disconnect()
        await self._listeners.close()
        await self._heartbeats.close()
