"""What a keeper keeps of a kernel, against a list of all that has passed."""

from __future__ import annotations

import json
import pickle

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fps_kernels.keeper.keeper_wire import Batch, FrameReader, decode_batch
from fps_kernels.keeper.record import MAX_RANGES, Record, RecordBounds, Stored, parts

from ..support.examples import examples

ENDLESS = 1 << 40


def frames(msg_id: str, msg_type: str = "stream", parent: str = "") -> list[bytes]:
    header = json.dumps({"msg_id": msg_id, "msg_type": msg_type}).encode()
    parent_header = json.dumps({"msg_id": parent} if parent else {}).encode()
    return [b"<IDS|MSG>", b"", header, parent_header, b"{}", b"{}"]


def decoded(stored: Stored) -> Batch:
    (frame,) = FrameReader().feed(b"".join(stored.pieces))
    return decode_batch(frame)


def ids(batches: list[Stored]) -> list[tuple[int, str]]:
    """The numbers and the ids of all messages."""
    found = []
    for stored in batches:
        batch = decoded(stored)
        for number, message in enumerate(batch.messages):
            header = message[3] if batch.channel == "sent" else message[2]
            found.append((batch.first + number, json.loads(header)["msg_id"]))
    return found


class Life(RuleBasedStateMachine):
    """A kernel that talks, servers that send, see and attach."""

    @initialize(max_messages=st.integers(1, 12))
    def begin(self, max_messages: int) -> None:
        self.max_messages = max_messages
        self.record = Record(7, RecordBounds(max_messages, ENDLESS))
        self.all: list[tuple[int, str, str]] = []  # number, channel, id
        self.requests: dict[str, tuple[int, int | None]] = {}  # where sent, where answered
        self.seen = 0
        self.count = 0

    def new_id(self) -> str:
        self.count += 1
        return f"id-{self.count}"

    def note(self, channel: str, msg_id: str) -> None:
        self.all.append((len(self.all), channel, msg_id))

    @rule()
    def hand_over(self) -> None:
        """Another program takes the keeper's place."""
        self.record = Record.resume(7, pickle.loads(pickle.dumps(self.record.state())))

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        names = [self.new_id() for _ in range(count)]
        self.record.add("iopub", [frames(name) for name in names])
        for name in names:
            self.note("iopub", name)

    @rule(owes=st.booleans(), channel=st.sampled_from(["shell", "control", "stdin"]))
    def send(self, owes: bool, channel: str) -> None:
        name = self.new_id()
        stored = self.record.add_sent(channel, b"me", b"note", frames(name, "x_request" if owes else "comm_msg"))
        assert decoded(stored).messages[0][:3] == [channel.encode(), b"me", b"note"]
        if owes and channel != "stdin":
            self.requests[name] = (len(self.all), None)
        self.note("sent", name)

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        asked = [name for name, (_, answered) in self.requests.items() if answered is None]
        if asked:
            parent = data.draw(st.sampled_from(asked))
            self.requests[parent] = (self.requests[parent][0], len(self.all))
            name = self.new_id()
            self.record.add("shell", [frames(name, "x_reply", parent)])
            self.note("shell", name)

    @rule(data=st.data())
    def see(self, data: st.DataObject) -> None:
        seq = data.draw(st.integers(0, len(self.all) + 2))
        self.record.forget_before(seq)
        self.seen = max(self.seen, min(seq, len(self.all)))

    @invariant()
    def whoever_attaches_is_given_everything_but_what_is_missing(self) -> None:
        if not hasattr(self, "record"):
            return
        assert (self.record.next_seq, self.record.seen) == (len(self.all), self.seen)
        for seq in range(self.seen, len(self.all) + 1):
            given_ = [one for one in ids(self.record.read(seq, ENDLESS)) if one[0] >= seq]
            wanted = [(number, name) for number, _, name in self.all[seq:]]
            assert [one for one in wanted if one in given_] == given_  # in order, none twice
            assert len(wanted) - len(given_) == self.record.missing(seq)

    @invariant()
    def requests_are_there_as_long_as_their_answers_may_come(self) -> None:
        if not hasattr(self, "record"):
            return
        for seq in range(self.seen, len(self.all) + 1):
            known = {name for _, name in ids([*self.record.requests_before(seq), *self.record.read(seq, ENDLESS)])}
            owed = {name for name, (_, answered) in self.requests.items() if answered is None or answered >= seq}
            assert owed <= known
        assert self.record.unfinished == sum(answered is None for _, answered in self.requests.values())

    @invariant()
    def the_bounds_hold(self) -> None:
        if hasattr(self, "record"):
            kept = [decoded(one) for one in self.record.read(0, ENDLESS)]
            for public in (True, False):
                lane = [one for one in kept if (one.channel == "iopub") is public]
                assert sum(len(one.messages) for one in lane[1:]) <= self.max_messages


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=examples(100), stateful_step_count=30, deadline=None)


def test_output_does_not_push_out_a_reply() -> None:
    record = Record(1, RecordBounds(10, ENDLESS))
    record.add_sent("shell", b"me", b"", frames("request", "execute_request"))
    record.add("shell", [frames("reply", "execute_reply", "request")])
    for number in range(100):
        record.add("iopub", [frames(f"line-{number}")])
    lines = [f"line-{number}" for number in range(90, 100)]
    assert [name for _, name in ids(record.read(0, ENDLESS))] == ["request", "reply", *lines]
    assert record.missing(0) == 90
    assert record.missing(50) == 42


def test_bytes_are_bounded_too_and_a_batch_is_split_where_it_is_large() -> None:
    record = Record(1, RecordBounds(ENDLESS, 3_000_000))
    for part in parts([[*frames(f"line-{number}"), bytes(700_000)] for number in range(10)]):
        record.add("iopub", part)
    assert [number for number, _ in ids(record.read(0, ENDLESS))] == [6, 7, 8, 9]
    assert record.size <= 3_000_000


def test_more_bytes_are_kept_while_a_server_is_there() -> None:
    record = Record(1, RecordBounds(ENDLESS, 1_000_000))
    record.awaited = True
    for number in range(10):
        record.add("iopub", [[*frames(f"line-{number}"), bytes(700_000)]])
    assert [number for number, _ in ids(record.read(0, ENDLESS))] == [5, 6, 7, 8, 9]
    record.awaited = False
    record.add("iopub", [frames("line-10")])
    assert [number for number, _ in ids(record.read(0, ENDLESS))] == [9, 10]


def test_the_only_batch_stays_whatever_its_size() -> None:
    record = Record(1, RecordBounds(1, 10))
    record.add("iopub", [frames("one"), frames("two")])
    assert [name for _, name in ids(record.read(0, ENDLESS))] == ["one", "two"]


def test_the_end_of_a_process_is_an_answer_to_all_requests() -> None:
    record = Record(1)
    record.add_sent("shell", b"me", b"", frames("request", "execute_request"))
    record.forget_before(1)
    assert len(record.requests_before(1)) == 1
    record.finish_all()
    record.add("iopub", [frames("line")])
    record.forget_before(2)
    assert record.requests_before(2) == []
    assert record.unfinished == 0


def test_numbers_go_on_after_everything_was_forgotten() -> None:
    record = Record(1)
    record.add("iopub", [frames("line")])
    record.add_sent("shell", b"me", b"", frames("request", "execute_request"))
    record.clear()
    assert (record.next_seq, record.seen, record.size, record.unfinished) == (2, 2, 0, 0)
    record.add_mark(b"me", b"restarted")
    assert decoded(record.read(0, ENDLESS)[0]) == (2, "mark", [[b"me", b"restarted"]])


@given(st.integers(1, 50))
def test_reading_is_bounded(count: int) -> None:
    record = Record(1)
    for number in range(count):
        record.add("iopub", [frames(f"line-{number}")])
    one = record.read(0, 1)
    assert [number for number, _ in ids(one)] == [0]
    some = record.read(0, one[0].size * 3 + 6)
    assert len(some) == min(count, 3)


def test_what_is_known_of_dropped_messages_is_bounded() -> None:
    record = Record(1, RecordBounds(1, ENDLESS))
    for number in range(MAX_RANGES * 2):
        record.add("iopub", [frames(f"line-{number}")])
    assert record.missing(0) == MAX_RANGES * 2 - 1
    assert record.missing(MAX_RANGES * 2 - 10) == 9


def test_a_record_that_has_to_shrink_says_what_is_missing() -> None:
    record = Record(1)
    for number in range(9):
        record.add("iopub", [frames(f"line-{number}")])
    record.shrink()
    assert [number for number, _ in ids(record.read(0, ENDLESS))] == [5, 6, 7, 8]
    assert record.missing(0) == 5
    while record.size:
        record.shrink()
    assert record.missing(0) == 9


def test_what_was_kept_for_a_server_that_lagged_goes_when_none_does() -> None:
    record = Record(1, RecordBounds(ENDLESS, 1_000_000))
    record.awaited = True
    for number in range(5):
        record.add("iopub", [[*frames(f"line-{number}"), bytes(700_000)]])
    record.trim()
    assert [number for number, _ in ids(record.read(0, ENDLESS))] == [4]
    assert record.missing(0) == 4
