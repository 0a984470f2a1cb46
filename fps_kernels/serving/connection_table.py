"""The open connections of a server, and which of them make room when there are too many. Pure.

A connection costs a descriptor, and a client can open as many as it likes without sending anything. At the bound,
each new connection therefore takes the place of an old one that is of little use, the one that has been so for longest
first: one that has not sent a whole request yet, or else one that waits between two requests. Whoever sends a request
when it connects is not affected by others who do not, however many these are.

When no connection can be spared, a few more are let in that are answered on the paths of health checks only; otherwise
a server that is merely busy would be taken for dead, and restarted. Beyond these, connections are turned away.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto


class Stage(Enum):
    """What a connection is doing."""

    OPENING = auto()
    """It has not sent a whole request yet; a TLS handshake is part of that."""
    IDLE = auto()
    """Its requests are answered, and the next has not come."""
    BUSY = auto()
    """A request is being answered, or it is a WebSocket."""


class Slot:
    """The place of one connection.

    reserved: whether it is beyond the bound, and gets health checks only.
    end: ends the connection; None while that is not possible: then `gone` has to be looked at.
    """

    __slots__ = ("_stage", "_table", "end", "reserved")

    def __init__(self, table: ConnectionTable, *, reserved: bool) -> None:
        self.reserved = reserved
        self.end: Callable[[], object] | None = None
        self._table = table
        self._stage: Stage | None = None

    @property
    def gone(self) -> bool:
        """Whether the connection has left, or was made to."""
        return self._stage is None

    def enter(self, stage: Stage) -> None:
        """The connection begins a stage; nothing happens if it is in it already, or has left."""
        if self._stage is not None and self._stage is not stage:
            self._move(stage)

    def leave(self) -> None:
        """The connection is gone. Idempotent."""
        if self._stage is not None:
            self._move(None)

    def _move(self, stage: Stage | None) -> None:
        if self._stage is not None:
            del self._table.slots[self._stage][self]
        self._stage = stage
        if stage is not None:
            self._table.slots[stage][self] = None


class ConnectionTable:
    """The bound on open connections.

    max_connections: number of connections, not counting reserved ones.
    reserved: number of reserved ones.

    slots: the connections by stage, each in the order in which they entered it.
    ended: number of connections that made room for others.
    turned_away: number of connections that there was no room for.
    """

    def __init__(self, max_connections: int, reserved: int) -> None:
        self.max_connections = max_connections
        self.slots: dict[Stage, dict[Slot, None]] = {stage: {} for stage in Stage}
        self.ended = 0
        self.turned_away = 0
        self._reserved = reserved

    def __len__(self) -> int:
        """The number of open connections."""
        return sum(map(len, self.slots.values()))

    @property
    def full(self) -> bool:
        return len(self) >= self.max_connections

    def admit(self) -> Slot | None:
        """A place for a new connection, perhaps that of an old one; None when it has to be turned away."""
        if self.full:
            self.make_room()
        if len(self) >= self.max_connections + self._reserved:
            self.turned_away += 1
            return None
        slot = Slot(self, reserved=self.full)
        slot._move(Stage.OPENING)
        return slot

    def make_room(self) -> bool:
        """End a connection that can be spared; returns whether there was one."""
        for stage in (Stage.OPENING, Stage.IDLE):
            for slot in self.slots[stage]:
                slot.leave()
                self.ended += 1
                if slot.end is not None:
                    slot.end()
                return True
        return False
