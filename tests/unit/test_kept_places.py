"""Where clients of a kept kernel are in the record: the pure part, with servers that end at any moment."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.kept.cursor_file import Cursor
from fps_kernels.kept.kept_places import KeptPlaces, NumberedFrames
from fps_kernels.kernel_driver.message import Message, make_frames
from fps_kernels.kernel_server.iopub_log import ReplayLimits
from fps_kernels.kernel_server.journal import Journal

SESSIONS = ("a", "b", "c")
LIMITS = ReplayLimits(max_messages=10_000)

Step = tuple[str, str, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["iopub", "iopub", "private", "other", "attach", "read", "read", "leave", "crash", "look"]),
        st.sampled_from(SESSIONS),
        st.integers(0, 4),
    ),
    max_size=60,
)


@dataclass
class World:
    """A record, the file of cursors, and what each client has heard; a server that can end at any moment."""

    record: list[tuple[str, str]] = field(default_factory=list)  # channel, session it is for
    cursors: dict[str, Cursor] = field(default_factory=dict)
    heard: dict[str, list[int]] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    kept_from: int = 0

    def __post_init__(self) -> None:
        self.begin(0)

    def begin(self, from_seq: int) -> None:
        """A server begins, and is told the record from a number on."""
        self.journal = Journal(LIMITS)
        self.places = KeptPlaces(self.journal)
        self.places.replay_end = len(self.record)
        for session, cursor in self.cursors.items():
            self.places.restore(("", session), cursor, 0.0)
        for number in range(from_seq, len(self.record)):
            self.tell(number)
        self.places.end = len(self.record)

    def tell(self, number: int) -> None:
        channel, session = self.record[number]
        self.places.end = number
        if channel == "iopub":
            self.places.note(range(number, number + 1))
            self.journal.append([message(number)], 0.0)
        elif channel == "private":
            found = self.journal.find(("", session))
            if found is not None and not self.places.has_heard(found, number):
                self.journal.put(found, "shell", NumberedFrames(message(number).frames, number + 1))
        self.journal.trim(0.0)
        self.places.end = number + 1

    def say(self, channel: str, session: str) -> None:
        self.record.append((channel, session))
        self.tell(len(self.record) - 1)

    def attach(self, session: str) -> None:
        found = self.journal.attach(session, 0.0)
        place = self.places.add(found)
        self.heard.setdefault(session, [])
        self.first.setdefault(session, place.heard)
        self.cursors[session] = place.safe

    def read(self, session: str, count: int) -> None:
        """Read some of what is due, one message at a time, as an outbox does."""
        found = self.journal.find(("", session))
        if found is None or not found.attached:
            return
        place = self.places.get(found)
        assert place is not None
        for _ in range(count):
            due = found.inbox.due(found.cursor)
            if due is not None:
                frames = due[1]
                found.inbox.remove_first(frames)
                self.places.hear_private(place, frames)
            elif found.cursor < self.journal.log.next_seq:
                [entry] = self.journal.log.read(found.cursor, 1, 1)
                frames = entry.frames
                found.cursor = entry.end
                self.places.hear(found, place, entry.end)
            else:
                return
            self.heard[session].append(number_of(frames))
            place.safe = place.cursor
            self.cursors[session] = place.safe

    def look(self) -> None:
        self.kept_from = max(self.kept_from, self.places.first_needed())

    def crash(self) -> None:
        start = min((cursor.seq for cursor in self.cursors.values()), default=len(self.record))
        # A session that has heard everything may be further than its cursor says.
        self.begin(max(start, self.kept_from))

    def due_to(self, session: str) -> list[int]:
        """All that a session is to hear, in order."""
        first = self.first[session]
        return [
            number
            for number, (channel, whose) in enumerate(self.record)
            if number >= first and (channel == "iopub" or (channel == "private" and whose == session))
        ]


def message(number: int) -> Message:
    return Message("iopub", make_frames("stream", {"name": "stdout", "text": str(number)}, "kernel"))


def number_of(frames: object) -> int:
    assert isinstance(frames, list)
    return int(Message("iopub", frames).content["text"])


@given(steps)
def test_each_session_hears_each_message_once_whenever_the_server_ends(steps: list[Step]) -> None:
    world = World()
    for what, session, count in steps:
        match what:
            case "iopub" | "private" | "other":
                if what != "private" or session in world.first:
                    world.say(what, session)
            case "attach":
                world.attach(session)
            case "read":
                world.read(session, count)
            case "leave":
                found = world.journal.find(("", session))
                if found is not None and found.attached:
                    world.journal.detach(found, 0.0, lost=False)
            case "crash":
                world.crash()
            case "look":
                world.look()
    world.crash()
    for session in list(world.first):
        world.attach(session)
        world.read(session, 1_000)
        assert world.heard[session] == world.due_to(session)


def test_messages_that_were_dropped_leave_their_numbers_out() -> None:
    journal = Journal(LIMITS)
    places = KeptPlaces(journal)
    session = journal.attach("a", 0.0)
    place = places.add(session)
    numbers = [3, 4, 7, 9]
    places.note(numbers)
    journal.append([message(number) for number in numbers], 0.0)
    heard = []
    for cursor in range(1, 5):
        places.hear(session, place, cursor)
        heard.append(place.heard)
    assert heard == [4, 5, 8, 10]
