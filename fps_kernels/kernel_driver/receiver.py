"""From the frames that a kernel's sockets bring to messages, and to those they are for: the hot path.

All of it is plain calls on the loop: no task, no await and no copy per message.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from typing import Any

from ..errors import BadSignature, MalformedMessage
from .link import Link
from .listener import Listeners
from .message import PROTOCOL_VERSION, Message, ParentHeader, peek_session, split_frames
from .message_form import FormReader
from .request_log import Request, RequestLog
from .state import READY, ExecutionState, KernelState
from .traceback_filter import TracebackFilter

logger = logging.getLogger(__name__)

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
"""The two ways in which nearly all kernels write a status: 0.1 µs to look it up, 7 to parse it."""

MAX_COMPLAINTS = 100
"""Different things wrong with messages that are counted apart; a kernel could invent any number."""


class Receiver:
    """Reads what comes from a kernel, over all its links, and gives it to requests, executions and listeners.

    kernel_session: the client session in the kernel's headers; ours before the kernel has said anything.
    kernel_info: the content of the kernel's last kernel_info_reply.
    rejected: the number of messages that were dropped because they were malformed or wrongly signed.
    executions: by msg_id, the requests whose messages `KernelClient.execute` waits for.
    traceback_filter: takes errors out of messages; None to leave them there.
    """

    def __init__(
        self,
        kernel_id: str,
        session: str,
        state: KernelState,
        requests: RequestLog,
        listeners: Listeners,
        *,
        verify: bool,
    ) -> None:
        self.kernel_info: dict[str, Any] = {}
        self.rejected = 0
        self.executions: dict[str, Request] = {}
        self.traceback_filter: TracebackFilter | None = None
        self._kernel_id = kernel_id
        self._own_session = session.encode()
        self._state = state
        self._requests = requests
        self._listeners = listeners
        self._verify = verify
        self._forms = FormReader(lambda channel, what: self._complain("repaired", channel, what))
        self._forms.kernel_session = session
        self._complaints: Counter[tuple[str, str, str]] = Counter()
        self._active = False  # whether the batch that is being read has any activity in it
        self._misleading = False  # whether clients may take another state from it than the kernel's
        self._cause = _Cause(ParentHeader(), own=False, tracked=True)

    @property
    def kernel_session(self) -> str:
        return self._forms.kernel_session

    def on_batch(self, link: Link, channel: str, batch: list[list[bytes]]) -> None:
        """Take what one drain of a channel brought. A message that is malformed is dropped alone."""
        if link.muted:
            return
        handle = self._on_iopub if channel == "iopub" else self._on_reply
        messages = []
        for received in batch:
            try:
                signature, frames = split_frames(received)
                if self._verify:
                    link.signer.verify(signature, frames)
                message = self._forms.read(channel, frames)
                if self.traceback_filter is not None and self._state.ready:  # before that, it is the operator's code
                    self.traceback_filter.apply(message)
            except (BadSignature, MalformedMessage) as exc:
                self.rejected += 1
                self._complain("dropped", channel, exc.message)
                continue
            if handle(link, message):
                messages.append(message)
        if self._active:
            self._active = False
            if self._state.ready:
                self._state.touch()
        if messages:
            self._listeners.deliver(channel, messages)
        if self._misleading:
            self._misleading = False
            self._listeners.on_state()

    def _complain(self, what: str, channel: str, reason: str) -> None:
        """Log what was wrong with a message.

        A kernel gone mad must not fill the disk with log lines: one for each power of two of each reason.
        """
        key = (what, channel, reason)
        if key not in self._complaints and len(self._complaints) >= MAX_COMPLAINTS:
            key = (what, channel, "for more reasons")
        self._complaints[key] += 1
        number = self._complaints[key]
        if not number & (number - 1):
            logger.warning(
                "kernel %s: %s a message on %s (%d so far): %s", self._kernel_id, what, channel, number, reason
            )

    def _on_iopub(self, link: Link, message: Message) -> bool:
        """Returns whether the message is for listeners."""
        if not link.published:
            link.published = True
            link.progress.set()
        if not link.heard:
            self._on_first(link, message.frames)
        request = self._give_to_execution(message) if self.executions else None
        cause = self._cause if self._cause.parent is message.parent else self._new_cause(message)
        msg_type = message.msg_type
        if cause.own:  # caused by a request of ours
            if request is not None:
                self._active = True
                if msg_type == "status" and _state_of(message) is ExecutionState.IDLE:
                    self._requests.on_idle(request)
            return False
        if msg_type == "status":
            self._on_status(link, message, tracked=cause.tracked)
        elif msg_type == "iopub_welcome":
            return False
        elif (
            cause.tracked or msg_type not in self._state.untracked or self._state.execution_state is ExecutionState.BUSY
        ):
            self._active = True
        return True

    def _new_cause(self, message: Message) -> _Cause:
        """What is to be known of the request that caused a message; all messages of one cell have the same."""
        parent, untracked = message.parent, self._state.untracked
        if parent.msg_id:
            self._state.names_causes = True
        own = self._own_session in message.frames[1]
        if parent.msg_type:
            self._cause = _Cause(parent, own=own, tracked=parent.msg_type not in untracked)
            return self._cause
        request = self._requests.get(parent.msg_id)
        running = self._requests if request is None else [request]
        tracked = not running or any(one.msg_type not in untracked for one in running)
        return _Cause(parent, own=own, tracked=tracked)

    def _on_status(self, link: Link, message: Message, *, tracked: bool) -> None:
        """A status: of activity, unless it is caused by what is none, as a question of an open tab."""
        state = _state_of(message)
        if state is None:
            return  # not a state we know; clients may
        parent = message.parent
        request = self._requests.get(parent.msg_id)
        if state is ExecutionState.IDLE:
            if request is not None:
                self._requests.on_idle(request)
            elif not parent.msg_id:
                self._requests.on_idle_of_replied()
        elif request is not None:
            request.begun = True
        if state is ExecutionState.STARTING and self._state.ready:
            # ipykernel says so in a thread of its own, which its answers may overtake.
            self._misleading = True
        if state not in READY or not _is_of_main_shell(parent, request):
            return
        if tracked:
            link.assumed_busy = False
            self._state.on_kernel_status(state)
        elif (state, self._state.execution_state) == (ExecutionState.IDLE, ExecutionState.BUSY) and request is not None:
            # The shell has come to it, so that no cell runs any more, whose idle was lost. JupyterLab takes no state
            # from the answer to such a request.
            link.assumed_busy = False
            self._state.change(state)
            self._misleading = True

    def _on_reply(self, link: Link, message: Message) -> bool:
        """A message on shell, control or stdin. Returns whether it is for listeners."""
        if not link.heard:
            self._on_first(link, message.frames)
        own = self._own_session in message.frames[1]
        if not own and message.msg_type == "kernel_info_reply" and not link.replied:
            # Nobody else has asked yet, whatever the kernel says of who did; unless an earlier server has passed it on.
            own = self._requests.get(message.parent.msg_id) is None
        if not own and not message.parent.msg_id:
            self._find_parent(message)
            own = self._own_session in message.frames[1]
        if own and message.msg_type == "kernel_info_reply":
            self._on_kernel_info(link, message)
        message.request = request = self._requests.get(message.parent.msg_id)
        if message.channel == "stdin":
            if self.executions:
                self._give_to_execution(message)
        elif request is not None:
            self._requests.on_reply(request, message)
        return not own

    def _find_parent(self, message: Message) -> None:
        """Give a reply without a parent header that of the request which it must be for.

        A kernel answers the requests on a channel one after the other, so that is the oldest one.
        """
        asks = "execute_request" if message.channel == "stdin" else message.msg_type.removesuffix("_reply") + "_request"
        request = self._requests.oldest_unanswered("shell" if message.channel == "stdin" else message.channel, asks)
        if request is None:
            self._complain("passed on", message.channel, f"a {message.msg_type[:100]} that answers no request")
            return
        parent = ParentHeader(request.msg_id, request.msg_type, peek_session(request.header))
        message.set_parent(request.header, parent)
        self._complain("repaired", message.channel, f"a {message.msg_type[:100]} without a parent_header")

    def _on_first(self, link: Link, frames: list[bytes]) -> None:
        """The first message over a link: until then the session of the process before stays the kernel's."""
        self._forms.kernel_session = peek_session(frames[0]) or self.kernel_session
        link.heard = True

    def _on_kernel_info(self, link: Link, message: Message) -> None:
        """The answer to a question of our own, most likely of the handshake."""
        if not link.replied:
            self.kernel_info = message.content
            self._forms.version = _version_of(self.kernel_info)
            link.replied = True
            link.progress.set()
        if message.channel == "shell":
            link.shell_answers = True
            if link.assumed_busy:  # control was only faster, or the cell has ended
                link.assumed_busy = False
                self._state.on_kernel_status(ExecutionState.IDLE)
                self._listeners.on_state()

    def _give_to_execution(self, message: Message) -> Request | None:
        """Give a message to the `execute` that caused it; returns its request, None when there is none.

        A message that does not say what caused it is given to the only one that there is, of a kernel that never says
        so. With all others it is the word of a thread of its own, or what was said as the kernel started.
        """
        msg_id = message.parent.msg_id
        request = self.executions.get(msg_id)
        if request is not None and message.channel == "iopub":
            request.begun = True
        elif not msg_id and len(self.executions) == 1:
            only = next(iter(self.executions.values()))
            request = None if self._state.names_causes else only
        if request is not None and request.on_message is not None:
            try:
                request.on_message(message)
            except Exception:  # the fault of a callback must not reach the kernel's other listeners
                logger.exception("a callback of an execution failed")
        return request


class _Cause:
    """What is known of the request that caused a message.

    own: whether it is one of the server's own. tracked: whether it is activity.
    """

    __slots__ = ("own", "parent", "tracked")

    def __init__(self, parent: ParentHeader, *, own: bool, tracked: bool) -> None:
        self.parent = parent
        self.own = own
        self.tracked = tracked


def _state_of(message: Message) -> ExecutionState | None:
    """The execution state that a status message announces; None when it is not one we know."""
    state = _STATES.get(message.frames[3])
    if state is None:
        with contextlib.suppress(ValueError):
            state = ExecutionState(str(message.content.get("execution_state")))
    return state


def _is_of_main_shell(parent: ParentHeader, request: Request | None) -> bool:
    """Whether a status is about the cell that runs, not about a request on control or in a subshell."""
    if parent.subshell_id:
        return False
    if request is not None:
        return request.channel == "shell"
    return parent.msg_type not in CONTROL_TYPES


def _version_of(kernel_info: dict[str, Any]) -> str:
    """The version for headers that have none, as those of version 4 of the message spec: "" for these."""
    version = kernel_info.get("protocol_version")
    if isinstance(version, str):
        return version if version.split(".")[0].isdecimal() and int(version.split(".")[0]) >= 5 else ""
    return "" if isinstance(version, list) else PROTOCOL_VERSION
