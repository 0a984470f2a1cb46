"""Flow control of a WebSocket connection: who may run ahead of whom, and by how much.

Four parties hand bytes to one another: the client, its transport (a socket and its buffers), this package, and the
ASGI application. Each of them may be slower than the one before it, so each arrow has a bound and a brake.

Client to application. The transport is paused, which fills the socket's buffer and then stops the client, while any
of these holds:

    flag              set when                                      cleared when
    not opened        (initially)                                   the application accepts the WebSocket
    turn waiting      16 messages of one client were read, or       the loop comes round again, unless too
                      too much is held                              much is held; then by a release
    application       a message was put into the queue of           the application has emptied its queue, or
     behind           `receive`                                     asks for delivery by callback
    over budget       all connections together hold too much,       enough is released, or this connection is the
                      and this one brings a large message           first in line; see message_budget

Frames that arrive before the WebSocket is accepted are kept, and the first of them pauses the transport; a
connection without any stays readable, so that a client that gives up is noticed.

A turn ends after 16 messages so that one client's flood does not delay the others. What the transport has already
handed over waits in the frame reader. That is at most one read of the transport (256 KiB) and what was left of the
previous one, because the transport is paused meanwhile.

The queue of `receive` therefore holds no more messages than one read of the transport contains. With a callback there
is no queue: the callback takes each message and passes it on. It has its own bounds for small messages; large ones
(64 KiB and more, and those joined from fragments) are counted here from the moment they are complete until the last
reference to their bytes is gone, wherever that is: in a queue of the kernel's, or in libzmq's I/O thread. More than
32 MiB of them ("held") stop the reading. The bound is checked after each message, so one message can exceed it; its
size is limited by `ws_max_size`.

Application to client. The transport calls `pause_writing` when its buffer passes the high-water mark (64 KiB) and
`resume_writing` when the buffer has drained below the low-water mark (16 KiB). In between `writable` is cleared and
every sender waits for it: the application is at most one batch of frames ahead of the client. Two kinds of frames are
not held up. Pings and close frames are tiny and rare, and are written at any time. Pongs are as many as the client
wants; while the transport is not writable only the answer to the last ping is kept, and written upon
`resume_writing` (RFC 6455, 5.5.3, allows that).

Keepalive. A pong cannot be seen while the transport is paused, nor behind a large message that is still arriving. A
ping without an answer therefore counts only if the transport is being read and nothing at all has arrived since.

The end. Closing a transport lets it write its buffer first, which takes forever if the client does not read. From the
moment we want the connection to end (`CloseTimeout.start`) it is checked every 5 s whether the client took at least
one byte; if not, the transport is aborted. A slow reader keeps its connection until it has read everything. When the
application closes the WebSocket, the transport stays open for up to 10 s for the client's close frame. When the
connection is lost, `writable` is set for good, so that no sender waits for a transport that will not come back, and
messages that waited for their turn are still delivered: the client sent them before it left.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

from .connection_limits import WebSocketLimits as WebSocketLimits
from .frames import Lease, Payload
from .message_budget import Account, MessageBudget

BUDGET_CHECK_S = 1.0
"""Seconds between two looks at who has held something for too long, while the budget is used up."""


class FlowControl:
    """The brakes of one connection; the module's docstring explains them.

    budget: what all connections share.
    read_one: reads the next message that the transport has handed over; returns whether there was one.
    unfinished: returns the number of bytes that have arrived and do not belong to a complete message that was read.
    refuse: ends the connection because the budget is used up.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        limits: WebSocketLimits,
        budget: MessageBudget,
        *,
        read_one: Callable[[], bool],
        unfinished: Callable[[], int],
        refuse: Callable[[], None],
    ) -> None:
        self.writable = asyncio.Event()
        self.writable.set()
        self.held_bytes = 0
        self.paused = False
        self._loop = loop
        self._transport = transport
        self._limits = limits
        self._budget = budget
        self._account = Account(budget, self._budget_allows, refuse)
        self._read_one = read_one
        self._unfinished = unfinished
        self._opened = False
        self._turn_waiting = False
        self._application_behind = False
        self._over_budget = False

    def open(self) -> None:
        """The WebSocket is accepted: read what arrived before."""
        self._opened = True
        if self.paused:
            self._turn_waiting = True
            self._loop.call_soon(self._continue)

    def data_arrived(self) -> None:
        """The transport has handed over bytes: read them now if it is this client's turn."""
        if not self._opened:
            self._pause()
        elif not self._turn_waiting:
            self._take_turn()
        self._count()

    def message_queued(self) -> None:
        """The application has a message in the queue of `receive`."""
        self._application_behind = True
        self._pause()

    def queue_emptied(self) -> None:
        """The application has taken all messages from the queue."""
        if self._application_behind:
            self._application_behind = False
            self._count()
            self._resume()

    def hold(self, payload: Payload) -> None:
        """Count a message until the last reference to its bytes, or to its lease, is gone."""
        size = len(payload)
        self.held_bytes += size
        self._account.completed(size)
        self._watch_budget()
        payload.lease = Lease()
        weakref.finalize(payload.lease, self._release_soon, size).atexit = False

    def discard(self) -> None:
        """Nothing of what has arrived or will arrive is kept: read on, so that the client can read our last words."""
        self._count()
        self._opened, self._turn_waiting, self._application_behind = True, False, False
        if not self._transport.is_closing():
            self._resume()

    def _release_soon(self, size: int) -> None:
        """Called in the thread that dropped the last reference."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._release, size)

    def _release(self, size: int) -> None:
        self.held_bytes -= size
        self._budget.release(size, self._loop.time())
        self._continue()

    def _take_turn(self) -> None:
        for _ in range(self._limits.turn_messages):
            if not self._read_one():
                return
            if self.held_bytes > self._limits.held_max_bytes:
                break
        if self._transport.is_closing():
            return
        self._turn_waiting = True
        self._pause()
        if self.held_bytes <= self._limits.held_max_bytes:
            self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        """Take the turn that waits, if there is one and nothing prevents it."""
        too_much = self.held_bytes > self._limits.held_max_bytes
        if not self._turn_waiting or too_much or self._transport.is_closing():
            return
        self._turn_waiting = False
        self._take_turn()
        self._count()
        self._resume()

    def _count(self) -> None:
        """Tell the budget what this connection holds, and stop reading if it says so."""
        size = self._unfinished()
        if not size and not self._account.incomplete:
            return
        blocked = self._turn_waiting or self._application_behind or not self._opened
        if self._account.update(size, self._loop.time(), blocked=blocked) or blocked:
            self._over_budget = False
        elif self._account.hopeless:
            self._account.refuse()
        else:
            self._over_budget = True
            self._pause()
        self._watch_budget()

    def _budget_allows(self) -> None:
        self._over_budget = False
        self._resume()

    def _watch_budget(self) -> None:
        """Look after the budget while it is used up; one connection does so for all."""
        if self._budget.used_up and not self._budget.watched:
            self._budget.watched = True
            self._loop.call_later(BUDGET_CHECK_S, _check_budget, self._loop, self._budget)

    def _pause(self) -> None:
        if not self.paused:
            self.paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        waits = self._turn_waiting or self._application_behind or self._over_budget
        if self.paused and self._opened and not waits and not self._transport.is_closing():
            self.paused = False
            self._transport.resume_reading()


def _check_budget(loop: asyncio.AbstractEventLoop, budget: MessageBudget) -> None:
    for account in budget.late(loop.time()):
        account.refuse()
    budget.watched = budget.used_up
    if budget.watched:
        loop.call_later(BUDGET_CHECK_S, _check_budget, loop, budget)
