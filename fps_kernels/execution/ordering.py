"""The order of requests that arrive at about the same time.

"Run all" arrives as parallel requests of single cells, in any order. Requests for one document that arrive within some
milliseconds of each other are put into the order that their cells have in the document. A request that names another
one comes after it, even if it arrives earlier.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .execution_request import ExecutionRequest


@dataclass(frozen=True, slots=True)
class OrderLimits:
    """How long requests wait for each other."""

    settle_s: float = 0.02
    """Wait for one more request after each one."""
    settle_max_s: float = 0.5
    """The longest wait of the first of several requests for all others."""
    late_s: float = 0.005
    """A delay of the event loop after which it looks once more, as much later, for requests that arrived meanwhile."""
    previous_timeout_s: float = 2.0
    """Wait for the request that another one says it comes after."""
    max_known: int = 10_000
    """Ids of requests that are remembered, for the requests that come after them."""


class RequestOrder:
    """Collects requests, and hands them on in order.

    hand_on(request): called on the loop.
    """

    def __init__(self, hand_on: Callable[[ExecutionRequest], None], limits: OrderLimits | None = None) -> None:
        self._hand_on = hand_on
        self._limits = limits or OrderLimits()
        self._arrived: list[ExecutionRequest] = []
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._orphans: dict[str, list[ExecutionRequest]] = {}  # by the id of the request that they wait for
        self._timeouts: dict[str, asyncio.TimerHandle] = {}
        self._known: dict[str, None] = {}  # the ids of the requests that were handed on, oldest first

    def add(self, request: ExecutionRequest) -> None:
        loop = asyncio.get_running_loop()
        if not self._arrived:
            self._deadline = loop.time() + self._limits.settle_max_s
        self._arrived.append(request)
        if self._timer is not None:
            self._timer.cancel()
        due = min(loop.time() + self._limits.settle_s, self._deadline)
        self._timer = loop.call_at(due, self._settle, due)

    def _settle(self, due: float, *, again: bool = True) -> None:
        loop = asyncio.get_running_loop()
        late_s = self._limits.late_s
        if again and loop.time() > due + late_s:
            # The loop was busy with something else: it has not looked at what arrived meanwhile.
            self._timer = loop.call_later(late_s, partial(self._settle, due, again=False))
            return
        self._timer = None
        arrived, self._arrived = in_document_order(self._arrived), []
        self._place(arrived)

    def _place(self, requests: list[ExecutionRequest]) -> None:
        """Hand on each request, followed immediately by those that wait for it."""
        left = deque(requests)  # not by recursion: a chain may be longer than the stack
        while left:
            request = left.popleft()
            if request.after is not None and request.after not in self._known:
                self._orphans.setdefault(request.after, []).append(request)
                if request.after not in self._timeouts:
                    self._timeouts[request.after] = asyncio.get_running_loop().call_later(
                        self._limits.previous_timeout_s, self._give_up, request.after
                    )
                continue
            self._hand_on(request)
            self._known[request.id] = None
            if len(self._known) > self._limits.max_known:
                del self._known[next(iter(self._known))]
            left.extendleft(reversed(self._adopt(request.id)))

    def _give_up(self, previous: str) -> None:
        self._place(self._adopt(previous))

    def _adopt(self, previous: str) -> list[ExecutionRequest]:
        """The requests that wait for another one, and wait no longer."""
        timer = self._timeouts.pop(previous, None)
        if timer is not None:
            timer.cancel()
        requests = self._orphans.pop(previous, [])
        for request in requests:
            request.after = None
        return requests

    def clear(self) -> list[ExecutionRequest]:
        """Take back the requests that were not handed on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for timer in self._timeouts.values():
            timer.cancel()
        left = [*self._arrived, *(request for requests in self._orphans.values() for request in requests)]
        self._arrived.clear()
        self._orphans.clear()
        self._timeouts.clear()
        return left


def in_document_order(requests: list[ExecutionRequest]) -> list[ExecutionRequest]:
    """The requests, with those of single cells of one document sorted by position in the places that they share.

    The cell of a request that is not in the document any more comes first.
    """

    def position(request: ExecutionRequest) -> int:
        found = request.notebook.position(request.executions[0].cell_id)
        return -1 if found is None else found

    ordered = list(requests)
    for name in {request.notebook.name for request in requests if request.single}:
        slots = [number for number, one in enumerate(requests) if one.single and one.notebook.name == name]
        ranked = sorted((requests[number] for number in slots), key=position)
        for number, request in zip(slots, ranked, strict=True):
            ordered[number] = request
    return ordered
