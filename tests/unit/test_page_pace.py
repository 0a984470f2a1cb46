"""Text for a page in a browser: few messages however much is printed, nothing left out, and nothing else late."""

from __future__ import annotations

import json

import pytest

from fps_kernels.kernel_driver.message import Message, make_frames
from fps_kernels.kernel_server.journal import Journal
from fps_kernels.kernel_server.page_pace import FREE_BYTES, REST, SHOWN_BYTES_PER_S, PagePace

from ..support.readers import Reader, Sent

WAIT_S = 5.0
CELL = b'{"msg_id": "cell"}'
OTHER_CELL = b'{"msg_id": "other"}'


def text(size: int, name: str = "stdout", parent: bytes = CELL) -> Message:
    return Message("iopub", make_frames("stream", {"name": name, "text": "x" * size}, "kernel", parent))


def idle(parent: bytes = CELL) -> Message:
    return Message("iopub", make_frames("status", {"execution_state": "idle"}, "kernel", parent))


def sizes(sent: list[Sent]) -> list[int]:
    """How much text each message has; 0 for what is none."""
    return [len(json.loads(frames[3]).get("text", "")) for _, frames in sent]


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def page(journal: Journal) -> Reader:
    """A page that has so much text of a cell that the next message waits."""
    page = Reader(journal, page_wait_s=WAIT_S)
    journal.append([text(4 * FREE_BYTES)], 0.0)
    assert sizes(page.read()) == [4 * FREE_BYTES]
    journal.append([text(10)], 0.0)
    assert page.read() == []
    assert page.outbox.pause_s > 0
    return page


# --- the pace --------------------------------------------------------------------------------------------------------


def test_the_pause_grows_with_what_the_page_has_up_to_the_longest() -> None:
    pace = PagePace(WAIT_S)
    pace.sent(CELL, FREE_BYTES, 1.0)
    assert pace.wait_s(CELL, 1.0) == 0
    pace.sent(CELL, SHOWN_BYTES_PER_S // 8 - FREE_BYTES, 2.0)
    assert pace.wait_s(CELL, 2.0) == REST / 8
    assert pace.wait_s(CELL, 2.0 + REST / 8) == 0
    pace.sent(CELL, SHOWN_BYTES_PER_S * 1000, 3.0)
    assert pace.wait_s(CELL, 3.0) == WAIT_S


def test_another_cell_begins_anew() -> None:
    pace = PagePace(WAIT_S)
    pace.sent(CELL, 10 * FREE_BYTES, 1.0)
    assert pace.wait_s(OTHER_CELL, 1.0) == 0
    pace.sent(OTHER_CELL, 1, 1.0)
    assert not pace.is_much(CELL)


# --- over the outbox -------------------------------------------------------------------------------------------------


def test_a_million_lines_are_a_few_dozen_messages(journal: Journal) -> None:
    """Two hundred messages of 34 kB in ten seconds, as ipykernel sends them."""
    page, other = Reader(journal, page_wait_s=WAIT_S), Reader(journal, "program")
    shown: list[Sent] = []
    heard = 0
    for number in range(200):
        now = number * 0.05
        journal.append([text(34_000)], now)
        shown += page.read(now)
        heard += len(other.read(now))
    journal.append([idle()], 10.0)
    shown += page.read(10.0)
    assert heard == 200
    assert len(shown) < 50
    assert sizes(shown)[-1] == 0
    assert sum(sizes(shown)) == 200 * 34_000


def test_a_little_text_comes_as_it_is_printed(journal: Journal) -> None:
    page = Reader(journal, page_wait_s=WAIT_S)
    for number in range(100):
        journal.append([text(100)], 0.0)
        assert sizes(page.read()) == [100], number


def test_text_comes_when_the_pause_is_over(page: Reader, journal: Journal) -> None:
    journal.append([text(20)], 0.0)
    assert sizes(page.read(page.outbox.pause_s)) == [30]


@pytest.mark.parametrize("what", [idle(), idle(OTHER_CELL), text(7, parent=OTHER_CELL)])
def test_what_follows_does_not_wait(page: Reader, journal: Journal, what: Message) -> None:
    journal.append([what, text(1)], 0.0)
    assert sizes(page.read())[0] == 10


def test_a_question_does_not_wait(page: Reader, journal: Journal) -> None:
    journal.put(page.session, "stdin", make_frames("input_request", {"prompt": "?"}, "kernel", CELL))
    assert [channel for channel, _ in page.read()] == ["iopub", "stdin"]


def test_stdout_and_stderr_are_told_apart(page: Reader, journal: Journal) -> None:
    journal.append([text(1), text(2, "stderr"), text(4, "stderr"), text(8), idle()], 0.0)
    assert sizes(page.read()) == [11, 6, 8, 0]


def test_a_page_that_comes_back_gets_what_was_collected(page: Reader, journal: Journal) -> None:
    journal.detach(page.session, 0.0, lost=False)
    again = Reader(journal, page_wait_s=WAIT_S)
    assert sum(sizes(again.read())) == 10


def test_without_a_wait_nothing_is_collected(journal: Journal) -> None:
    page = Reader(journal)
    journal.append([text(4 * FREE_BYTES)], 0.0)
    page.read()
    journal.append([text(1), text(2)], 0.0)
    assert sizes(page.read()) == [1, 2]
