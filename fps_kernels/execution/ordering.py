"""The order of requests that arrive at about the same time.

"Run all" arrives as parallel requests of single cells, in any order: those of one document that come
within some milliseconds of each other are put into the order that the cells have in the document. A
request that names another one comes after it, also when it arrives earlier.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from .execution_request import ExecutionRequest

SETTLE_S = 0.02
SETTLE_MAX_S = 0.5
LATE_S = 0.005
"""How long to wait for one more request after the last one, and in all; how late the loop may be for that."""
PREVIOUS_TIMEOUT_S = 2.0
"""How long to wait for the request that a request says it comes after."""
MAX_KNOWN = 10_000


class RequestOrder:
    """Collects requests, and hands them on in order.

    hand_on(request): called on the loop.
    """

    def __init__(self, hand_on: Callable[[ExecutionRequest], None]) -> None:
        self._hand_on = hand_on
        self._arrived: list[ExecutionRequest] = []
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._orphans: dict[str, list[ExecutionRequest]] = {}  # by the id of what they wait for
        self._patience: dict[str, asyncio.TimerHandle] = {}
        self._known: dict[str, None] = {}  # the ids of what was handed on, oldest first

    def add(self, request: ExecutionRequest) -> None:
        loop = asyncio.get_running_loop()
        if not self._arrived:
            self._deadline = loop.time() + SETTLE_MAX_S
        self._arrived.append(request)
        if self._timer is not None:
            self._timer.cancel()
        due = min(loop.time() + SETTLE_S, self._deadline)
        self._timer = loop.call_at(due, self._settle, due)

    def _settle(self, due: float, *, again: bool = True) -> None:
        loop = asyncio.get_running_loop()
        if again and loop.time() > due + LATE_S:
            # The loop had other things to do: what arrived meanwhile has not been looked at.
            self._timer = loop.call_later(LATE_S, partial(self._settle, due, again=False))
            return
        self._timer = None
        arrived, self._arrived = in_document_order(self._arrived), []
        self._place(arrived)

    def _place(self, requests: list[ExecutionRequest]) -> None:
        """Hand on each of them, followed at once by what waits for it."""
        left = deque(requests)  # not by recursion: a chain may be longer than the stack
        while left:
            request = left.popleft()
            if request.after is not None and request.after not in self._known:
                self._wait(request, request.after)
                continue
            self._hand_on(request)
            self._known[request.id] = None
            if len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]
            left.extendleft(reversed(self._adopt(request.id)))

    def _wait(self, request: ExecutionRequest, previous: str) -> None:
        self._orphans.setdefault(previous, []).append(request)
        if previous not in self._patience:
            loop = asyncio.get_running_loop()
            self._patience[previous] = loop.call_later(PREVIOUS_TIMEOUT_S, self._give_up, previous)

    def _give_up(self, previous: str) -> None:
        self._place(self._adopt(previous))

    def _adopt(self, previous: str) -> list[ExecutionRequest]:
        """What waits for that request, and waits no longer."""
        timer = self._patience.pop(previous, None)
        if timer is not None:
            timer.cancel()
        requests = self._orphans.pop(previous, [])
        for request in requests:
            request.after = None
        return requests

    def clear(self) -> list[ExecutionRequest]:
        """Take back what was not handed on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for timer in self._patience.values():
            timer.cancel()
        left = [*self._arrived, *(request for requests in self._orphans.values() for request in requests)]
        self._arrived.clear()
        self._orphans.clear()
        self._patience.clear()
        return left


def in_document_order(requests: list[ExecutionRequest]) -> list[ExecutionRequest]:
    """Single cells of one document sorted by their positions, in the places that they have among the others."""
    ordered = list(requests)
    for name in {request.notebook.name for request in requests if request.single}:
        slots = [number for number, request in enumerate(requests) if request.single and request.notebook.name == name]
        ranked = sorted((requests[number] for number in slots), key=_position)  # stable: one that is gone stays
        for number, request in zip(slots, ranked, strict=True):
            ordered[number] = request
    return ordered


def _position(request: ExecutionRequest) -> int:
    position = request.notebook.position(request.executions[0].cell_id)
    return -1 if position is None else position
