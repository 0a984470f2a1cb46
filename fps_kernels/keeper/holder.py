"""One kernel that a keeper holds: its process, its sockets, the record of what passes, and who is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import zmq

from ..descriptors import DESCRIPTORS, need_descriptors
from ..errors import FPSKernelsError, KernelNotConnected, MalformedMessage
from ..kernel_driver.channels import ZMQChannels
from ..kernel_driver.connection_file import ConnectionInfo
from ..kernel_driver.header import Buffer
from ..kernel_driver.turns import Turns
from .child import Child, ExitReport
from .keeper_wire import TooLarge
from .record import Record, RecordBounds, Stored, parts

logger = logging.getLogger(__name__)

Prepare = Callable[[zmq.Socket[bytes]], None]

STDIN_LOOK_S = 0.01
"""First interval between two looks whether stdin is connected, which nothing tells; doubled up to the longest."""
STDIN_LOOK_MAX_S = 0.64
FULL_BYTES = 8 * 1024 * 1024
"""Each time that the record has grown by so much, servers are asked what can be forgotten; they tell every few hundred
messages, which may be large."""


class StaleGeneration(FPSKernelsError):
    """A call is about a process of the kernel that was replaced by another."""


class Attached(Protocol):
    """A server that is told what passes.

    sender: the server's id.
    """

    @property
    def sender(self) -> bytes | None: ...

    @property
    def lags(self) -> bool:
        """Whether it has not been told all."""

    @property
    def may_catch_up(self) -> bool:
        """Whether it lags, but not for long: what it has not been told is not to be dropped yet."""

    def push(self, stored: Stored) -> None:
        """Something was added to the record."""

    def end(self) -> None:
        """The kernel is held no longer."""

    def tell(self, event: Mapping[str, Any]) -> None:
        """Something has happened."""


# Large: what happens to a kernel comes together here; its parts are in record.py and child.py.
class Holder:
    """A kernel that is held.

    handle: its number in frames.
    context, turns: what the sockets of all kernels share.

    generation: the number of its process, which no other process of the keeper has; 0 before the first.
    alias: another handle of it, of a process that was another kernel's before; None without one.
    facts: what servers have told about it, for those that come later.
    attached: who is told what passes.
    report: how the process ended, until a server has dealt with that.
    """

    def __init__(
        self,
        kernel_id: str,
        handle: int,
        context: zmq.Context[zmq.Socket[bytes]],
        turns: Turns,
        bounds: RecordBounds | None = None,
        next_seq: int = 0,
    ) -> None:
        self.kernel_id = kernel_id
        self.handle = handle
        self.generation = 0
        self.alias: int | None = None
        self.record = Record(handle, bounds, next_seq)
        self.facts: dict[str, Any] = {}
        self.attached: set[Attached] = set()
        self.child: Child | None = None
        self.files: list[str] = []
        self._context = context
        self._turns = turns
        self._channels: ZMQChannels | None = None
        self._connection: tuple[Mapping[str, Any], bytes] = ({}, b"")  # what these are connected with
        self._stdin = False
        self._look: asyncio.TimerHandle | None = None
        self._launching = False
        self._full_bytes = FULL_BYTES

    @property
    def report(self) -> ExitReport | None:
        return self.child.report if self.child is not None else None

    @property
    def running(self) -> bool:
        """Whether the process runs, or is being launched."""
        return self._launching or (self.child is not None and self.child.report is None)

    def summary(self) -> dict[str, Any]:
        """What a server is told of the kernel."""
        child, record = self.child, self.record
        return {
            "kernel": self.kernel_id,
            "handle": self.handle,
            "generation": self.generation,
            "pid": child.pid if child is not None else None,
            "start_time": child.start_time if child is not None else "",
            "running": self.running,
            "exited": self.report.as_json() if self.report is not None else None,
            "connected": self._channels is not None,
            "stdin": self._stdin,
            "next_seq": record.next_seq,
            "seen": record.seen,
            "unfinished": record.unfinished,
            "bytes": record.size,
            "servers": len(self.attached),
            "facts": self.facts,
        }

    def tell(self, event: str, **more: Any) -> None:
        """Tell all servers of something."""
        for one in tuple(self.attached):
            one.tell({"event": event, "kernel": self.kernel_id, "generation": self.generation, **more})

    async def run(
        self,
        generation: int,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        stderr_path: Path,
        files: list[str],
    ) -> None:
        """Launch the next process. The one before must have ended. Raises OSError, ValueError."""
        need_descriptors(DESCRIPTORS)
        self._launching = True
        try:
            on_exit = self._exit_teller(generation)
            child = await Child.launch(command, env, cwd, stderr_path, on_exit, self._tell_lines)
        finally:
            self._launching = False
        self.let_go()
        self._forget_child()
        self.child, self.generation, self.files = child, generation, files

    def take_process(self, other: Holder, stderr_path: Path) -> None:
        """Have the process of another kernel, which is held no longer, as the next one. The one before has ended."""
        self.let_go()
        self._forget_child()
        other.let_go()
        self.generation, self.files, self.alias = other.generation, other.files, other.handle
        self.child, other.child = other.child, None
        if self.child is not None:
            self.child.hand_over(self._exit_teller(self.generation), self._tell_lines)
            self.child.rename_stderr(stderr_path)

    def adopt(self, pid: int, began: str, generation: int, files: list[str]) -> None:
        """Take over a process whose keeper has died. Raises ProcessLookupError when it is gone."""
        self.child = Child.adopt(pid, began, self._exit_teller(generation))
        self.generation, self.files = generation, files

    def _exit_teller(self, generation: int) -> Callable[[ExitReport], None]:
        """What tells servers how a process has ended, if no other has come since."""

        def on_exit(report: ExitReport) -> None:
            if generation == self.generation:
                self.tell("exited", exited=report.as_json())

        return on_exit

    def _tell_lines(self, lines: list[str]) -> None:
        self.tell("stderr", lines=lines)

    def check(self, generation: int) -> None:
        """Raise StaleGeneration if that is not the process that runs now."""
        if generation != self.generation:
            raise StaleGeneration(f"That is process {generation} of the kernel: {self.generation} has come since")

    def connect(self, info: Mapping[str, Any], identity: bytes, prepare: Prepare | None = None) -> None:
        """Connect to the process; connections to the one before are closed.

        info: as in its connection file. prepare: called with each socket before that connects.
        Raises InvalidConnection, KernelNotConnected.
        """
        where = ConnectionInfo.from_dict(info)
        self.let_go()
        self._channels = ZMQChannels(self._context, where, identity, self._on_batch, self._turns, prepare)
        self._connection = (info, identity)
        self._look_at_stdin(STDIN_LOOK_S)

    def let_go(self) -> None:
        """Close the connections."""
        channels, self._channels = self._channels, None
        self._stdin = False
        self._stop_looking()
        if channels is not None:
            channels.close()

    def _stop_looking(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _look_at_stdin(self, wait_s: float) -> None:
        """Tell servers when stdin is connected: they see nothing of the socket."""
        self._stop_looking()
        if self._channels is None:
            return
        if self._channels.connected("stdin"):
            self._stdin = True
            self.tell("stdin", connected=True)
        else:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(wait_s, self._look_at_stdin, min(2 * wait_s, STDIN_LOOK_MAX_S))

    def _on_batch(self, channel: str, messages: list[list[bytes]]) -> None:
        if not self._stdin:  # who hears an answer asks next whether stdin is connected
            self._look_at_stdin(STDIN_LOOK_S)
        for part in parts(messages):  # who has been told one may be behind before the next is kept
            self.record.awaited = any(one.may_catch_up for one in self.attached)
            for stored in self._fitting(channel, part):
                self._push(stored)
        if self.record.size > self._full_bytes:
            self._full_bytes = self.record.size + FULL_BYTES
            self.tell("full")

    def look_after(self) -> None:
        """What is to be done now and then. Blocks, for a moment."""
        if self.attached and not any(one.lags for one in self.attached):
            self.record.trim()
        if self.child is not None:
            self.child.look_at_stderr()

    def forget_before(self, seq: int) -> None:
        """A server has no need for what comes before `seq` any more, nor will the next one."""
        self.record.forget_before(seq)
        self._full_bytes = self.record.size + FULL_BYTES

    def _fitting(self, channel: str, messages: Sequence[Sequence[Buffer]]) -> list[Stored]:
        try:
            return [self.record.add(channel, messages)]
        except TooLarge as exc:
            if len(messages) == 1:
                logger.warning("kernel %s: a message on %s is dropped: %s", self.kernel_id, channel, exc)
                return []
        return [stored for message in messages for stored in self._fitting(channel, [message])]

    def _push(self, stored: Stored, *, but: bytes | None = None) -> None:
        """Tell servers what was added to the record, except the one that knows."""
        for one in tuple(self.attached):
            if one.sender != but:
                one.push(stored)

    def send(self, channel: str, sender: bytes, note: bytes, frames: Sequence[Buffer]) -> None:
        """Send a server's message to the kernel, or keep its mark. Raises FPSKernelsError."""
        if channel == "mark":
            self._push(self.record.add_mark(sender, note))
            return
        if self._channels is None:
            raise KernelNotConnected("The kernel is not connected")
        if channel not in ("shell", "control", "stdin"):
            raise MalformedMessage(f"nothing can be sent on {channel}")
        self._channels.send(channel, frames)
        self._push(self.record.add_sent(channel, sender, note, frames), but=sender)

    def reopen(self, channel: str) -> None:
        """Reconnect one channel. Raises KernelNotConnected."""
        if self._channels is not None:
            self._channels.reopen(channel)
            if channel == "stdin":
                self._stdin = False
                self.tell("stdin", connected=False)
                self._look_at_stdin(STDIN_LOOK_S)

    def reopen_lost(self) -> None:
        """Reconnect shell and control if their connection has failed for good. Raises KernelNotConnected."""
        if self._channels is not None:
            self._channels.reopen_lost()

    def rename(self, kernel_id: str, stderr_path: Path) -> None:
        """Make this another kernel, of which nothing has been said yet."""
        self.kernel_id = kernel_id
        self.record.clear()
        if self.child is not None:
            self.child.rename_stderr(stderr_path)

    def on_exit_seen(self) -> None:
        """A server has dealt with the end of the process, and removes its files."""
        if self.report is not None:
            self._forget_child()
            self.files = []

    def _forget_child(self) -> None:
        child, self.child = self.child, None
        self.record.finish_all()
        if child is not None:
            child.close()

    async def end(self, grace_s: float) -> None:
        """End the process, in bounded time, and remove the files that belong to it."""
        if self.child is not None:
            await self.child.end(grace_s)
            self.child.close(now=True)
        self.let_go()
        self.remove_files()

    def remove_files(self) -> None:
        """Remove the files that belong to the process, which has ended for good."""
        for path in self.files:
            with contextlib.suppress(OSError):
                os.unlink(path)

    @property
    def busy(self) -> bool:
        """Whether something is to come of the kernel, as far as a keeper can tell: requests have no answers."""
        return self._launching or (self.running and self.record.unfinished > 0)

    @property
    def launching(self) -> bool:
        """Whether a process is being launched."""
        return self._launching

    def leave(self, linger_ms: int) -> dict[str, Any]:
        """Close the connections, when all that has arrived is in the record; returns plain values for `resume`.

        linger_ms: how long libzmq may send what it has, when its context is terminated.
        """
        waiting = None
        if self._channels is not None:
            left = self._channels.take_all()
            waiting = {name: [list(map(bytes, frames)) for frames in messages] for name, messages in left.items()}
        state = {
            "kernel": self.kernel_id,
            "handle": self.handle,
            "generation": self.generation,
            "alias": self.alias,
            "facts": self.facts,
            "files": self.files,
            "child": self.child.state() if self.child is not None else None,
            "record": self.record.state(),
            "busy": self.busy,
            "connection": None if waiting is None else [*self._connection, waiting],
        }
        self._stop_looking()
        if self._channels is not None:
            self._channels.close(linger_ms)
        return state

    def resume(self, state: Mapping[str, Any], prepare: Prepare) -> None:
        """Go on with a kernel that another program has left. Raises FPSKernelsError, OSError, when it cannot be."""
        self.generation, self.facts, self.files = state["generation"], state["facts"], state["files"]
        self.alias = state["alias"]
        self.record = Record.resume(self.handle, state["record"])
        if state["child"] is not None:
            self.child = Child.resume(state["child"], self._exit_teller(self.generation), self._tell_lines)
        if state["connection"] is not None and self.running:
            info, identity, waiting = state["connection"]
            if not state["busy"]:
                # Many a kernel takes a known routing id for the old connection while it does not look at a socket, and
                # it looks at stdin when it asks. Only answers that are to come need the same one.
                identity = uuid.uuid4().hex.encode()
            self.connect(info, identity, prepare)
            assert self._channels is not None
            for channel, messages in waiting.items():
                for frames in messages:
                    self._channels.send(channel, frames)

    def close(self) -> None:
        """Let go of everything; a process that has not ended runs on."""
        self.let_go()
        if self.child is not None:
            self.child.close()

    def detach_all(self) -> None:
        """Tell nobody anything any more, and forget what has passed."""
        for one in tuple(self.attached):
            one.end()
        self.attached.clear()
        self.record.clear()
