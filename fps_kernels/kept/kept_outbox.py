"""The outbox of a WebSocket to a kernel that is kept: it notes how far its client has come for good."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from ..kernel_server.iopub_log import Entry
from ..kernel_server.outbox import SessionOutbox
from ..websocket.frame_batch import FrameBatch
from ..websocket.frames import frame_header
from .cursor_file import Cursor
from .kept_places import KeptPlaces, NumberedFrames, Place
from .kept_socket import KeptSocket

LOOK_S = 0.005
"""Between two looks at how much of what was written the system has taken, which nothing tells."""


class KeptOutbox(SessionOutbox):
    """An outbox.

    A session has heard a message once the system has all of its bytes: what a process leaves in its own buffers is lost
    when it is killed, what the system has is sent all the same. So after each write the messages whose bytes may still
    be in the transport's buffer are kept as *steps*, and the session's place is moved past them as that is emptied.

    That a client sends something to a process that is gone does no harm: the keeper has a duplicate of the socket, see
    keeper/last_words.py.
    """

    # Set by `keep`: the constructor is that of every outbox.
    _places: KeptPlaces
    _place: Place
    _socket: KeptSocket
    _on_safe: Callable[[Place], None]

    def keep(self, places: KeptPlaces, place: Place, socket: KeptSocket, on_safe: Callable[[Place], None]) -> None:
        """Note the session's place.

        socket: where the messages go. on_safe: called when `place.safe` was moved.
        """
        self._places, self._place, self._on_safe, self._socket = places, place, on_safe, socket
        self._entries: Sequence[Entry] = ()
        self._private: Sequence[bytes] | None = None
        self._run: FrameBatch | None = None
        self._steps: deque[tuple[int, Cursor]] = deque()  # where a message ends, and where the session is after it
        self._written = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        socket.on_taken = self._on_taken

    def take(self, now: float) -> FrameBatch | None:
        self._entries, self._private = (), None
        self._run = super().take(now)
        return self._run

    def _take_entries(self, entries: Sequence[Entry], run: FrameBatch) -> FrameBatch:
        self._entries = entries
        return super()._take_entries(entries, run)

    def _take_private(self, channel: str, frames: Sequence[bytes]) -> FrameBatch:
        self._private = frames
        return super()._take_private(channel, frames)

    def _on_taken(self) -> None:
        """The system has taken all that was written: note it at once, the rest is done by `sent`."""
        if self._steps:
            return
        place = self._place
        heard, taken = place.cursor
        if self._entries:
            heard = max(heard, self._places.number_after(self._entries[-1].end))
        elif isinstance(self._private, NumberedFrames):
            heard, taken = max(heard, self._private.number), max(taken, self._private.made)
        place.safe = Cursor(heard, taken)
        self._on_safe(place)

    def sent(self, number: int, now: float, *, waited: bool) -> None:
        run, self._run = self._run, None
        entries, private = self._entries, self._private
        super().sent(number, now, waited=waited)
        if not number or run is None:
            return
        place = self._place
        waiting = self._waiting()
        if not waiting:
            self._hear(entries[number - 1].end if entries else None, private)
            self._steps.clear()
            if place.safe != place.cursor:
                place.safe = place.cursor
                self._on_safe(place)
            return
        for index, (is_text, pieces) in enumerate(run.messages[:number]):
            self._hear(entries[index].end if entries else None, private)
            size = sum(map(len, pieces))
            self._written += size + len(frame_header(is_text, size))
            self._steps.append((self._written, place.cursor))
        self._settle(waiting)

    def _hear(self, cursor: int | None, private: Sequence[bytes] | None) -> None:
        if cursor is not None:
            self._places.hear(self._session, self._place, cursor)
        elif private is not None:
            self._places.hear_private(self._place, private)

    def _waiting(self) -> int:
        """How many of the last bytes that were written the client may not get if this process is killed now."""
        unsent_bytes = self._socket.unsent_bytes
        return 0 if unsent_bytes is None or self._ended else unsent_bytes()

    def _settle(self, waiting: int) -> None:
        """Move the place to the last message of which nothing waits."""
        steps, place = self._steps, self._place
        safe = None
        while steps and steps[0][0] <= self._written - waiting:
            _, safe = steps.popleft()
        if safe is not None and safe.seq >= place.safe.seq:
            place.safe = safe
            self._on_safe(place)
        if steps and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        self._settle(self._waiting())

    def end(self) -> None:
        """The connection has ended: nothing tells any more what of the rest was sent."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._steps.clear()
        if self._place.safe != self._place.cursor:
            self._place.safe = self._place.cursor
            self._on_safe(self._place)
