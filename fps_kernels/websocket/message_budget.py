"""One budget for the messages that all WebSocket connections of a server hold together. Pure; times are of a loop.

What counts. Of each connection: what has arrived of a message that is not complete, fragments included; what the
transport has handed over and nobody has read; and large messages that are complete, until the last reference to their
bytes is gone, also when they were encoded anew for the kernel. Small complete messages have bounds elsewhere.

What happens when it is used up. Small messages go on as ever: only a connection in the middle of a large one (64 KiB
and more have arrived of it) stops being read, which stops its client by and by. They form a line, by when they began.
The first in line is read all the same, so that one message at a time is completed and handed on: many clients that
upload at the same time are served one after the other, and none of them loses its message. For that there is an
excess: the size of the largest message, and as much again for what the others' transports had read already.

What ends it. A client may begin a large message and stop, and the budget would stay used up for good. While it is used
up, a large message therefore gets PATIENCE_S of the time in which the server reads from its client, and a client has
to wait WAIT_S at most. After that, the connection is closed with 1013 ("try again later"), and what it had sent is
freed. Nobody can keep others out for longer than that by sending nothing. When even the excess is used up, the newest
in line are closed at the next look, and whoever brings more of a large message immediately: the first must go on.

A connection that is not read because of its own application or kernel is not in line: it holds nobody up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .frames import LARGE_BYTES

PATIENCE_S = 15.0
"""Seconds for which a connection is read, at most, until its large message is complete."""
WAIT_S = 60.0
"""Seconds that a connection waits, at most, until it is read again."""


class Account:
    """What one connection holds.

    go_on: called when the connection may be read again.
    refuse: closes the connection, because it has waited or held something for too long.

    incomplete: bytes of messages that are not complete, or not read.
    waiting_since: when the connection was stopped for the budget's sake; None while it is read.
    reading_since: when reading began or went on.
    """

    def __init__(self, budget: MessageBudget, go_on: Callable[[], None], refuse: Callable[[], None]) -> None:
        self.refuse = refuse
        self.incomplete = 0
        self.waiting_since: float | None = None
        self.reading_since = 0.0
        self.blocked = False
        self._budget = budget
        self._go_on = go_on

    def update(self, incomplete: int, now: float, *, blocked: bool = False) -> bool:
        """Set what the connection holds; returns whether more of it may be read.

        blocked: whether it is not read anyway, whatever the budget says.
        """
        budget = self._budget
        budget.held_bytes += incomplete - self.incomplete
        self.incomplete = incomplete
        self.blocked = blocked
        if incomplete < LARGE_BYTES:
            budget.line.pop(self, None)
            self.waiting_since = None
        elif self not in budget.line:
            budget.line[self] = None
            self.reading_since = now
        may_read = budget.may_read(self)
        if may_read or blocked:
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = now
        budget.wake(now)
        return may_read

    def completed(self, size: int) -> None:
        """A large message is complete, and held from now on. What comes after it is another, at the end of the line."""
        self._budget.held_bytes += size
        self._budget.line.pop(self, None)
        self.waiting_since = None

    @property
    def hopeless(self) -> bool:
        """Whether there is no point in waiting."""
        return self.waiting_since is not None and self._budget.overdrawn and self._budget.first() is not self

    def go_on(self, now: float) -> None:
        """The budget has room again, or the connection is the first in line."""
        self.waiting_since = None
        self.reading_since = now
        self._go_on()


class MessageBudget:
    """The bytes that all connections together may hold.

    max_bytes: the budget.
    excess_bytes: how much more may be held for the sake of the first in line.

    held_bytes: what all connections hold.
    line: the connections in the middle of a large message, the oldest first.
    watched: whether somebody calls `late`.
    """

    def __init__(self, max_bytes: int, excess_bytes: int) -> None:
        self.held_bytes = 0
        self.line: dict[Account, None] = {}
        self.watched = False
        self._max_bytes = max_bytes
        self._excess_bytes = excess_bytes
        self._used_up_since: float | None = None

    @property
    def used_up(self) -> bool:
        return self.held_bytes > self._max_bytes

    @property
    def overdrawn(self) -> bool:
        """Whether even the excess is used up, so that not even the first in line may go on."""
        return self.held_bytes > self._max_bytes + self._excess_bytes

    def release(self, size: int, now: float) -> None:
        """A message is no longer held."""
        self.held_bytes -= size
        self.wake(now)

    def may_read(self, account: Account) -> bool:
        if not self.used_up or account.incomplete < LARGE_BYTES:
            return True
        return account is self.first() and not self.overdrawn

    def wake(self, now: float) -> None:
        """Let those go on that may."""
        for account in tuple(self.line) if self.line else ():
            if account.blocked:
                continue
            if account.waiting_since is not None and self.may_read(account):
                account.go_on(now)
            elif self.used_up:
                return  # nobody behind the first in line may

    def late(self, now: float) -> Iterator[Account]:
        """The connections to close. To be called every now and then while the budget is used up, and once after.

        The oldest messages are the first to go, and no more of them than have to.
        """
        if not self.used_up:
            self._used_up_since = None
            return
        if self._used_up_since is None:
            self._used_up_since = now
        for account in tuple(reversed(self.line)):
            if self.overdrawn and account is not self.first():
                yield account
        for account in tuple(self.line):
            if account.waiting_since is not None:
                is_late = now - account.waiting_since > WAIT_S
            else:
                is_late = not account.blocked and now - max(account.reading_since, self._used_up_since) > PATIENCE_S
            if is_late and self.used_up:
                yield account

    def first(self) -> Account | None:
        """The connection that may go on although the budget is used up."""
        return next((account for account in self.line if not account.blocked), None)
