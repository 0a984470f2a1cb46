"""The journal while clients come and go: what each is sent, against a list of what it is to hear."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fps_kernels.kernel_driver.message import Message, dump_json, make_frames, make_header
from fps_kernels.kernel_driver.request_log import Request
from fps_kernels.kernel_server.client_session import RECENT_S, ClientSession
from fps_kernels.kernel_server.iopub_log import ReplayLimits
from fps_kernels.kernel_server.journal import BacklogLimits, Journal

from ..support.examples import examples
from ..support.readers import Reader, Sent

ENDLESS = 1 << 40
WIDE = ReplayLimits(max_messages=ENDLESS, max_bytes=ENDLESS, max_age_s=ENDLESS)


def stream(number: int) -> Message:
    return Message("iopub", make_frames("stream", {"name": "stdout", "text": f"{number},"}, "kernel"))


def status(number: int) -> Message:
    return Message("iopub", make_frames("status", {"execution_state": "busy", "number": number}, "kernel"))


def private(number: int) -> list[bytes]:
    return make_frames("private", {"number": number}, "kernel")


def heard(sent: Sequence[Sent]) -> tuple[list[int], int]:
    """The numbers in what was sent, also of messages that were merged; and how many are said to be missing."""
    numbers, missing = [], 0
    for _, frames in sent:
        content = json.loads(frames[3])
        if "number" in content:
            numbers.append(content["number"])
        elif "messages are missing" in content["text"]:
            missing += int(content["text"].split()[0][1:])
        else:
            numbers += map(int, content["text"].split(",")[:-1])
    return numbers, missing


@dataclass(frozen=True)
class Item:
    """A message that a client is to hear. seq: its number in the log; None when it is in the inbox."""

    number: int
    kind: str
    seq: int | None = None


@dataclass
class Client:
    """A session as it should be.

    due: what it is to hear, in order. recent: what it was sent lately. told, skipped: how many messages it was told
    are missing, and how many did not come. stale: what was forgotten while it was being sent.
    """

    session: ClientSession
    due: list[Item]
    recent: list[tuple[float, Item]] = field(default_factory=list)
    reader: Reader | None = None
    left_at: float = 0.0
    taken: list[Sent] = field(default_factory=list)
    told: int = 0
    skipped: int = 0
    stale: list[Item] = field(default_factory=list)

    def sent(self, number: int, now: float, *, exactly: bool) -> None:
        """Check what arrived, and note that it did."""
        assert self.reader is not None
        arrived, self.taken = self.taken[:number], []
        self.reader.sent(number, now)
        numbers, missing = heard(arrived)
        self.told += missing
        assert not (exactly and missing)
        for one in numbers:
            place = next((place for place, item in enumerate(self.due) if item.number == one), None)
            if place is None:
                item = next(item for item in self.stale if item.number == one)
            else:
                item = self.due[place]
                self.skipped += place
                assert self.skipped <= self.told
                del self.due[: place + 1]
            if item.kind not in ("stream", "stdin"):
                self.recent.append((now, item))
        self.stale = []


class JournalMachine(RuleBasedStateMachine):
    """Clients come, read, are lost and come back, while the kernel speaks and is restarted. No bound is reached."""

    exactly = True

    @initialize(max_sessions=st.integers(0, 3))
    def start(self, max_sessions: int) -> None:
        self.begin(ReplayLimits(ENDLESS, ENDLESS, ENDLESS, max_sessions), BacklogLimits())

    def begin(self, replay: ReplayLimits, backlog: BacklogLimits) -> None:
        self.journal = Journal(replay, backlog)
        self.max_sessions = replay.max_sessions
        self.now = 0.0
        self.last = 0
        self.clients: dict[str, Client] = {}
        self.since_left: list[Item] | None = None
        self.come("a")

    def trim(self) -> None:
        """See to the bounds; close the connections of those that are too far behind, in the middle of what they do."""
        for session in self.journal.trim(self.now):
            assert not self.exactly
            client = self.clients[session.session_id]
            assert client.session is session
            assert client.reader is not None
            self.detach(client, len(client.taken) // 2, lost=False)

    def detach(self, client: Client, arrived: int, *, lost: bool) -> None:
        self.now += 0.001
        client.sent(arrived, self.now, exactly=self.exactly)
        client.reader = None
        client.left_at = self.now
        self.journal.detach(client.session, self.now, lost=lost)
        self.repeat(client) if lost else client.recent.clear()
        if all(one.reader is None for one in self.clients.values()):
            cursor = client.session.cursor
            self.since_left = [item for item in client.due if item.seq is not None and item.seq >= cursor]

    def repeat(self, client: Client) -> None:
        recent = [item for time, item in client.recent if time >= self.now - RECENT_S]
        client.due = [Item(item.number, item.kind) for item in recent] + client.due
        client.recent.clear()

    def chosen(self, data: st.DataObject, *, attached: bool | None = None) -> Client:
        names = [name for name, one in self.clients.items() if attached is None or (one.reader is not None) is attached]
        return self.clients[data.draw(st.sampled_from(names))]

    def any_attached(self) -> bool:
        return any(one.reader is not None for one in self.clients.values())

    # --- what is said ----------------------------------------------------------------------------

    @rule(kinds=st.lists(st.sampled_from([stream, stream, stream, status]), min_size=1, max_size=12))
    def publish(self, kinds: list[Callable[[int], Message]]) -> None:
        messages: list[Message] = []
        for kind in kinds:
            self.last += 1
            item = Item(self.last, kind.__name__, self.journal.log.next_seq + len(messages))
            messages.append(kind(self.last))
            for client in self.clients.values():
                client.due.append(item)
            if self.since_left is not None:
                self.since_left.append(item)
        self.journal.append(messages, self.now)
        self.trim()

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), channel=st.sampled_from(["shell", "shell", "control", "stdin"]))
    def answer(self, data: st.DataObject, channel: str) -> None:
        self.last += 1
        client = self.chosen(data)
        client.due.append(Item(self.last, channel))
        self.journal.put(client.session, channel, private(self.last))

    @rule(seconds=st.floats(0.001, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.trim()

    # --- what is forgotten -----------------------------------------------------------------------

    def forget(self, forgotten: Callable[[Item], bool]) -> None:
        for client in self.clients.values():
            client.stale += [item for item in client.due if client.taken and forgotten(item)]
            client.due = [item for item in client.due if not forgotten(item)]

    @precondition(lambda self: self.exactly)
    @rule()
    def restart(self) -> None:
        self.journal.restart()
        self.forget(lambda item: item.seq is not None)
        self.since_left = None if self.since_left is None else []

    @precondition(lambda self: self.exactly)
    @rule()
    def discard_input_requests(self) -> None:
        self.journal.discard_input_requests()
        self.forget(lambda item: item.kind == "stdin")

    # --- who listens -----------------------------------------------------------------------------

    @rule(session_id=st.sampled_from("abc"))
    def come(self, session_id: str) -> None:
        """A client comes, or comes back, perhaps while its last connection is not yet known to be lost."""
        self.now += 0.001
        self.trim()
        client = self.clients.get(session_id)
        maybe_lost = client is not None and client.reader is not None
        if client is not None and maybe_lost:
            client.sent(0, self.now, exactly=self.exactly)
            self.repeat(client)
        reader = Reader(self.journal, session_id, self.now, maybe_lost=maybe_lost)
        if client is None:
            client = self.clients[session_id] = Client(reader.session, list(self.since_left or ()))
        assert client.session is reader.session
        client.reader = reader
        self.since_left = None
        away = sorted((one.left_at, name) for name, one in self.clients.items() if one.reader is None)
        for _, name in away[: max(0, len(away) - self.max_sessions)]:
            del self.clients[name]
        assert {one.session_id for one in self.journal.sessions} == self.clients.keys()

    @precondition(any_attached)
    @rule(data=st.data(), lost=st.booleans())
    def go(self, data: st.DataObject, lost: bool) -> None:
        client = self.chosen(data, attached=True)
        self.detach(client, data.draw(st.integers(0, len(client.taken))), lost=lost)

    @precondition(any_attached)
    @rule(data=st.data(), later=st.booleans())
    def send(self, data: st.DataObject, later: bool) -> None:
        """Take what is due, and send some of it now or in a later step."""
        client = self.chosen(data, attached=True)
        assert client.reader is not None
        if not client.taken:
            client.taken = client.reader.take(self.now)
            # A reply that is dropped while it is being sent is counted as missing although it arrives.
            if later and (self.exactly or all(channel == "iopub" for channel, _ in client.taken)):
                return
        client.sent(data.draw(st.integers(0, len(client.taken))), self.now, exactly=self.exactly)

    def send_all(self, client: Client) -> None:
        """After this the client has heard all that was said, or was told how much it has missed."""
        assert client.reader is not None
        while True:
            client.sent(len(client.taken), self.now, exactly=self.exactly)
            client.taken = client.reader.take(self.now)
            if not client.taken:
                break
        assert not (self.exactly and client.due)
        assert client.skipped + len(client.due) == client.told
        client.due, client.told, client.skipped = [], 0, 0

    def teardown(self) -> None:
        """In the end all go, a new client comes first, and the others come back."""
        if not hasattr(self, "journal"):
            return
        for number, client in enumerate(tuple(self.clients.values())):
            if client.reader is not None:
                self.detach(client, len(client.taken) // 2, lost=bool(number % 2))
        for name in ["d", *sorted(self.clients)]:
            if name not in self.clients or self.clients[name].reader is None:
                self.come(name)
            self.send_all(self.clients[name])


class BoundedJournalMachine(JournalMachine):
    """The same with small bounds: what a client does not hear, it is told of."""

    exactly = False

    @initialize(max_messages=st.integers(1, 12), backlog=st.integers(3, 40), max_sessions=st.integers(0, 3))
    def start(self, max_messages: int, backlog: int, max_sessions: int) -> None:
        limits = ReplayLimits(max_messages, ENDLESS, 100.0, max_sessions)
        self.begin(limits, BacklogLimits(max_messages=backlog))


JournalMachine.TestCase.settings = settings(stateful_step_count=30, max_examples=examples(60))
BoundedJournalMachine.TestCase.settings = settings(stateful_step_count=30, max_examples=examples(60))


class TestJournal(JournalMachine.TestCase):  # type: ignore[misc, valid-type]
    """Runs the machine."""


class TestBoundedJournal(BoundedJournalMachine.TestCase):  # type: ignore[misc, valid-type]
    """Runs the machine."""


# --- examples ------------------------------------------------------------------------------------


def reply_to(session: str, request: Request | None = None) -> Message:
    parent = dump_json(make_header("execute_request", session))
    message = Message("shell", make_frames("execute_reply", {}, "kernel", parent))
    message.request = request
    return message


def test_a_reply_is_for_the_session_that_asked() -> None:
    journal = Journal(WIDE)
    asked = journal.attach("asked", 0.0)
    journal.attach("named", 0.0)
    assert journal.recipient(reply_to("named", Request("1", "shell", "execute_request", b"{}", asked))) is asked


def test_a_reply_to_a_request_that_is_not_known_is_for_the_session_in_its_header() -> None:
    journal = Journal(WIDE)
    named = journal.attach("named", 0.0)
    assert journal.recipient(reply_to("named")) is named
    assert journal.recipient(reply_to("stranger")) is None


def test_a_reply_to_a_request_that_is_not_of_a_session_is_for_none() -> None:
    journal = Journal(WIDE)
    journal.attach("named", 0.0)
    assert journal.recipient(reply_to("named", Request("1", "shell", "execute_request", b"{}", object()))) is None


def test_nothing_is_kept_before_the_first_client() -> None:
    journal = Journal(WIDE)
    journal.append([stream(1)], 0.0)
    assert len(journal.log) == 0
    assert Reader(journal).read() == []


def test_a_new_client_hears_what_was_published_since_the_last_one_left() -> None:
    journal = Journal(WIDE)
    reader = Reader(journal, "old")
    journal.append([stream(1)], 0.0)
    reader.read()
    journal.append([stream(2)], 0.0)
    journal.put(reader.session, "shell", private(3))
    journal.detach(reader.session, 1.0, lost=False)
    journal.append([stream(4)], 2.0)
    assert heard(Reader(journal, "new", 3.0).read()) == ([2, 4], 0)
    assert heard(Reader(journal, "newer", 3.0).read()) == ([], 0)
    assert heard(Reader(journal, "old", 3.0).read()) == ([2, 3, 4], 0)


def test_what_was_read_long_before_a_connection_was_lost_is_not_repeated() -> None:
    journal = Journal(WIDE)
    reader = Reader(journal)
    journal.append([status(1)], 0.0)
    reader.read(0.0)
    journal.append([status(2)], RECENT_S)
    reader.read(RECENT_S)
    journal.detach(reader.session, RECENT_S + 1, lost=True)
    assert heard(Reader(journal).read()) == ([2], 0)


def test_a_session_that_is_too_far_behind_is_put_away() -> None:
    journal = Journal(ReplayLimits(max_messages=3), BacklogLimits(max_messages=5))
    slow, quick = Reader(journal, "slow"), Reader(journal, "quick")
    for number in range(6):
        journal.append([status(number)], 0.0)
        quick.read()
        assert journal.trim(0.0) == ([slow.session] if number == 5 else [])
    assert not slow.session.attached
    assert quick.session.attached
    journal.detach(slow.session, 1.0, lost=False)
    assert heard(Reader(journal, "slow").read()) == ([3, 4, 5], 3)


def test_merging_leaves_a_reply_in_its_place() -> None:
    journal = Journal(ReplayLimits(max_messages=5))
    session = journal.attach("me", 0.0)
    journal.detach(session, 0.0, lost=False)
    journal.append([stream(number) for number in range(10)], 0.0)
    journal.put(session, "shell", private(10))
    journal.append([stream(number) for number in range(11, 20)], 0.0)
    assert journal.trim(0.0) == []
    sent = Reader(journal).read()
    assert len(sent) == 3
    assert heard(sent) == (list(range(20)), 0)


def test_merging_leaves_a_place_between_what_was_sent_and_what_was_not() -> None:
    journal = Journal(ReplayLimits(max_messages=5), BacklogLimits(max_messages=15))
    reader = Reader(journal)
    journal.append([stream(number) for number in range(10)], 0.0)
    assert len(reader.take()) == 10
    journal.append([stream(number) for number in range(10, 20)], 0.0)
    assert journal.trim(0.0) == [reader.session]  # too far behind; what is in flight still arrives, in part
    reader.sent(4)
    journal.detach(reader.session, 0.0, lost=False)
    numbers, missing = heard(Reader(journal).read())
    assert numbers == list(range(20 - len(numbers), 20))
    assert 4 + missing + len(numbers) == 20


# --- users ----------------------------------------------------------------------------------------


def test_sessions_of_two_users_are_two() -> None:
    journal = Journal(WIDE)
    ada, bob = journal.attach("me", 0.0, user="ada"), journal.attach("me", 0.0, user="bob")
    assert ada is not bob
    assert journal.attach("me", 0.0, user="ada") is ada


def test_a_header_is_no_proof_of_a_session_of_a_named_user() -> None:
    journal = Journal(WIDE)
    journal.attach("me", 0.0, user="ada")
    assert journal.recipient(reply_to("me")) is None


def test_a_user_with_many_sessions_that_are_away_forgets_their_own() -> None:
    journal = Journal(ReplayLimits(max_sessions=3))
    for number, (session_id, user) in enumerate([("laptop", "ada"), *((str(n), "bob") for n in range(5))]):
        journal.detach(journal.attach(session_id, float(number), user=user), float(number), lost=False)
    journal.attach("here", 9.0, user="carl")
    assert [(one.user, one.session_id) for one in journal.sessions] == [
        ("ada", "laptop"),
        ("bob", "3"),
        ("bob", "4"),
        ("carl", "here"),
    ]


def test_a_reply_finds_the_session_that_took_the_place_of_one_that_was_forgotten() -> None:
    journal = Journal(ReplayLimits(max_sessions=0))
    old = journal.attach("me", 0.0)
    journal.detach(old, 0.0, lost=False)
    journal.attach("other", 1.0)
    new = journal.attach("me", 2.0)
    assert new is not old
    assert journal.recipient(reply_to("x", Request("1", "shell", "execute_request", b"{}", old))) is new


def test_a_session_hears_its_own_request_by_the_id_that_it_chose_and_the_others_by_another_one() -> None:
    journal = Journal(WIDE)
    mine, theirs = Reader(journal, "mine"), Reader(journal, "theirs")
    mine.session.rename("1", "sent")

    def parents(reader: Reader) -> list[str]:
        return [json.loads(frames[1])["msg_id"] for _, frames in reader.read()]

    def say(*msg_ids: str) -> None:
        for msg_id in msg_ids:
            journal.append([Message("iopub", make_frames("status", {}, "k", dump_json({"msg_id": msg_id})))], 0.0)

    say("1", "sent", "2")
    assert parents(mine) == ["sent", "1", "2"]
    assert parents(theirs) == ["1", "sent", "2"]
    mine.session.rename("1", None)
    say("1", "sent")
    assert parents(mine) == ["1", "sent"]
    for number in range(1000):
        mine.session.rename(str(number), f"sent {number}")
    say("0", "sent 0", "999", "sent 999")
    assert parents(mine) == ["0", "sent 0", "sent 999", "999"]
