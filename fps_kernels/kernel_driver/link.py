"""The connection to one process of a kernel."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import zmq

from ..errors import KernelNotConnected
from .channels import OpenChannels
from .connection_file import ConnectionInfo
from .handshake import Ask, Handshake, Ready, Reopen, ReopenLost, Wait
from .message import DELIMITER, Buffer, make_frames

logger = logging.getLogger(__name__)


class Link:
    """The connection to one process of a kernel, and what is known of that process.

    A new process gets a new link, so that nothing of the old one has to be reset.

    context: the ZMQ context for the sockets.
    info: where the process listens.
    session: the client session in the headers of our own requests.
    on_batch(link, channel, batch): called with the messages that one drain of a channel brought.
    open_channels: opens the sockets.

    signer: signs and verifies the messages.
    heard: whether anything has come from the process.
    replied: whether it has answered a kernel_info_request of ours.
    shell_answers: whether it has answered one on shell.
    published: whether anything has come on iopub.
    assumed_busy: whether it only answered on control, so that a cell is taken to be running.
    muted: whether what it still says is dropped, because its requests were answered in its place.
    progress: set when `replied` or `published` becomes True.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        info: ConnectionInfo,
        session: str,
        on_batch: Callable[[Link, str, list[list[bytes]]], None],
        open_channels: OpenChannels,
    ) -> None:
        """Open the sockets. Raises KernelNotConnected."""
        self.signer = info.signer()
        self.heard = self.replied = self.shell_answers = self.published = False
        self.assumed_busy = self.muted = False
        self.progress = asyncio.Event()
        self._session = session
        self._channels = open_channels(context, info, uuid.uuid4().hex.encode(), partial(on_batch, self))

    def send(self, channel: str, frames: Sequence[Buffer]) -> None:
        """Sign and send a message. Raises KernelNotConnected, QueueFull."""
        self._channels.send(channel, [DELIMITER, self.signer.sign(frames), *frames])

    def ask(self, channel: str, msg_type: str, content: dict[str, Any] | None = None) -> None:
        """Send a request of the server's own. Raises KernelNotConnected, QueueFull."""
        self.send(channel, make_frames(msg_type, content or {}, self._session))

    async def shake_hands(self, kernel_id: str, timeout_s: float, *, ask_control: bool) -> None:
        """Return when the kernel is ready, see handshake.py.

        Raises KernelTimeout after `timeout_s` seconds, KernelNotConnected when the link is closed meanwhile.
        """
        loop = asyncio.get_running_loop()
        handshake = Handshake(loop.time(), timeout_s, ask_control=ask_control)
        while True:
            if self._channels.closed:
                raise KernelNotConnected("The kernel is not connected")
            self.progress.clear()
            stdin = self._channels.connected("stdin")
            match handshake.next(loop.time(), replied=self.replied, published=self.published, stdin=stdin):
                case Ask(channel):
                    self.ask(channel, "kernel_info_request")
                case ReopenLost():
                    self._channels.reopen_lost()
                case Reopen(channel):
                    self._channels.reopen(channel)
                case Wait(seconds):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(seconds):
                            await self.progress.wait()
                case Ready(iopub):
                    if not iopub:
                        logger.warning("kernel %s answers, but nothing is heard on iopub", kernel_id)
                    return

    def close(self) -> None:
        """Close the sockets; what was not sent is dropped. May be called twice."""
        self._channels.close()
