"""The channels to a kernel whose sockets are a keeper's: `Channels`, as for those that are ours."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import KernelNotConnected
from ..keeper.keeper_wire import Batch, largest_part
from ..kernel_driver.channels import TALKING, OnBatch
from ..kernel_driver.connection_file import ConnectionInfo
from ..kernel_driver.header import Buffer
from .keeper_client import KeeperClient

logger = logging.getLogger(__name__)


class RecordListener:
    """Who is told of the record of a kernel, beside what its messages say. It does nothing; derive from it.

    All of it is told in the order of the record. `position` is the number of the first message that is told next, in
    the call of a listener of the client, too.
    """

    position = 0

    def describe(self, channel: str, frames: Sequence[Buffer]) -> bytes:
        """A note to be kept with a message that is sent: what another server must know of it. May be empty."""
        return b""

    def on_messages(self, channel: str, messages: list[list[bytes]]) -> list[list[bytes]]:
        """The kernel has said something, from the number `position` on; returns what the client is to hear of it."""
        return messages

    def on_sent(self, channel: str, note: bytes, header: bytes, parent_header: bytes) -> None:
        """Another server has sent a message to the kernel."""

    def on_mark(self, note: bytes) -> None:
        """A server, perhaps this one, has left a mark."""

    def on_gap(self, messages: int | None) -> None:
        """So many messages are missing; None if that is not known, as the keeper was another program."""

    def on_full(self) -> None:
        """The keeper has a lot, and asks what of it can be forgotten."""

    def on_told(self) -> None:
        """All of it up to `position` has been told."""


class KeptChannels:
    """The channels.

    keeper: the connection to the keeper.
    kernel_id, generation, handle: what the keeper calls the process.
    info, identity: what it connects to the process with.
    on_batch: called with what arrives.
    listener: told of all the rest.
    from_seq: the number in the record from which on everything is told, of sockets that are open; None to open them.

    next_seq: the number of the message that is to come next.
    """

    def __init__(
        self,
        keeper: KeeperClient,
        kernel_id: str,
        generation: int,
        handle: int,
        info: ConnectionInfo,
        identity: bytes,
        on_batch: OnBatch,
        listener: RecordListener,
        from_seq: int | None = None,
    ) -> None:
        """Raises KernelNotConnected, QueueFull."""
        self.next_seq = from_seq or 0
        self._keeper = keeper
        self._name = {"kernel": kernel_id, "generation": generation}
        self._handle = handle
        self._info = info
        self._identity = identity
        self._on_batch = on_batch
        self._listener = listener
        self._live = False  # what comes before the keeper's answer is about the process before
        self._closed = False
        self._stdin = False
        self._large: deque[Sequence[Buffer]] = deque()  # what the keeper has, and the kernel's system has not taken
        if from_seq is None:
            self._hold()
        else:
            self._attach()

    def _hold(self) -> None:
        info, identity = info_dict(self._info), self._identity.decode()
        self._keeper.ask("hold", self._on_held, info=info, identity=identity, **self._name)

    def _attach(self) -> None:
        self._keeper.ask("attach", self._on_attached, **self._name, **{"from": self.next_seq})

    def _begin(self, answer: Mapping[str, Any]) -> None:
        if "error" in answer:
            logger.warning("kernel %s is not connected: %s", self._name["kernel"], answer["error"])
            self._closed = True
        elif not answer.get("lost"):  # else it is asked again when the connection is back
            self._live = True
            self._stdin = bool(answer.get("stdin"))

    def _on_attached(self, answer: Mapping[str, Any]) -> None:
        if answer.get("connected") is False:  # the call before this one was lost with the connection
            self._hold()
        else:
            self._begin(answer)

    def _on_held(self, answer: Mapping[str, Any]) -> None:
        self.next_seq = max(self.next_seq, int(answer.get("next_seq", 0)))
        self._begin(answer)

    def resume(self, handle: int, *, same: bool) -> None:
        """The keeper is connected again; it is the same, or it knows nothing of the sockets."""
        self._live = False
        self._large.clear()
        self._handle = handle
        if self._closed:
            return
        if same:
            self._attach()
        else:
            self._stdin = False
            self._hold()

    def take(self, batch: Batch) -> None:
        """What has passed between the kernel and its servers."""
        first, channel, messages = batch
        if not self._live or self._closed:
            return
        if first >= self.next_seq:
            self.next_seq = first + len(messages)
        elif channel != "sent":  # a request of before, whose answer may yet come, is told all the same
            messages = messages[self.next_seq - first :]
            self.next_seq += len(messages)
        listener = self._listener
        listener.position = self.next_seq - len(messages)
        if channel == "sent":
            self._on_sent(messages)
        elif channel == "mark":
            for _, note in messages:
                listener.on_mark(note)
        elif messages and (messages := listener.on_messages(channel, messages)):
            self._on_batch(channel, messages)
        listener.position = self.next_seq
        listener.on_told()

    def _on_sent(self, messages: list[list[bytes]]) -> None:
        for channel, sender, note, header, parent_header in messages:
            if sender != self._keeper.server_id.encode():
                self._listener.on_sent(channel.decode(), note, header, parent_header)

    def on_event(self, event: Mapping[str, Any]) -> None:
        """What has happened to the connections."""
        match event.get("event"):
            case "stdin":
                self._stdin = bool(event.get("connected"))
            case "gap":
                messages = event.get("messages")  # None: its keeper was replaced while it was busy
                number = "some" if messages is None else messages
                logger.warning("%s messages of kernel %s are missing", number, self._name["kernel"])
                self._listener.on_gap(messages)
            case "full":
                self._listener.on_full()
            case "taken" if event["messages"] is None:
                self._large.clear()
            case "taken":
                if self._large:
                    self._large.popleft()
            case "not_sent":
                logger.warning("a message did not reach kernel %s: %s", self._name["kernel"], event.get("reason"))

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the keeper could not connect."""
        return self._closed

    def connected(self, channel: str) -> bool:
        """Whether stdin is connected, as far as is known; of others that is not known."""
        return channel == "stdin" and self._stdin and not self._closed

    def send(self, channel: str, frames: Sequence[Buffer]) -> None:
        """Send a message. Raises QueueFull when too much waits for the keeper, KernelNotConnected after `close`."""
        if self._closed:
            raise KernelNotConnected("the connection to the kernel is closed")
        if channel not in TALKING:
            raise ValueError(channel)
        # Delimiter and signature are not what a note is about.
        self._keeper.send(self._handle, channel, self._listener.describe(channel, frames[2:]), frames)
        if largest_part(frames) is not None:
            self._large.append(frames)  # so that it counts, and its client waits, as long as the keeper has it

    def mark(self, note: bytes) -> None:
        """Leave a note in the record, for the servers that read it. Raises QueueFull, KernelNotConnected."""
        self._keeper.send(self._handle, "mark", note, [])

    def reopen(self, channel: str) -> None:
        """Have one channel reconnected."""
        if channel == "stdin":
            self._stdin = False
        self._keeper.tell("reopen", channel=channel, **self._name)

    def reopen_lost(self) -> None:
        """Have shell and control reconnected if their connection has failed for good."""
        self._keeper.tell("reopen", **self._name)

    def close(self) -> None:
        """Close all channels. After `KeeperClient.leave`, they stay open at the keeper."""
        self._large.clear()
        if not self._closed:
            self._closed = True
            self._keeper.tell("let_go", **self._name)


def info_dict(info: ConnectionInfo) -> dict[str, Any]:
    """What a keeper needs of a connection file: where the kernel listens, and no key for signatures."""
    keys = {
        "curve_publickey": info.curve_publickey.decode() if info.curve_publickey else None,
        "curve_secretkey": info.curve_secretkey.decode() if info.curve_secretkey else None,
    }
    ports = {f"{channel}_port": port for channel, port in info.ports.items()}
    return {"transport": info.transport, "ip": info.ip, **ports, **{name: key for name, key in keys.items() if key}}
