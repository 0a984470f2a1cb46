"""How far one server has been told what passes of one kernel."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from .holder import Holder
from .record import Stored

READ_BYTES = 1024 * 1024
"""Bytes that are read from the record at once."""
PATIENCE_S = 5.0
"""Seconds for which a server that lags may only be slower for a moment, so that more is kept for it."""


class Told(Protocol):
    """The connection of the server."""

    sender: bytes | None
    paused: bool

    def write_batch(self, stored: Stored) -> None:
        """Write what has passed, if the connection is there."""

    def detach(self, handle: int) -> None:
        """A kernel is held no longer."""

    def tell(self, event: Mapping[str, Any]) -> None:
        """Tell the server something."""


class Attachment:
    """How far a server has been told what passes of a kernel."""

    def __init__(self, connection: Told, holder: Holder, seq: int, told: tuple[int, int] = (0, 0)) -> None:
        self.holder = holder
        self._connection = connection
        self._seq = seq
        self.sender = connection.sender
        self._told = told  # up to where it knows what was dropped
        self.fall_behind()

    @property
    def lags(self) -> bool:
        """Whether there is something that the server has not been told, or has not read."""
        return self._behind or self._connection.paused

    @property
    def may_catch_up(self) -> bool:
        """Whether the server lags, but not for long: what it has not been told is not to be dropped yet."""
        return time.monotonic() < self._behind_at + PATIENCE_S if self._behind else self._connection.paused

    def begin(self) -> None:
        """Tell the requests that may yet be answered, then all the rest."""
        if self not in self.holder.attached:
            return
        for stored in self.holder.record.requests_before(self._seq):
            self._connection.write_batch(stored)
        self.go_on()

    def go_on(self) -> None:
        """Tell what was missed, and how the process has ended if it has."""
        report = self.holder.report
        self.catch_up()
        if report is not None:
            exited = {"event": "exited", "kernel": self.holder.kernel_id, "generation": self.holder.generation}
            self.tell({**exited, "exited": report.as_json()})

    def state(self) -> list[Any]:
        """How far that is, as plain values."""
        return [self.holder.handle, self._seq, list(self._told)]

    def fall_behind(self) -> None:
        """Tell nothing more of what passes before `catch_up`."""
        self._behind = True
        self._behind_at = time.monotonic()

    def push(self, stored: Stored) -> None:
        """Something was added to the record."""
        if self._behind:
            return
        if self._connection.paused:
            self.fall_behind()
        else:
            self._seq = stored.end
            self._connection.write_batch(stored)

    def catch_up(self) -> None:
        """Tell what was missed, as far as the server reads it."""
        record = self.holder.record
        while self._behind and not self._connection.paused:
            missing = record.missing(self._seq, self._told)
            self._told = record.dropped_to
            if missing:
                self.tell({"event": "gap", "kernel": self.holder.kernel_id, "from": self._seq, "messages": missing})
            found = record.read(self._seq, READ_BYTES)
            for stored in found:
                self._connection.write_batch(stored)
                self._seq = stored.end
            self._behind = bool(found)
        if not self._behind:
            self._seq = record.next_seq

    def end(self) -> None:
        """The kernel is held no longer."""
        self._connection.detach(self.holder.handle)

    def tell(self, event: Mapping[str, Any]) -> None:
        """Something has happened to the kernel."""
        self._connection.tell(event)
