"""What is kept for clients that are away or slow: the log of iopub, a session's inbox, and what is sent of both."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import weakref
from collections.abc import Sequence
from typing import Any

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.message import Message, dump_json, make_frames, make_header
from fps_kernels.kernel_server.inbox import Inbox
from fps_kernels.kernel_server.iopub_log import (
    MERGED_MAX_BYTES,
    Entry,
    IopubLog,
    ReplayLimits,
    merge_entries,
)
from fps_kernels.kernel_server.journal import Journal
from fps_kernels.kernel_server.server import KernelServer, ServerLimits

from ..support.cases import for_each
from ..support.examples import examples
from ..support.readers import Reader, Sent
from ..support.waits import until

EVERYTHING = 1 << 40
WIDE = ReplayLimits(max_messages=EVERYTHING, max_bytes=EVERYTHING, max_age_s=EVERYTHING)


def make(
    msg_type: str, content: dict[str, Any], parent: str = "", metadata: bytes = b"{}", buffers: Sequence[bytes] = ()
) -> Message:
    header = dump_json(make_header(msg_type, "kernel"))
    parent_header = dump_json({"msg_id": parent}) if parent else b"{}"
    return Message("iopub", [header, parent_header, metadata, dump_json(content), *buffers])


def stream(text: str, name: str = "stdout", parent: str = "a") -> Message:
    return make("stream", {"name": name, "text": text}, parent)


def status(state: str = "busy", parent: str = "a") -> Message:
    return make("status", {"execution_state": state}, parent)


def entries_of(*messages: Message) -> list[Entry]:
    return [Entry(number, 0.0, message.frames, message.msg_type == "status") for number, message in enumerate(messages)]


def filled(*messages: Message, limits: ReplayLimits = WIDE, now: float = 0.0) -> IopubLog:
    log = IopubLog(limits)
    log.append(messages, now)
    return log


def content_of(frames: Sequence[bytes]) -> dict[str, Any]:
    return json.loads(frames[3])


def text_of(entries: Sequence[Entry]) -> str:
    return "".join(content_of(entry.frames)["text"] for entry in entries)


def size_of(message: Message) -> int:
    return sum(map(len, message.frames))


texts = st.text(max_size=6)
streams = st.builds(stream, texts, st.sampled_from(["stdout"] * 7 + ["stderr"]), st.sampled_from("aaaaaaab"))
others = st.builds(status) | st.builds(
    make, st.just("display_data"), st.just({"data": {}}), st.just("a"), st.just(b"{}"), st.just([b"buffer"])
)
messages = st.integers(0, 9).flatmap(lambda number: streams if number else others)
batches = st.lists(messages, min_size=1, max_size=30)


# --- the log, against a list of all that was ever appended ---------------------------------------


class LogMachine(RuleBasedStateMachine):
    """Several readers of one log, each with messages on the way to it, while the log is cut and merged."""

    @initialize(max_messages=st.integers(1, 12), max_bytes=st.integers(500, 9000))
    def start(self, max_messages: int, max_bytes: int) -> None:
        self.log = IopubLog(ReplayLimits(max_messages, max_bytes, max_age_s=10.0))
        self.now = 0.0
        self.all: list[Message] = []
        self.times: list[float] = []
        self.cursors = [0, 0, 0]
        self.in_flight: list[list[Entry]] = [[], [], []]

    def check(self, entries: Sequence[Entry], begin: int) -> None:
        """They are what was said from `begin` on: no gap, no double, in order, and no text lost."""
        for entry in entries:
            assert entry.seq == begin
            begin = entry.end
            said = self.all[entry.seq : entry.end]
            if len(said) == 1:
                assert list(entry.frames) == said[0].frames
                continue
            assert {message.msg_type for message in said} == {"stream"}
            assert len({(message.frames[1], message.content["name"]) for message in said}) == 1
            assert list(entry.frames[:3]) == said[0].frames[:3]
            assert content_of(entry.frames)["text"] == "".join(message.content["text"] for message in said)

    @rule(batch=batches)
    def append(self, batch: list[Message]) -> None:
        self.log.append(batch, self.now)
        self.all += batch
        self.times += [self.now] * len(batch)

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        reader=st.integers(0, 2), max_messages=st.integers(1, 20), max_bytes=st.integers(1, 5000), merge=st.booleans()
    )
    def take(self, reader: int, max_messages: int, max_bytes: int, merge: bool) -> None:
        if self.in_flight[reader]:
            return
        cursor = self.cursors[reader]
        cursor += self.log.missing(cursor)
        entries = self.log.read(cursor, max_messages, max_bytes)
        assert bool(entries) == (cursor < len(self.all))
        assert len(entries) <= max_messages
        assert len(entries) <= 1 or sum(entry.size for entry in entries) <= max_bytes
        if merge:
            entries = merge_entries(entries)
        self.check(entries, cursor)
        self.cursors[reader] = cursor
        self.in_flight[reader] = entries

    @rule(reader=st.integers(0, 2), number=st.integers(0, 20))
    def sent(self, reader: int, number: int) -> None:
        arrived, self.in_flight[reader] = self.in_flight[reader][:number], []
        if arrived:
            self.cursors[reader] = arrived[-1].end

    @rule()
    def forget(self) -> None:
        self.log.forget_before(min(self.cursors))

    @rule(pinned=st.none() | st.integers(0, 2))
    def keep_bounds(self, pinned: int | None) -> None:
        log, limits = self.log, self.log.limits
        exceeded, first_seq = log.exceeds_bounds(self.now), log.first_seq
        keep_from = len(self.all) if pinned is None else self.cursors[pinned]
        marks = [*self.cursors, *(entry.end for entries in self.in_flight for entry in entries)]
        log.keep_bounds(marks, self.now, keep_from)
        if not exceeded:
            assert log.first_seq == first_seq
        assert log.first_seq <= max(keep_from, first_seq)
        kept = log.read(0, EVERYTHING, EVERYTHING)
        if kept and kept[0].seq < keep_from:
            assert len([entry for entry in kept if entry.seq < keep_from]) <= limits.max_messages
            assert log.bytes - log.waiting(keep_from)[1] <= limits.max_bytes
            assert self.now - kept[0].time <= limits.max_age_s
            assert keep_from < len(self.all) or not log.exceeds_bounds(self.now)

    @precondition(lambda self: not any(self.in_flight))
    @rule()
    def clear(self) -> None:
        self.log.clear()
        assert len(self.log) == 0
        self.cursors = [self.log.next_seq] * 3

    @invariant()
    def what_is_kept_is_whole_and_counted(self) -> None:
        log = self.log
        kept = log.read(0, EVERYTHING, EVERYTHING)
        self.check(kept, log.first_seq)
        assert (kept[-1].end if kept else log.first_seq) == log.next_seq == len(self.all)
        assert [entry.time for entry in kept] == [self.times[entry.seq] for entry in kept]
        assert log.bytes == sum(len(part) for entry in kept for part in entry.frames)
        assert len(log) == len(kept)
        for cursor in self.cursors:
            assert not any(entry.seq < cursor < entry.end for entry in kept)
            assert log.missing(cursor) == max(0, log.first_seq - cursor)
            rest = [entry for entry in kept if entry.seq >= cursor]
            said = self.all[rest[0].seq :] if rest else []
            assert log.waiting(cursor) == (len(rest), sum(map(size_of, said)))


LogMachine.TestCase.settings = settings(stateful_step_count=30, max_examples=examples(250))


class TestLog(LogMachine.TestCase):  # type: ignore[misc, valid-type]  # hypothesis makes the class
    """Runs the machine."""


@given(st.lists(others | st.builds(stream, texts), max_size=15), st.integers(1, 15), st.integers(1, 3000))
def test_no_more_is_dropped_than_the_bounds_demand(said: list[Message], max_messages: int, max_bytes: int) -> None:
    log = filled(*said, limits=ReplayLimits(max_messages, max_bytes))
    log.keep_bounds(range(len(said)), 0.0, len(said))  # a cursor at each message: nothing is merged
    expected = said
    while len(expected) > max_messages or sum(map(size_of, expected)) > max_bytes:
        expected = expected[1:]
    assert log.missing(0) == len(said) - len(expected)
    assert [entry.frames for entry in log.read(0, EVERYTHING, EVERYTHING)] == [message.frames for message in expected]


def test_messages_are_dropped_by_age() -> None:
    log = filled(status(), status(), limits=ReplayLimits(max_age_s=10))
    log.append([status()], 5.0)
    log.keep_bounds([0], 10.5, 3)
    assert log.missing(0) == 2


def test_merging_spares_messages_from_being_dropped() -> None:
    log = filled(*(stream(f"{number},") for number in range(100)), limits=ReplayLimits(max_messages=10))
    log.keep_bounds([0], 0.0, 100)
    assert log.missing(0) == 0
    assert text_of(log.read(0, 10, EVERYTHING)) == "".join(f"{number}," for number in range(100))


def test_nothing_is_merged_across_a_place_where_a_client_is_or_may_be_next() -> None:
    log = filled(*(stream("x") for _ in range(20)), limits=ReplayLimits(max_messages=5))
    log.keep_bounds([0, 3, 4, 11], 0.0, 20)
    assert [entry.seq for entry in log.read(0, 20, EVERYTHING)] == [0, 3, 4, 11]


def test_what_a_connected_client_still_has_to_hear_is_not_dropped() -> None:
    log = filled(*(status() for _ in range(20)), limits=ReplayLimits(max_messages=5))
    log.keep_bounds([0, 8], 0.0, keep_from=8)
    assert log.missing(0) == 3  # of the eight that only others have to hear, the bound of five leaves as many
    assert len(log) == 17
    log.keep_bounds([0, 8], 1e9, keep_from=8)
    assert (log.missing(0), len(log)) == (8, 12)


def test_a_connected_client_that_lags_costs_those_that_are_away_nothing() -> None:
    """What it has not heard yet is bounded otherwise, and merged for the others when it has heard it."""
    log = IopubLog(ReplayLimits(max_messages=10))
    for number in range(1000):
        log.append([stream(f"{number},")], 0.0)
        log.keep_bounds([0, number - 500], 0.0, keep_from=max(0, number - 500))
    log.keep_bounds([0, 1000], 0.0, keep_from=1000)
    assert log.missing(0) == 0
    assert len(log) <= 10


def test_an_entry_larger_than_the_bound_is_read_all_the_same() -> None:
    log = filled(stream("x" * 5000), stream("y"))
    assert len(log.read(0, 10, 100)) == 1


# --- merging -------------------------------------------------------------------------------------


@given(st.lists(messages, max_size=20))
def test_merging_changes_no_text_and_nothing_else(said: list[Message]) -> None:
    merged = merge_entries(entries_of(*said))
    found = []
    for entry in merged:
        covered = said[entry.seq : entry.end]
        if len(covered) == 1:
            assert list(entry.frames) == covered[0].frames
        else:
            keys = {(message.msg_type, message.frames[1], message.content["name"]) for message in covered}
            assert len(keys) == 1
            assert text_of([entry]) == "".join(message.content["text"] for message in covered)
        found += covered
    assert found == said


def test_a_merged_message_has_header_parent_and_metadata_of_the_first() -> None:
    first = make("stream", {"name": "stdout", "text": "1"}, "a", b'{"first":1}')
    [entry] = merge_entries(entries_of(first, stream("2"), stream("3")))
    assert list(entry.frames[:3]) == first.frames[:3]
    assert content_of(entry.frames) == {"name": "stdout", "text": "123"}
    assert (entry.seq, entry.count, entry.is_status) == (0, 3, False)


@for_each(
    "second",
    [
        stream("2", name="stderr"),
        stream("2", parent="b"),
        make("stream", {"name": "stdout", "text": "2"}, "a", buffers=[b""]),
        make("stream", {"name": "stdout", "text": "2", "more": 1}, "a"),
        make("stream", {"name": "stdout", "text": 2}, "a"),
        make("stream", {"name": "stdout"}, "a"),
        make("display_data", {"name": "stdout", "text": "2"}, "a"),
        make('"stream"', {"name": "stdout", "text": "2"}, "a"),
        Message("iopub", [*stream("2").frames[:3], b"not JSON"]),
    ],
)
def test_only_streams_of_one_parent_and_name_become_one(second: Message) -> None:
    merged = merge_entries(entries_of(stream("1"), second, stream("3")))
    assert [list(entry.frames)[3:] for entry in merged] == [
        stream("1").frames[3:],
        second.frames[3:],
        stream("3").frames[3:],
    ]


def test_streams_that_are_not_neighbours_stay_apart() -> None:
    assert len(merge_entries(entries_of(stream("1"), status(), stream("2")))) == 3


def test_a_merged_message_is_1_mib_at_most() -> None:
    said = [stream("x" * 300_000) for _ in range(10)]
    merged = merge_entries(entries_of(*said))
    assert [entry.count for entry in merged] == [3, 3, 3, 1]
    assert all(entry.size <= MERGED_MAX_BYTES for entry in merged)


def test_lone_surrogates_survive_merging() -> None:
    [entry] = merge_entries(entries_of(stream("\ud83d"), stream("\ude00"), stream("\ud800")))
    assert text_of([entry]).encode("utf-16", "surrogatepass") == "😀\ud800".encode("utf-16", "surrogatepass")


# --- the inbox -----------------------------------------------------------------------------------


def private(name: str) -> list[bytes]:
    return [b"h" * 10, b"", b"", name.encode()]


def drain(inbox: Inbox, cursor: int = EVERYTHING) -> list[str]:
    names = []
    while (due := inbox.due(cursor)) is not None:
        names.append(due[1][3].decode())
        inbox.pop()
    return names


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["shell", "stdin", "control"])), max_size=20), st.data())
def test_an_inbox_keeps_order_and_bounds(puts: list[tuple[int, str]], data: st.DataObject) -> None:
    max_messages = data.draw(st.integers(1, 8))
    max_bytes = data.draw(st.integers(1, 100))
    inbox = Inbox(ReplayLimits(max_messages, max_bytes))
    expected: list[tuple[int, str, list[bytes]]] = []
    place = dropped = 0
    for number, (step, channel) in enumerate(puts):
        place += step
        expected.append((place, channel, private(str(number))))
        inbox.put(*expected[-1])
        while len(expected) > 1 and (
            len(expected) > max_messages or sum(len(b"".join(item[2])) for item in expected) > max_bytes
        ):
            del expected[0]
            dropped += 1
        assert inbox.dropped == dropped
        assert len(inbox) == len(expected)
        assert inbox.next_place() == expected[0][0]
    for place, channel, frames in expected:
        assert inbox.due(place - 1) is None
        assert inbox.due(place) == (channel, frames)
        assert inbox.pop() == (channel, frames)
    assert inbox.next_place() is None


def test_what_is_put_first_comes_before_all_and_in_order() -> None:
    inbox = Inbox(WIDE)
    inbox.put(3, "shell", private("3"))
    inbox.put_first(2, [("shell", private("1")), ("shell", private("2"))])
    assert drain(inbox, 2) == ["1", "2"]
    assert drain(inbox, 3) == ["3"]


def test_a_channel_can_be_discarded() -> None:
    inbox = Inbox(ReplayLimits(max_bytes=30))
    for number, channel in enumerate(["stdin", "shell"]):
        inbox.put(0, channel, private(str(number)))
    inbox.discard("stdin")
    inbox.put(0, "control", private("2"))  # 22 bytes are counted now, not 33
    assert drain(inbox) == ["1", "2"]
    assert inbox.dropped == 0


def test_after_moving_up_nothing_waits_for_iopub_that_will_not_come() -> None:
    inbox = Inbox(WIDE)
    inbox.put(5, "shell", private("1"))
    inbox.put(9, "control", private("2"))
    inbox.move_up(3)
    assert inbox.next_place() == 3
    assert drain(inbox, 3) == ["1", "2"]


def test_removing_what_was_discarded_meanwhile_takes_nothing_else() -> None:
    inbox = Inbox(WIDE)
    request = private("input")
    inbox.put(0, "stdin", request)
    inbox.put(0, "shell", private("reply"))
    inbox.discard("stdin")
    inbox.remove_first(request)
    assert drain(inbox) == ["reply"]


# --- what a WebSocket is sent --------------------------------------------------------------------


def leave(journal: Journal, reader: Reader, *, lost: bool = False) -> None:
    """The client goes away, and the bounds hold for it."""
    journal.detach(reader.session, 0.0, lost=lost)
    assert journal.trim(0.0) == []


def names_of(sent: Sequence[Sent]) -> list[str]:
    """The texts of streams, the names of private messages."""
    return [
        content_of(frames).get("text", "status") if channel == "iopub" else frames[3].decode()
        for channel, frames in sent
    ]


def test_replies_keep_their_place_among_iopub_messages() -> None:
    journal = Journal(WIDE)
    reader = Reader(journal)
    for number in range(3):
        journal.append([stream(f"iopub {number}")], 0.0)
        journal.put(reader.session, "shell", private(f"reply {number}"))
    assert names_of(reader.read()) == ["iopub 0", "reply 0", "iopub 1", "reply 1", "iopub 2", "reply 2"]


def test_what_was_not_sent_is_taken_again() -> None:
    journal = Journal(WIDE)
    reader = Reader(journal)
    journal.append([stream(str(number)) for number in range(5)], 0.0)
    assert names_of(reader.take()) == ["0", "1", "2", "3", "4"]
    reader.sent(2)
    assert names_of(reader.take()) == ["2", "3", "4"]
    reader.sent(0)
    assert names_of(reader.read()) == ["2", "3", "4"]


def test_a_reply_that_was_not_sent_is_taken_again() -> None:
    journal = Journal(WIDE)
    reader = Reader(journal)
    journal.put(reader.session, "shell", private("reply"))
    assert names_of(reader.take()) == ["reply"]
    reader.sent(0)
    assert names_of(reader.read()) == ["reply"]
    assert reader.read() == []


def test_a_reply_that_comes_while_an_input_request_is_withdrawn_is_sent() -> None:
    journal = Journal(WIDE)
    reader = Reader(journal)
    journal.put(reader.session, "stdin", private("input"))
    assert names_of(reader.take()) == ["input"]
    journal.discard_input_requests()
    journal.put(reader.session, "shell", private("reply"))
    reader.sent(1)
    assert names_of(reader.read()) == ["reply"]


def test_a_restart_in_the_middle_of_sending_makes_no_message_missing() -> None:
    journal = Journal(WIDE)
    reader = Reader(journal)
    journal.append([stream(str(number)) for number in range(5)], 0.0)
    reader.take()
    journal.restart()
    reader.sent(2)
    journal.append([stream("new")], 0.0)
    assert names_of(reader.read()) == ["new"]


def test_a_notice_says_how_many_iopub_messages_are_missing() -> None:
    journal = Journal(ReplayLimits(max_messages=3))
    reader = Reader(journal)
    journal.append([make("display_data", {"text": str(number)}, "cell") for number in range(10)], 0.0)
    leave(journal, reader)
    notice, *rest = reader.read()
    assert content_of(notice[1])["name"] == "stderr"
    assert "[7 messages are missing" in content_of(notice[1])["text"]
    assert json.loads(notice[1][0])["session"] == "kernel"
    assert json.loads(notice[1][1]) == {"msg_id": "cell"}
    assert names_of(rest) == ["7", "8", "9"]


def test_a_notice_counts_replies_that_were_dropped() -> None:
    journal = Journal(ReplayLimits(max_messages=2))
    reader = Reader(journal)
    for number in range(5):
        journal.put(reader.session, "shell", private(str(number)))
    notice, *rest = names_of(reader.read())
    assert notice.startswith("[3 messages")
    assert rest == ["3", "4"]


def test_a_notice_that_was_not_sent_is_taken_again() -> None:
    journal = Journal(ReplayLimits(max_messages=1))
    reader = Reader(journal)
    journal.append([status(), status()], 0.0)
    leave(journal, reader)
    [notice] = names_of(reader.take())
    reader.sent(0)
    assert names_of(reader.read()) == [notice, "status"]


def test_messages_dropped_while_a_notice_is_sent_are_told_of_later() -> None:
    journal = Journal(ReplayLimits(max_messages=1))
    reader = Reader(journal)
    for number in range(2):
        journal.put(reader.session, "shell", private(str(number)))
    [first] = names_of(reader.take())
    journal.put(reader.session, "shell", private("2"))
    reader.sent(1)
    second, reply = names_of(reader.read())
    assert (first[:2], second[:2], reply) == ("[1", "[1", "2")


@pytest.mark.parametrize(("blocked", "fewer"), [(True, True), (False, False)], ids=["slow", "not slow"])
def test_a_client_gets_fewer_messages_when_it_is_far_behind_and_slow(blocked: bool, fewer: bool) -> None:
    journal = Journal(WIDE)
    reader = Reader(journal)
    journal.append([stream(f"{number},") for number in range(3_000)], 0.0)
    frames = reader.read(waited=blocked)
    assert (len(frames) < 2_200) is fewer
    assert "".join(names_of(frames)) == "".join(f"{number}," for number in range(3_000))


def test_status_and_replies_that_nobody_confirmed_are_sent_again() -> None:
    journal = Journal(WIDE)
    reader = Reader(journal)
    journal.append([status(), stream("x")], 0.0)
    journal.put(reader.session, "shell", private("reply"))
    journal.put(reader.session, "stdin", private("input"))
    reader.read()
    leave(journal, reader, lost=True)
    assert names_of(reader.read()) == ["status", "reply"]


def test_a_restart_is_told_once_though_the_connection_broke_off() -> None:
    """JupyterLab connects anew when it hears of it, and would hear it again for ever."""
    journal = Journal(WIDE)
    reader = Reader(journal)
    journal.put(
        reader.session, "iopub", make_frames("status", {"execution_state": "restarting", "reason": "x"}, "server")
    )
    journal.put(reader.session, "iopub", make_frames("status", {"execution_state": "idle"}, "kernel"))
    assert names_of(reader.read()) == ["status", "status"]
    leave(journal, reader, lost=True)
    [(_, frames)] = reader.read()
    assert content_of(frames) == {"execution_state": "idle"}


# --- a client that stalls, over the whole of the server's side ------------------------------------


class StallingSocket:
    """A WebSocket in memory, in whose `send` the writer waits until the client reads."""

    closed_cleanly = True
    write = write_now = deliver = None

    def __init__(self) -> None:
        self.frames: list[str | bytes] = []
        self.reads = asyncio.Event()
        self.stalled = asyncio.Event()
        self.left = asyncio.Event()
        self.arrived = asyncio.Event()

    async def receive(self) -> None:
        await self.left.wait()

    async def send(self, frame: str | bytes) -> None:
        self.stalled.set()
        await self.reads.wait()
        self.frames.append(frame)
        self.arrived.set()

    async def close(self, code: int, reason: str) -> None:
        self.left.set()

    async def until(self, sign: str) -> list[dict[str, Any]]:
        """Read until a frame holds this; returns all messages so far."""
        async with asyncio.timeout(60):
            while not any(sign in str(frame) for frame in self.frames):
                self.arrived.clear()
                await self.arrived.wait()
        return [json.loads(frame) for frame in self.frames]


async def test_merging_in_the_middle_of_sending_loses_nothing() -> None:
    with zmq.Context() as context:
        client = KernelClient("id", context)
        deliver: Any = []
        client.add_batch_listener = deliver.append  # type: ignore[method-assign]
        server = KernelServer(client, ServerLimits(ReplayLimits(max_messages=10)))
        [on_batch] = deliver
        socket = StallingSocket()
        serving = asyncio.create_task(server.serve(socket, "me", v1=False))
        socket.reads.set()
        await socket.until('"starting"')
        socket.reads.clear()
        socket.stalled.clear()
        on_batch("iopub", [stream(f"{number},") for number in range(5)])
        await asyncio.wait_for(socket.stalled.wait(), 30)  # five messages are on the way
        on_batch("iopub", [stream(f"{number},") for number in range(5, 100)])  # too many: they are merged
        on_batch("iopub", [stream("end")])
        socket.reads.set()
        got = await socket.until("end")
        socket.left.set()
        await serving
        text = "".join(message["content"]["text"] for message in got if message["msg_type"] == "stream")
        assert text == "".join(f"{number}," for number in range(100)) + "end"


class PromptSocket(StallingSocket):
    """One that takes whole frames, at once while the client reads."""

    async def write(self, buffers: Sequence[bytes]) -> None:  # type: ignore[override]
        await self.send(b"".join(buffers))

    def write_now(self, buffers: Sequence[bytes]) -> bool:  # type: ignore[override]
        if self.reads.is_set():
            self.frames.append(b"".join(buffers))
        return self.reads.is_set()

    def numbers(self) -> list[int]:
        return [int(number) for frame in self.frames for number in re.findall(r'"text": ?"(\d+),', str(frame))]


async def test_what_is_due_waits_for_no_task_while_the_client_takes_it() -> None:
    with zmq.Context() as context:
        client = KernelClient("id", context)
        deliver: Any = []
        client.add_batch_listener = deliver.append  # type: ignore[method-assign]
        server = KernelServer(client)
        [on_batch] = deliver
        socket = PromptSocket()
        socket.reads.set()
        serving = asyncio.create_task(server.serve(socket, "me", v1=False))
        await until(lambda: socket.frames)
        on_batch("iopub", [stream("0,")])
        assert socket.numbers() == [0]
        on_batch("iopub", [stream(f"{number},") for number in range(1, 200)])  # more than it takes in one turn
        assert 1 < len(socket.numbers()) < 200
        socket.reads.clear()
        on_batch("iopub", [stream("200,")])
        socket.reads.set()
        await until(lambda: len(socket.numbers()) > 200)
        assert socket.numbers() == list(range(201))
        socket.left.set()
        await serving


@pytest.mark.parametrize("ended_by", ["client", "server"])
async def test_a_socket_that_was_closed_is_given_back_at_once(ended_by: str) -> None:
    """Without the garbage collector: what a WebSocket holds is megabytes in the worst case."""
    with zmq.Context() as context:
        client = KernelClient("id", context)
        server = KernelServer(client)
        socket = StallingSocket()
        socket.reads.set()
        serving = asyncio.create_task(server.serve(socket, "me", v1=False))
        await socket.until('"starting"')
        socket.left.set() if ended_by == "client" else server.close(1000, "over")
        await serving
        kept = weakref.ref(socket)
        gc.disable()
        try:
            del socket, serving
            await asyncio.sleep(0)
            assert kept() is None
        finally:
            gc.enable()
