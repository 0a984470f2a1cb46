"""The connection of one server to a keeper: what it asks, and what it is told.

A server that reads too slowly makes nothing grow here. When more than WRITE_HIGH_BYTES wait for it, it is told nothing
of what passes until it has read most of that; then it is given what it has missed from the record, and is told if
something of that was dropped.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import time
import weakref
from collections.abc import Mapping
from typing import Any, cast

from .. import __version__
from ..errors import FPSKernelsError
from ..tasks import TaskSet
from .attachment import Attachment
from .holder import Holder
from .holdings import BadCall, Holdings
from .keeper_calls import CALLS, Answer, Control, field
from .keeper_wire import (
    CALL,
    EVENT,
    OLDEST,
    PING,
    PONG,
    PROTOCOL,
    SEND,
    BadFrame,
    Frame,
    FrameReader,
    TooLarge,
    common_protocol,
    decode_json,
    decode_send,
    encode,
    encode_json,
    largest_part,
    spoken,
)
from .peer import is_own
from .record import Stored

logger = logging.getLogger(__name__)

MAX_SERVERS = 64
"""Connections that a keeper has at once. A server has one."""
PING_INTERVAL_S = 2.0
SILENCE_S = 10.0
"""Seconds of silence after which the other side counts as dead."""
WRITE_HIGH_BYTES = 8 * 1024 * 1024
"""What may wait for a server before it is told nothing more of what passes, and when it is told again."""
WRITE_LOW_BYTES = 2 * 1024 * 1024
EVENT_BYTES = 64 * 1024 * 1024
"""What may wait for a server that does not read, with events, before its connection is given up."""


# Large: what one server says and is told comes together here; how far it was told is in attachment.py.
class ServerConnection(asyncio.Protocol):
    """A server's connection.

    holdings: the kernels. uuid: this keeper's. keeper: what can be done to it.
    state: of a connection that the program before has left, see `state`.
    """

    def __init__(self, holdings: Holdings, uuid: str, keeper: Control, state: Mapping[str, Any] | None = None) -> None:
        self.holdings = holdings
        self.keeper = keeper
        self._uuid = uuid
        self.sender: bytes | None = None  # the server's id, once it has said hello
        self.protocol = PROTOCOL  # the version that both sides speak, from then on
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._attachments: dict[int, Attachment] = {}
        self._tasks = TaskSet()
        self._heard_at = self._looked_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.paused = False
        if state is not None:
            self.sender, self.protocol = state["sender"], state["protocol"]
            list(self._reader.feed(state["rest"]))  # of a frame whose end is to come
            for handle, seq, told in state["attachments"]:
                if (holder := holdings.by_handle(handle)) is not None:
                    self._attachments[handle] = attachment = Attachment(self, holder, seq, tuple(told))
                    holder.attached.add(attachment)

    @property
    def open(self) -> bool:
        """Whether the connection is there."""
        return self._transport is not None

    @property
    def waiting_bytes(self) -> int:
        """What was written and is not the system's yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    @property
    def launching(self) -> bool:
        """Whether calls are under way, besides one that waits for the end of all others."""
        return len(self._tasks) > sum(task.get_name() == "call restart" for task in self._tasks)

    def freeze(self) -> None:
        """Read nothing, and tell nothing of what passes, from now on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        for attachment in self._attachments.values():
            attachment.fall_behind()

    def thaw(self) -> None:
        """Undo `freeze`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self.go_on()

    def go_on(self) -> None:
        """Tell what was missed."""
        for attachment in tuple(self._attachments.values()):
            attachment.go_on()

    def drop(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def state(self) -> dict[str, Any] | None:
        """What the next program needs to go on with the connection, and its descriptor; None if it has none."""
        if self._transport is None or self._transport.is_closing() or self.sender is None:
            return None
        return {
            "descriptor": os.dup(self._transport.get_extra_info("socket").fileno()),
            "sender": self.sender,
            "protocol": self.protocol,
            "rest": self._reader.rest,
            "attachments": [attachment.state() for attachment in self._attachments.values()],
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it
        self._transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        if not is_own(transport.get_extra_info("socket")):
            logger.warning("a process of another user is refused")
            self._close("this keeper is another user's")
            return
        if self.holdings.servers >= MAX_SERVERS:
            self._close(f"{MAX_SERVERS} servers are connected already")
            return
        self.holdings.servers += 1
        self._timer = self._loop.call_later(PING_INTERVAL_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self.holdings.servers -= 1
            self.holdings.alone_since = time.monotonic()
        for attachment in self._attachments.values():
            attachment.holder.attached.discard(attachment)
        self._attachments.clear()
        if self.sender is not None:
            logger.info("server %s is gone", self.sender.decode())

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            for frame in self._reader.feed(data):
                if self._transport is None or self._transport.is_closing():
                    return
                self._on_frame(frame)
        except FPSKernelsError as exc:  # what is wrong with one message is answered where it is handled
            logger.warning("the connection of a server is closed: %s", exc)
            self._close(exc.message)
        except Exception:
            logger.exception("a server's frame failed")
            self._close("the keeper failed")

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind == SEND and self.sender is not None:
            self._on_send(frame, self.sender)
        elif frame.kind == CALL:
            self._on_call(decode_json(frame))
        elif frame.kind == PING:
            self._write(encode(PONG))
        elif frame.kind != PONG:
            raise BadFrame(f"a frame of kind {frame.kind}, which servers do not send")

    def _on_send(self, frame: Frame, sender: bytes) -> None:
        channel, note, frames = decode_send(frame)
        holder = self.holdings.by_handle(frame.handle)
        try:
            if holder is None:
                raise BadCall("no such kernel")
            if (index := largest_part(frames)) is not None:
                frames[index] = part = memoryview(frames[index])
                weakref.finalize(part, self._taken_soon, holder.kernel_id, holder.generation).atexit = False
                del part
            holder.send(channel, sender, note, frames)
        except BadFrame:
            raise
        except FPSKernelsError as exc:
            kernel_id = holder.kernel_id if holder is not None else ""
            self.tell({"event": "not_sent", "kernel": kernel_id, "channel": channel, "reason": exc.message})

    def _taken_soon(self, kernel_id: str, generation: int) -> None:
        """A large message was taken by the kernel's system, or dropped. Called in libzmq's thread, too."""
        if not self._loop.is_closed():
            taken = {"event": "taken", "kernel": kernel_id, "generation": generation, "messages": 1}
            self._loop.call_soon_threadsafe(self.tell, taken)

    def tell_all_taken(self) -> None:
        """The program before has had large messages, of which nobody can tell any more what becomes of them."""
        for attachment in self._attachments.values():
            self.tell({"event": "taken", "kernel": attachment.holder.kernel_id, "messages": None})

    def _on_call(self, call: dict[str, Any]) -> None:
        do, number = call.get("do"), call.get("id")
        if self.sender is None:
            if do != "hello":
                raise BadFrame("a server must say hello first")
            self._on_hello(call)
            return
        try:
            function = CALLS.get(do) if isinstance(do, str) else None
            if function is None:
                raise BadCall(f"unknown call: {str(do)[:100]}")
            result = function(self, call)
            if inspect.isawaitable(result):
                self._tasks.start(self._finish(number, result), name=f"call {do}")
            else:
                self._answer(number, result)
        except (OSError, ValueError, FPSKernelsError) as exc:
            self._answer(number, refusal(exc))

    async def _finish(self, number: object, result: Any) -> None:
        try:
            self._answer(number, await result)
        except (OSError, ValueError, FPSKernelsError) as exc:
            self._answer(number, refusal(exc))

    def _on_hello(self, call: dict[str, Any]) -> None:
        mine = {"version": __version__, "uuid": self._uuid, "pid": os.getpid()}
        sender = field(call, "server", str)
        protocol = common_protocol(call.get("protocol"), call.get("oldest"))
        if protocol is None:
            held = len(self.holdings)
            kernels = "1 kernel" if held == 1 else f"{held} kernels"
            reason = f"The keeper that runs is of {__version__}, holds {kernels}, and has {spoken()}"
            refused = {"error": reason, "protocol": PROTOCOL, "oldest": OLDEST, "kernels": held}
            self._write(encode_json(EVENT, {"event": "answer", "id": call.get("id"), **refused, **mine}))
            self._close(reason)
            return
        self.protocol = protocol
        self.holdings.visited = True
        self.sender = sender[:100].encode("ascii", "replace")
        logger.info("server %s has come", self.sender.decode())
        self._answer(call.get("id"), {"protocol": protocol, **mine})

    def _answer(self, number: object, answer: Answer) -> None:
        if number is not None:
            self.tell({"event": "answer", "id": number, **answer})

    def tell(self, event: Mapping[str, Any]) -> None:
        """Tell the server something."""
        try:
            self._write(encode_json(EVENT, dict(event)))
        except TooLarge as exc:
            logger.warning("an event is dropped: %s", exc)
        if self._transport is not None and self._transport.get_write_buffer_size() > EVENT_BYTES:
            logger.warning("a server does not read: its connection is given up")
            self._transport.abort()

    def attach(self, holder: Holder, seq: int) -> None:
        """Tell the server what passes from the number `seq` on, after the answer that is being made."""
        old = self._attachments.pop(holder.handle, None)
        if old is not None:
            holder.attached.discard(old)
        attachment = Attachment(self, holder, max(0, min(seq, holder.record.next_seq)))
        self._attachments[holder.handle] = attachment
        holder.attached.add(attachment)
        self._loop.call_soon(attachment.begin)

    def detach(self, handle: int) -> None:
        """A kernel is held no longer."""
        self._attachments.pop(handle, None)

    def write_batch(self, stored: Stored) -> None:
        """Write what has passed, if the connection is there."""
        for piece in stored.pieces:
            self._write(piece)

    def _write(self, data: Any) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        for attachment in tuple(self._attachments.values()):
            attachment.catch_up()

    def _look(self) -> None:
        """Ask whether the server is there; its silence does not count while this process itself did not run."""
        now = self._loop.time()
        if now - self._looked_at > 2 * PING_INTERVAL_S:
            self._heard_at = now
        self._looked_at = now
        if now - self._heard_at > SILENCE_S:
            self._close(f"nothing was heard for {SILENCE_S:g} s")
            if self._transport is not None:
                self._transport.abort()  # it does not read either
            return
        self._write(encode(PING))
        self._timer = self._loop.call_later(PING_INTERVAL_S, self._look)

    def _close(self, reason: str) -> None:
        if self._transport is not None:
            self._write(encode_json(EVENT, {"event": "closed", "reason": reason}))
            self._transport.close()

    async def close(self, reason: str) -> None:
        """Close the connection. Launches that are being made are waited for: a process must not be left alone."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=SILENCE_S)
        self._close(reason)
        await self._tasks.close()


def _text(path: object) -> str | None:
    return None if path is None else os.fsdecode(path) if isinstance(path, bytes) else str(path)


def refusal(exc: Exception) -> Answer:
    """The answer to a call that failed."""
    if isinstance(exc, FPSKernelsError):
        return {"error": exc.message, "status": exc.status, "type": type(exc).__name__}
    error = {"error": str(exc), "status": 500, "type": type(exc).__name__}
    if isinstance(exc, OSError):
        error |= {"errno": exc.errno, "strerror": exc.strerror, "filename": _text(exc.filename)}
    return error
