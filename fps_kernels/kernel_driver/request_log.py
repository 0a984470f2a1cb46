"""The requests that were sent to a kernel, so that its answers find back. Pure bookkeeping."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import QueueFull

if TYPE_CHECKING:
    import asyncio


MAX_RUNNING = 20_000
"""Requests that may be under way; beyond, new ones are refused (those that owe no reply are forgotten first)."""
MAX_FINISHED = 100
"""Requests remembered after their end: threads of a cell go on printing with its header as parent."""


class Request:
    """A message that somebody sent to the kernel and that the kernel has not finished yet.

    header: as it was sent. origin: who sent it, whatever that is to the caller; None for a request
    of the server's own. future: set for a request that is awaited here.
    """

    __slots__ = ("channel", "future", "header", "idle", "msg_id", "msg_type", "origin", "replied")

    def __init__(
        self,
        msg_id: str,
        channel: str,
        msg_type: str,
        header: bytes,
        origin: Any = None,
        future: asyncio.Future[Any] | None = None,
    ) -> None:
        self.msg_id = msg_id
        self.channel = channel
        self.msg_type = msg_type
        self.header = header
        self.origin = origin
        self.future = future
        self.replied = not self.owes_reply
        self.idle = False

    @property
    def owes_reply(self) -> bool:
        """Comm messages are followed by busy and idle, but not by a reply."""
        return self.msg_type.endswith("_request")

    @property
    def finished(self) -> bool:
        return self.replied and self.idle


class RequestLog:
    """Requests by msg_id: all that run, and the last ones that ended."""

    def __init__(self) -> None:
        self._running: OrderedDict[str, Request] = OrderedDict()
        self._finished: OrderedDict[str, Request] = OrderedDict()

    def __len__(self) -> int:
        """How many are running."""
        return len(self._running)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._running.values())

    def add(self, request: Request) -> None:
        """Raises QueueFull when too many are running."""
        if len(self._running) >= MAX_RUNNING:
            self._forget_one()
        self._running[request.msg_id] = request

    def _forget_one(self) -> None:
        for request in self._running.values():
            if not request.owes_reply:
                del self._running[request.msg_id]
                return
        raise QueueFull("too many requests wait for the kernel")

    def get(self, msg_id: str) -> Request | None:
        return self._running.get(msg_id) or self._finished.get(msg_id)

    def discard(self, request: Request) -> None:
        if self._running.get(request.msg_id) is request:  # another client may have chosen the same id
            del self._running[request.msg_id]

    def on_reply(self, request: Request) -> None:
        request.replied = True
        self._end_if_finished(request)

    def on_idle(self, request: Request) -> None:
        request.idle = True
        self._end_if_finished(request)

    def _end_if_finished(self, request: Request) -> None:
        if request.finished and self._running.pop(request.msg_id, None) is not None:
            self._finished[request.msg_id] = request
            if len(self._finished) > MAX_FINISHED:
                self._finished.popitem(last=False)

    def clear(self) -> list[Request]:
        """Forget everything; returns what was running, oldest first."""
        running = list(self._running.values())
        self._running.clear()
        self._finished.clear()
        return running
