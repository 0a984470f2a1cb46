"""Messages are read whole from real ZMQ sockets, whatever comes between them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.kernel_driver.message import DELIMITER
from fps_kernels.kernel_driver.socket_reader import MAX_TOPICS, SocketReader

Frames = list[bytes]
PARTS = [b"signature", b"{h}", b"{p}", b"{m}", b"{c}"]


class Pair:
    """Two sockets that are connected in this process, and the reader of one of them."""

    def __init__(self, context: zmq.Context, *, topics: bool) -> None:
        self.topics = topics
        address = f"inproc://{id(self)}"
        self.sender = context.socket(zmq.PUB if topics else zmq.DEALER)
        self.receiver = context.socket(zmq.SUB if topics else zmq.DEALER)
        for socket in (self.sender, self.receiver):
            socket.linger = socket.sndhwm = socket.rcvhwm = 0
        if topics:
            self.receiver.subscribe(b"")
        self.sender.bind(address)
        self.receiver.connect(address)
        if topics:  # it has to hear of the subscription
            while not self.receiver.poll(20):
                self.sender.send(b"begun")
            while self.receiver.poll(20):
                self.receiver.recv()
        self.reader = SocketReader(self.receiver, topics=topics)

    def whole(self, number: int, *buffers: bytes, topic: bytes = b"kernel.stream") -> Frames:
        parts = [b"signature", b"{%d}" % number, *PARTS[2:], *buffers]
        return [*([topic] if self.topics else []), DELIMITER, *parts]

    def passed(self, *messages: Frames) -> list[Frames]:
        """What is read of messages, in order; large buffers as bytes."""
        for message in messages:
            self.sender.send_multipart(message)
        batch: list[Frames] = []
        while self.reader.read(batch):
            pass
        return [[bytes(frame) for frame in message] for message in batch]

    def close(self) -> None:
        self.sender.close(0)
        self.receiver.close(0)


@pytest.fixture(scope="module")
def pairs() -> Iterator[list[Pair]]:
    """Of a SUB socket, and of a DEALER."""
    with zmq.Context() as context:
        pairs = [Pair(context, topics=True), Pair(context, topics=False)]
        yield pairs
        for pair in pairs:
            pair.close()


def is_whole(message: Frames) -> bool:
    return DELIMITER in message and len(message) - message.index(DELIMITER) >= 6


def test_messages_come_as_they_were_sent(pairs: list[Pair]) -> None:
    for pair in pairs:
        sent = [
            pair.whole(1),
            pair.whole(2, b"buffer"),
            pair.whole(3, b"", b"x" * 100_000, DELIMITER),
            pair.whole(4, DELIMITER, b"y"),
            pair.whole(5, topic=b""),
            pair.whole(6, topic=b"t" * 1000),
        ]
        assert pair.passed(*sent) == sent
        assert pair.passed() == []


def test_a_message_that_is_too_short_takes_nothing_of_the_next_one(pairs: list[Pair]) -> None:
    for pair in pairs:
        good = pair.whole(0, b"buffer")
        malformed = [good[:length] for length in range(1, 6 + pair.topics)]
        malformed += [[b""], [b"kernel.stream"], [b"garbage"] * 6, [b""] * 20, [DELIMITER] * 3]
        for short in malformed:
            passed = pair.passed(good, short, good, short, short, good)
            # With a topic and nothing more before it, a message has two: nobody looks at these.
            assert [one[-len(good) :] for one in passed if is_whole(one)] == [good] * 3, short


def test_a_message_without_a_topic_is_taken_where_there_should_be_one(pairs: list[Pair]) -> None:
    sub = pairs[0]
    bare = [DELIMITER, *PARTS]
    assert sub.passed(bare, sub.whole(1), bare) == [bare, sub.whole(1), bare]


def test_frames_before_the_delimiter_do_no_harm(pairs: list[Pair]) -> None:
    for pair in pairs:
        more = [b"who", b"", DELIMITER, *PARTS]
        assert pair.passed(more, pair.whole(1), more) == [more, pair.whole(1), more]


def test_topics_without_end_are_not_remembered(pairs: list[Pair]) -> None:
    sub = pairs[0]
    sent = [sub.whole(number, topic=b"%d" % number) for number in range(MAX_TOPICS + 10)]
    assert sub.passed(*sent) == sent
    assert len(sub.reader._topics) <= MAX_TOPICS


frames = st.sampled_from([b"", b"kernel.stream", b"x", DELIMITER, b"{}", b"{c}", b"[1]"])
odd = st.lists(frames, min_size=1, max_size=9)


@given(st.lists(st.one_of(st.integers(0, 3), odd), max_size=8))
def test_whatever_comes_between_them_whole_messages_come_through(pairs: list[Pair], plan: list[int | Frames]) -> None:
    """In order. What is malformed may take neighbours of its own kind with it."""
    for pair in pairs:
        sent = [
            pair.whole(number, *[b"buffer"] * one) if isinstance(one, int) else one for number, one in enumerate(plan)
        ]
        good = [message for message, one in zip(sent, plan, strict=True) if isinstance(one, int)]
        passed = iter(pair.passed(*sent))
        assert all(any(message[-len(one) :] == one for message in passed) for one in good)
