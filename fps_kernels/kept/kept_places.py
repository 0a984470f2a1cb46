"""How far the clients of a kernel have come, in the numbers of the keeper's record. Pure.

Theory of operation
===================

A journal (kernel_server/journal.py) numbers the iopub messages that it keeps; the record numbers everything that passes
between the kernel and its servers. A session hears iopub messages and what is in its inbox in the order in which they
came, which is the order of the record. So one number says how far it has come: `heard`, of which it holds that what has
a lower number was heard or was not for it. It is all that a later server must know: that one is told the record from
the lowest `heard` on, does with it what the first server did, and leaves out for each session what lies below.

What a server puts into an inbox of its own accord, as an answer in the place of a kernel that has died, is nothing that
the kernel has said. The server leaves a mark in the record for each of these, and counts them: `taken` is how many of
its own the session has had. Statuses are not counted; whoever connects gets a new one.

While a server is told what was said before it came, a session whose `heard` lies further on is *lagging*: its cursor in
the journal stands behind all messages so far, and stays where it is once the record has come to `heard`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ..kernel_server.client_session import ClientSession, SessionKey
from ..kernel_server.journal import Journal
from .cursor_file import Cursor


class NumberedFrames(list[bytes]):
    """A message in an inbox that a later server can give again.

    number: its number in the record, plus one. made: which of the server's own it is, counted from 1; 0 for none.
    """

    __slots__ = ("made", "number")

    def __init__(self, frames: Sequence[bytes], number: int = 0, made: int = 0) -> None:
        super().__init__(frames)
        self.number = number
        self.made = made


class Place:
    """How far one session has come.

    heard, taken: so far, in what was handed to its transport. safe: so far for good: the system has it.
    made: how many messages of the server's own were put into its inbox.
    """

    __slots__ = ("heard", "made", "safe", "taken")

    def __init__(self, safe: Cursor) -> None:
        self.safe = safe
        self.heard, self.taken = safe
        self.made = safe.taken

    @property
    def cursor(self) -> Cursor:
        """How far it has come."""
        return Cursor(self.heard, self.taken)


class KeptPlaces:
    """The places of all sessions of a journal.

    end: the number of the message that is told next. replay_end: where what an earlier server knew ends.
    """

    def __init__(self, journal: Journal) -> None:
        self.end = self.replay_end = 0
        self._journal = journal
        self._places: dict[SessionKey, Place] = {}
        self._lagging: dict[SessionKey, int] = {}
        self._left_lagging: dict[str, int] = {}
        # Runs of the log: the first number there, and what to add to come to the number in the record.
        self._starts: list[int] = []
        self._deltas: list[int] = []

    def __len__(self) -> int:
        return len(self._places)

    def get(self, session: ClientSession) -> Place | None:
        """The place of a session, if it has one."""
        return self._places.get(session.key)

    def restore(self, key: SessionKey, cursor: Cursor, now: float) -> None:
        """Remember a session of an earlier server."""
        self._journal.restore(key, now)
        self._places[key] = Place(cursor)
        self._lagging[key] = cursor.seq

    def restore_left(self, user: str, seq: int) -> None:
        """Remember where the last session of a user was that left."""
        self._journal.left_at[user] = self._journal.log.next_seq
        self._left_lagging[user] = seq

    def add(self, session: ClientSession) -> Place:
        """A session has come: returns its place, a new one if it is new."""
        left = self._left_lagging.pop(session.user, None)
        place = self._places.get(session.key)
        if place is None:
            heard = self.number_of(session.cursor)
            if self.end < self.replay_end:
                heard = max(heard, self.replay_end if left is None else left)
                self._lagging[session.key] = heard
                session.cursor = self._journal.log.next_seq
            elif session.cursor >= self._journal.log.next_seq:
                heard = self.end
            place = self._places[session.key] = Place(Cursor(heard, 0))
        return place

    def forget(self) -> list[SessionKey]:
        """Forget the places of sessions that the journal has forgotten; returns their keys."""
        gone = [key for key in self._places if self._journal.find(key) is None]
        for key in gone:
            del self._places[key]
            self._lagging.pop(key, None)
        return gone

    def note(self, numbers: Sequence[int]) -> None:
        """The journal is about to be given iopub messages that have these numbers, in order."""
        if not numbers:
            return
        start = self._journal.log.next_seq
        if self._lagging or self._left_lagging:
            self._move_lagging(start, numbers)
        starts, deltas = self._starts, self._deltas
        while starts and starts[-1] >= start:  # of messages that the journal did not keep, as nobody was there
            del starts[-1], deltas[-1]
        if isinstance(numbers, range):
            if not deltas or deltas[-1] != numbers[0] - start:
                starts.append(start)
                deltas.append(numbers[0] - start)
            return
        for seq, number in enumerate(numbers, start):
            if not deltas or deltas[-1] != number - seq:
                starts.append(seq)
                deltas.append(number - seq)

    def _move_lagging(self, start: int, numbers: Sequence[int]) -> None:
        for key, heard in list(self._lagging.items()):
            session = self._journal.find(key)
            if session is not None:
                session.cursor = start + bisect_left(numbers, heard)
            if session is None or heard <= numbers[-1]:
                del self._lagging[key]
        for user, heard in list(self._left_lagging.items()):
            self._journal.left_at[user] = start + bisect_left(numbers, heard)
            if heard <= numbers[-1]:
                del self._left_lagging[user]

    def number_of(self, seq: int) -> int:
        """The number in the record of a message of the log."""
        index = bisect_right(self._starts, seq) - 1
        return seq + self._deltas[index] if index >= 0 else 0

    def number_after(self, cursor: int) -> int:
        """The number in the record that follows that of the last message before a cursor of the log."""
        index = bisect_right(self._starts, cursor - 1) - 1
        return cursor + self._deltas[index] if index >= 0 else 0

    def hear(self, session: ClientSession, place: Place, cursor: int) -> None:
        """The session has heard the log up to `cursor`."""
        place.heard = max(place.heard, self.number_after(cursor))

    def hear_private(self, place: Place, frames: Sequence[bytes]) -> None:
        """The session has heard a message of its inbox."""
        if isinstance(frames, NumberedFrames):
            place.heard = max(place.heard, frames.number)
            place.taken = max(place.taken, frames.made)

    def has_heard(self, session: ClientSession, number: int) -> bool:
        """Whether the session has heard the message with this number before."""
        place = self._places.get(session.key)
        return place is not None and number < place.heard

    def first_needed(self) -> int:
        """The number below which nothing in the record is needed by any session."""
        log = self._journal.log
        first = self.end
        for key, place in self._places.items():
            session = self._journal.find(key)
            if session is None:
                continue
            all_heard = session.cursor >= log.next_seq and not len(session.inbox) and place.safe == place.cursor
            if not all_heard or key in self._lagging:
                first = min(first, place.safe.seq)
        for user, seq in self._journal.left_at.items():
            if user in self._left_lagging:
                first = min(first, self._left_lagging[user])
            elif seq < log.next_seq:
                first = min(first, self.number_of(max(seq, log.first_seq)))
        keep = bisect_right(self._starts, log.first_seq - 1) - 1  # runs of what the log has forgotten
        if keep > 0:
            del self._starts[:keep], self._deltas[:keep]
        return first
