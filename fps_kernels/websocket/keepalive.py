"""Keepalive of a WebSocket connection: pings at intervals, and the end of a client that answers none."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable


class Keepalive:
    """Sends a ping, waits for its pong, and starts over; or reports that the client is gone.

    A ping without an answer counts only if the answer could have been seen: the transport is being read, and nothing
    at all was read since the ping.

    interval_s: seconds from one ping to the next. None or 0: no pings.
    timeout_s: seconds to wait for a pong. None: pings are sent, and nobody minds if they are not answered.
    send_ping: writes a ping with this payload.
    paused: returns whether the transport is paused.
    last_read: returns a different object once something more has been read.
    give_up: called when a ping was not answered in time.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interval_s: float | None,
        timeout_s: float | None,
        *,
        send_ping: Callable[[bytes], None],
        paused: Callable[[], bool],
        last_read: Callable[[], object],
        give_up: Callable[[], None],
    ) -> None:
        self.pings = 0
        self._loop = loop
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._send_ping = send_ping
        self._paused = paused
        self._last_read = last_read
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None
        self._payload = b""
        self._sent_at = 0.0
        self._read_at_ping: object = None
        self._round_trip_s = 0.0

    def start(self) -> None:
        if self._interval_s:
            self._timer = self._loop.call_later(max(0.0, self._interval_s - self._round_trip_s), self._ping)

    def stop(self) -> None:
        """Send no more pings and forget the one that is unanswered. Idempotent."""
        self._payload = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pong(self, payload: bytes) -> None:
        """A pong arrived. One that answers no ping, or an earlier one, is ignored."""
        if self._payload and payload == self._payload:
            self._round_trip_s = self._loop.time() - self._sent_at
            self._payload = b""
            if self._timeout_s is not None:  # else the next ping is scheduled already
                self.stop()
                self.start()

    def _ping(self) -> None:
        self._payload = secrets.token_bytes(4)
        self._sent_at = self._loop.time()
        self._read_at_ping = self._last_read()
        self.pings += 1
        self._send_ping(self._payload)
        if self._timeout_s is None:
            self.start()
        else:
            self._timer = self._loop.call_later(self._timeout_s, self._expire)

    def _expire(self) -> None:
        self._payload = b""
        self._timer = None
        if self._paused() or self._last_read() is not self._read_at_ping:
            self.start()
        else:
            self._give_up()
