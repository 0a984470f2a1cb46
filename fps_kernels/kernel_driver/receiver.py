"""From the frames that a kernel's sockets bring to messages, and to those they are for: the hot path.

All of it is plain calls on the loop: no task, no await and no copy per message.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from ..errors import BadSignature, MalformedMessage
from .link import Link
from .listener import Listeners
from .message import Message, peek_msg_type, peek_session, split_frames
from .request_log import Request, RequestLog
from .state import READY, ExecutionState, KernelState

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


class Receiver:
    """Reads what comes from a kernel, over all its links, and gives it to requests, executions and listeners.

    kernel_session: the client session in the kernel's headers; ours before the kernel has said anything.
    kernel_info: the content of the kernel's last kernel_info_reply.
    rejected: the number of messages that were dropped because they were malformed or wrongly signed.
    executions: by msg_id, the requests whose messages `KernelClient.execute` waits for.
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
        self.kernel_session = session
        self.kernel_info: dict[str, Any] = {}
        self.rejected = 0
        self.executions: dict[str, Request] = {}
        self._kernel_id = kernel_id
        self._own_session = session.encode()
        self._state = state
        self._requests = requests
        self._listeners = listeners
        self._verify = verify

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
                message = handle(link, channel, frames)
                if message is not None and not message.msg_type:
                    raise MalformedMessage("header has no msg_type")
            except (BadSignature, MalformedMessage) as exc:
                self.rejected += 1
                # A kernel gone mad must not fill the disk with log lines: one for each power of two.
                if not self.rejected & (self.rejected - 1):
                    logger.warning(
                        "kernel %s: dropped a message on %s (%d so far): %s",
                        self._kernel_id,
                        channel,
                        self.rejected,
                        exc,
                    )
                continue
            if message is not None:
                messages.append(message)
        if messages:
            self._listeners.deliver(channel, messages)

    def _on_iopub(self, link: Link, channel: str, frames: list[bytes]) -> Message | None:
        """Returns the message if it is for listeners."""
        if not link.published:
            link.published = True
            link.progress.set()
        message = Message(channel, frames)
        if not link.heard:
            self._on_first(link, frames)
        request = self._give_to_execution(message) if self.executions else None
        if self._own_session in frames[1]:  # caused by a request of ours
            if request is not None and message.msg_type == "status" and _state_of(message) is ExecutionState.IDLE:
                self._requests.on_idle(request)
            return None
        msg_type = message.msg_type
        if msg_type == "status":
            self._on_status(link, message)
        elif msg_type == "iopub_welcome":
            return None
        return message

    def _on_status(self, link: Link, message: Message) -> None:
        state = _state_of(message)
        if state is None:
            return  # not a state we know; clients may
        request = self._requests.get(message.parent_msg_id)
        if request is not None and state is ExecutionState.IDLE:
            self._requests.on_idle(request)
        if state in READY and _is_of_main_shell(message, request):
            link.assumed_busy = False
            self._state.on_kernel_status(state)

    def _on_reply(self, link: Link, channel: str, frames: list[bytes]) -> Message | None:
        """A message on shell, control or stdin. Returns it if it is for listeners."""
        message = Message(channel, frames)
        message.check_headers()
        if not link.heard:
            self._on_first(link, frames)
        own = self._own_session in frames[1]
        if own and message.msg_type == "kernel_info_reply":
            self._on_kernel_info(link, message)
        message.request = request = self._requests.get(message.parent_msg_id)
        if channel == "stdin":
            if self.executions:
                self._give_to_execution(message)
        elif request is not None:
            self._requests.on_reply(request, message)
        return None if own else message

    def _on_first(self, link: Link, frames: list[bytes]) -> None:
        """The first message over a link: until then the session of the process before stays the kernel's."""
        self.kernel_session = peek_session(frames[0]) or self.kernel_session
        link.heard = True

    def _on_kernel_info(self, link: Link, message: Message) -> None:
        """The answer to a question of our own, most likely of the handshake."""
        if not link.replied:
            self.kernel_info = message.content
            link.replied = True
            link.progress.set()
        if message.channel == "shell":
            link.shell_answers = True
            if link.assumed_busy:  # control was only faster, or the cell has ended
                link.assumed_busy = False
                self._state.on_kernel_status(ExecutionState.IDLE)
                self._listeners.on_state()

    def _give_to_execution(self, message: Message) -> Request | None:
        """Give a message to the `execute` that caused it; returns its request, None when there is none."""
        try:
            request = self.executions.get(message.parent_msg_id)
        except MalformedMessage:
            return None
        if request is not None and request.on_message is not None:
            try:
                request.on_message(message)
            except Exception:  # the fault of a callback must not reach the kernel's other listeners
                logger.exception("a callback of an execution failed")
        return request


def _state_of(message: Message) -> ExecutionState | None:
    """The execution state that a status message announces; None when it is not one we know."""
    state = _STATES.get(message.frames[3])
    if state is None:
        with contextlib.suppress(ValueError):
            state = ExecutionState(str(message.content.get("execution_state")))
    return state


def _is_of_main_shell(message: Message, request: Request | None) -> bool:
    """Whether a status is about the cell that runs, not about a request on control or in a subshell."""
    parent = message.frames[1]
    if b'"subshell_id"' in parent and message.parent_header.get("subshell_id"):
        return False
    if request is not None:
        return request.channel == "shell"
    return peek_msg_type(parent) not in CONTROL_TYPES
