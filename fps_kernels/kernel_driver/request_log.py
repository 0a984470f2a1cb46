"""The requests that were sent to a kernel, so that its answers find their way back. Pure bookkeeping."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import QueueFull

if TYPE_CHECKING:
    import asyncio

MAX_RUNNING = 20_000
"""Requests that may be running. Beyond that, those that owe no more than idle are forgotten, then new are refused."""
MAX_HEADER_BYTES = 16 * 1024 * 1024
"""Bytes that the headers of all remembered requests may have: 20,000 usual ones have a third of it."""
MAX_FINISHED = 100
"""Requests that are remembered after their end: threads of a cell go on printing with its header as parent."""


class Request:
    """A message that was sent to the kernel and that the kernel has not finished yet.

    msg_id: the msg_id in the header that the kernel gets.
    header: the header as its sender wrote it.
    renamed: whether another msg_id was put in the place of the one that the sender chose.
    chosen_msg_id: that one, which may be no string; None if there is none.
    begun: whether the kernel has said that it is busy with it.
    origin: the sender, in whatever form the caller chose; None for a request of the server's own.
    reply_future: done with the reply, or with the error that takes its place; None unless the reply is awaited.
    idle_future: done when the kernel is idle again, or will never be; None unless that is awaited.
    on_message: called with each message on iopub, and each input request, that belongs to this request.
    """

    __slots__ = (
        "begun",
        "channel",
        "chosen_msg_id",
        "header",
        "idle",
        "idle_future",
        "msg_id",
        "msg_type",
        "on_message",
        "origin",
        "renamed",
        "replied",
        "reply_future",
    )

    def __init__(
        self,
        msg_id: str,
        channel: str,
        msg_type: str,
        header: bytes,
        origin: Any = None,
        reply_future: asyncio.Future[Any] | None = None,
    ) -> None:
        self.msg_id = msg_id
        self.channel = channel
        self.msg_type = msg_type
        self.header = header
        self.begun = False
        self.renamed = False
        self.chosen_msg_id: Any = None
        self.origin = origin
        self.reply_future = reply_future
        self.idle_future: asyncio.Future[None] | None = None
        self.on_message: Callable[[Any], None] | None = None
        self.replied = not self.owes_reply
        self.idle = False

    @property
    def owes_reply(self) -> bool:
        """Whether a reply is due: comm messages are followed by busy and idle, but not by a reply."""
        return self.msg_type.endswith("_request")

    @property
    def finished(self) -> bool:
        """Whether the kernel owes nothing more for this request."""
        return self.replied and self.idle

    def rename(self, chosen: Any, msg_id: str) -> None:
        """Note that the kernel gets another msg_id than the sender chose."""
        self.renamed = True
        self.chosen_msg_id, self.msg_id = chosen, msg_id

    def fail(self, error: Exception) -> None:
        """The kernel will not answer: awaiting the reply raises `error`."""
        if self.reply_future is not None and not self.reply_future.done():
            self.reply_future.set_exception(error)
        if self.idle_future is not None and not self.idle_future.done():
            self.idle_future.set_result(None)


class RequestLog:
    """The requests of one kernel by msg_id: all that are running, and the last ones that have finished."""

    def __init__(self) -> None:
        self._running: OrderedDict[str, Request] = OrderedDict()
        self._finished: OrderedDict[str, Request] = OrderedDict()
        self._header_bytes = 0

    def __len__(self) -> int:
        """The number of requests that are running."""
        return len(self._running)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._running.values())

    def add(self, request: Request) -> None:
        """Remember a request as running. Raises QueueFull when too many are, or their headers are too large."""
        most_bytes = MAX_HEADER_BYTES - len(request.header)
        while self._header_bytes > most_bytes and self._finished:
            self._forget(self._finished, next(iter(self._finished)))
        while len(self._running) >= MAX_RUNNING or self._header_bytes > most_bytes:
            oldest = next((one for one in self._running.values() if one.replied), None)
            if oldest is None:
                raise QueueFull("too many requests wait for the kernel, or their headers are too large")
            self._forget(self._running, oldest.msg_id)
        self._forget(self._running, request.msg_id)
        self._running[request.msg_id] = request
        self._header_bytes += len(request.header)

    def _forget(self, requests: OrderedDict[str, Request], msg_id: str) -> None:
        request = requests.pop(msg_id, None)
        if request is not None:
            self._header_bytes -= len(request.header)

    def give_free_id(self, request: Request) -> bool:
        """Give a new request another msg_id if a request of another origin has it; returns whether that was needed."""
        other = self.get(request.msg_id)
        if other is None or other.origin is request.origin:
            return False
        request.rename(request.msg_id, uuid.uuid4().hex)
        return True

    def get(self, msg_id: str) -> Request | None:
        """The request with this id, if it is remembered."""
        return self._running.get(msg_id) or self._finished.get(msg_id)

    def discard(self, request: Request) -> None:
        """Forget a request, if it is running."""
        if self._running.get(request.msg_id) is request:  # another client may have chosen the same id
            self._forget(self._running, request.msg_id)

    def oldest_unanswered(self, channel: str, msg_type: str) -> Request | None:
        """The request of this type that the kernel has to answer next on a channel."""
        for one in self._running.values():
            if one.channel == channel and one.msg_type == msg_type and not one.replied:
                return one
        return None

    def on_idle_of_replied(self) -> None:
        """The kernel is idle again, and does not say after which request: it has ended all that it has replied to."""
        for one in [one for one in self._running.values() if one.replied]:
            self.on_idle(one)

    def on_reply(self, request: Request, reply: Any) -> None:
        """The kernel has replied to a request."""
        request.replied = True
        if request.reply_future is not None and not request.reply_future.done():
            request.reply_future.set_result(reply)
        self._end_if_finished(request)

    def on_idle(self, request: Request) -> None:
        """The kernel is idle again after a request."""
        request.idle = True
        if request.idle_future is not None and not request.idle_future.done():
            request.idle_future.set_result(None)
        self._end_if_finished(request)

    def _end_if_finished(self, request: Request) -> None:
        if request.finished and self._running.pop(request.msg_id, None) is not None:
            self._forget(self._finished, request.msg_id)
            self._finished[request.msg_id] = request
            if len(self._finished) > MAX_FINISHED:
                self._forget(self._finished, next(iter(self._finished)))

    def clear(self) -> list[Request]:
        """Forget all requests; returns those that were running, oldest first."""
        running = list(self._running.values())
        self._running.clear()
        self._finished.clear()
        self._header_bytes = 0
        return running

    def clear_cells(self) -> list[Request]:
        """Forget what clients want to run; returns that, oldest first."""
        cells = [one for one in self if one.msg_type == "execute_request" and one.origin is not None]
        for request in cells:
            self.discard(request)
        return cells
