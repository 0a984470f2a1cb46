"""Notes about a kernel that is kept: its keeper has them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from ..kernel_server.kernel_notes import KernelNotes
from .kept_process import KeptProcess

NOTE = "note:"
"""What stands before the name of a note where the keeper keeps all it is told."""
NEEDED = "needed"
MAX_SENT = 1_000
"""Requests of earlier servers whose arrival is remembered."""


class KeptNotes(KernelNotes):
    """The notes about one kernel.

    position: returns the number of what the kernel says next.
    replaying: returns whether what it has said to an earlier server is still being read.

    needed: the number from which on the record is needed; None if nothing is.
    """

    kept = True

    def __init__(self, position: Callable[[], int], replaying: Callable[[], bool]) -> None:
        self.needed: int | None = None
        self._position = position
        self._replaying = replaying
        self._notes: dict[str, Any] = {}
        self._found: dict[str, Any] = {}
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._process: KeptProcess | None = None

    @property
    def found(self) -> Mapping[str, Any]:
        return self._found

    @property
    def position(self) -> int:
        return self._position()

    @property
    def replaying(self) -> bool:
        return self._replaying()

    def note(self, name: str, value: Any) -> None:
        if value is None:
            if self._notes.pop(name, None) is None:
                return
        else:
            self._notes[name] = value
        self._tell({NOTE + name: value})

    def need(self, number: int | None) -> None:
        if number != self.needed:
            self.needed = number
            self._tell({NEEDED: number})

    def was_sent(self, msg_id: str) -> bool:
        return msg_id in self._sent

    def on_sent(self, msg_id: str) -> None:
        """A server before this one has sent a request to the kernel."""
        self._sent[msg_id] = None
        if len(self._sent) > MAX_SENT:
            self._sent.popitem(last=False)

    def restore(self, summary: Mapping[str, Any]) -> None:
        """Take over the notes of the server before this one.

        summary: what the keeper says of the kernel.
        """
        facts: Mapping[str, Any] = summary["facts"]
        self._found = {name[len(NOTE) :]: value for name, value in facts.items() if name.startswith(NOTE)}
        self._notes = dict(self._found)
        self.needed = needed_in(summary)

    def watch(self, process: KeptProcess) -> None:
        """The kernel has a process whose keeper is to have the notes."""
        self._process = process
        self.tell_all()

    def tell_all(self) -> None:
        """Tell the keeper all notes, as it may be another one."""
        self._tell({NEEDED: self.needed, **{NOTE + name: value for name, value in self._notes.items()}})

    def _tell(self, facts: Mapping[str, Any]) -> None:
        if (process := self._process) is not None:
            process.keeper.tell("facts", kernel=process.kernel_id, generation=process.generation, facts=facts)


def needed_in(summary: Mapping[str, Any]) -> int | None:
    """The number from which on the record of a kernel is needed, as the server before this one has said.

    summary: what the keeper says of the kernel.
    """
    needed = summary["facts"].get(NEEDED)
    return needed if isinstance(needed, int) else None
