"""What a server notes about a kernel for the next one, beside messages and clients. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class KernelNotes:
    """Notes about one kernel, by name. They end with the server here; derive from it to have them outlive it.

    A note belongs to a place in the kernel's record: what the kernel says is numbered there. A server that goes on with
    the kernel is told all of it again from the number that was needed last.
    """

    kept = False
    """Whether the next server will have the notes."""

    @property
    def found(self) -> Mapping[str, Any]:
        """What the server before this one has noted, in the order of the first notes of each name."""
        return {}

    @property
    def position(self) -> int:
        """The number of what the kernel says next."""
        return 0

    @property
    def replaying(self) -> bool:
        """Whether there is more to come of what the kernel has said to a server before this one."""
        return False

    def note(self, name: str, value: Any) -> None:
        """Note something that can be JSON; None to take a note away."""

    def need(self, number: int | None) -> None:
        """The next server is to be told all that the kernel says from this number on; None for nothing."""

    def was_sent(self, msg_id: str) -> bool:
        """Whether a request of a server before this one has reached the kernel, as far as the record was read."""
        return False
