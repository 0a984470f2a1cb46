"""Whether a kernel that others started still lives: there is no process of ours whose end could be seen.

Its end is seen in three ways. The connection to its shell breaks and nothing listens there any more (it was killed, or
has ended). It does not answer its heartbeat, although it has done so before (it is stopped, its machine is gone, its
sockets hang). It listens again at once, so that it was restarted by its owner: that matters only to what it was asked,
which will not be answered. A kernel without a heartbeat is only watched by its connection.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import zmq

from ..descriptors import add_reader, remove_reader
from .channels import open_socket
from .connection_file import ConnectionInfo

INTERVAL_S = 2.0
"""Seconds between two beats."""
GRACE_S = 2.0
"""Seconds that a broken connection may take to come back: some are broken by a proxy or a tunnel."""
TICK_S = 0.5
"""The longest time between two looks at the clock."""

_EVENT = struct.Struct("=hi")
_WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class PeerWatch:
    """A watch over one process that is not ours.

    timeout_s: seconds of silence after which it is lost.
    busy: whether something was asked that has not been answered.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        info: ConnectionInfo,
        timeout_s: float,
        busy: Callable[[], bool],
    ) -> None:
        self._context = context
        self._info = info
        self._timeout_s = timeout_s
        self._busy = busy
        self._changed = asyncio.Event()
        self._connected = self._was_connected = self._came_back = self._beats = False
        self._since = 0.0  # when the connection came or broke
        self._asked: float | None = None  # when the beat was sent that has not been answered

    async def lost(self) -> str:
        """Return when the process is lost, with the reason in words. Raises zmq.ZMQError."""
        loop = asyncio.get_running_loop()
        self._since, beat_at = loop.time(), 0.0
        with ExitStack() as stack:
            stack.enter_context(_connection(self._context, self._info, self._on_event))
            heart = stack.enter_context(_heart(self._context, self._info, self._on_beat))
            while (reason := self._reason(loop.time())) is None:
                if self._connected and self._asked is None and loop.time() >= beat_at:
                    heart.send_multipart([b"", b"ping"], zmq.NOBLOCK)  # as in heartbeat.py; it is not full with one
                    self._asked = loop.time()
                    beat_at = self._asked + INTERVAL_S
                self._changed.clear()
                await _wait(self._changed, min(TICK_S, self._timeout_s))
            return reason

    def _reason(self, now: float) -> str | None:
        """Why the process is lost; None if it is not."""
        if self._came_back:
            self._came_back = False
            if self._busy():
                return "the connection to it broke, and what it was asked is lost"
        if not self._connected:
            silent_s = now - self._since
            if self._was_connected and silent_s >= min(GRACE_S, self._timeout_s):
                return "nothing listens on its ports any more"
            if silent_s >= self._timeout_s:
                return "nothing listens on its ports"
        if self._beats and self._asked is not None and now - self._asked >= self._timeout_s:
            return f"it has not answered its heartbeat for {self._timeout_s:g} s"
        return None

    def _on_event(self, event: int) -> None:
        self._connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        self._came_back = self._came_back or (self._connected and self._was_connected)
        self._was_connected = self._was_connected or self._connected
        self._since = asyncio.get_running_loop().time()
        self._changed.set()

    def _on_beat(self, frames: list[bytes]) -> None:
        self._beats, self._asked = True, None


async def listens(context: zmq.Context[zmq.Socket[bytes]], info: ConnectionInfo, timeout_s: float) -> bool:
    """Whether a process takes connections to its shell, and speaks ZMTP: one that is stopped does not."""
    greeted = asyncio.Event()
    with _connection(context, info, lambda event: greeted.set()):
        return await _wait(greeted, timeout_s)


@contextmanager
def _connection(
    context: zmq.Context[zmq.Socket[bytes]], info: ConnectionInfo, on_event: Callable[[int], None]
) -> Iterator[None]:
    """An idle connection to a kernel's shell, while this is open; `on_event` hears when it comes and when it breaks."""
    monitors: list[zmq.Socket[bytes]] = []
    socket = open_socket(
        context, info, "shell", zmq.DEALER, lambda socket: monitors.append(socket.get_monitor_socket(_WATCHED))
    )
    try:
        with _reading(monitors[0], lambda frames: on_event(_EVENT.unpack_from(frames[0])[0])):
            yield
    finally:
        socket.disable_monitor()  # before the other end is closed: libzmq's thread would wait for somebody to read
        monitors[0].close(0)
        socket.close(0)


@contextmanager
def _heart(
    context: zmq.Context[zmq.Socket[bytes]], info: ConnectionInfo, on_beat: Callable[[list[bytes]], None]
) -> Iterator[zmq.Socket[bytes]]:
    """A socket for beats, while this is open."""
    socket = open_socket(context, info, "hb", zmq.DEALER)
    try:
        with _reading(socket, on_beat):
            yield socket
    finally:
        socket.close(0)


@contextmanager
def _reading(socket: zmq.Socket[bytes], on_message: Callable[[list[bytes]], None]) -> Iterator[None]:
    """Have the messages of a socket heard, while this is open."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        while int(socket.EVENTS) & zmq.POLLIN:
            on_message(socket.recv_multipart(zmq.NOBLOCK))

    add_reader(loop, socket.FD, look)
    try:
        look()
        yield
    finally:
        remove_reader(loop, socket.FD)


async def _wait(event: asyncio.Event, timeout_s: float) -> bool:
    """Whether the event is set within that time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await event.wait()
    except TimeoutError:
        return False
