"""The executions that were sent to a kernel, found by the messages that answer them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from .cell_execution import Execution


class SentExecutions:
    """The latest executions that were sent to a kernel, by the msg_id of their execute_request.

    Executions are listened to after their end: threads go on printing, and displays are updated. How many there are,
    and how much of their outputs is kept for that, is bounded; the oldest ones go first.

    max_late: the number of executions besides the latest.
    max_bytes: the size of their outputs.
    """

    def __init__(self, max_late: int, max_bytes: int) -> None:
        self._max_late = max_late
        self._max_bytes = max_bytes
        self._by_msg_id: OrderedDict[str, Execution] = OrderedDict()

    def __iter__(self) -> Iterator[Execution]:
        return iter(self._by_msg_id.values())

    def add(self, msg_id: str, execution: Execution) -> None:
        self._by_msg_id[msg_id] = execution
        size = sum(one.outputs.size for one in self)
        while len(self._by_msg_id) > 1 and (len(self._by_msg_id) > self._max_late + 1 or size > self._max_bytes):
            _, oldest = self._by_msg_id.popitem(last=False)
            size -= oldest.outputs.size
            oldest.retire()  # its request is remembered longer, but needs no outputs

    def get(self, msg_id: str) -> Execution | None:
        return self._by_msg_id.get(msg_id)
