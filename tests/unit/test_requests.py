"""Which requests are remembered, and for how long."""

from __future__ import annotations

import pytest

from fps_kernels.errors import QueueFull
from fps_kernels.kernel_driver.request_log import MAX_FINISHED, MAX_RUNNING, Request, RequestLog


def request(msg_id: str = "1", msg_type: str = "execute_request") -> Request:
    return Request(msg_id, "shell", msg_type, b'{"msg_id":"%b"}' % msg_id.encode(), origin="somebody")


def finished(log: RequestLog, msg_id: str) -> Request:
    one = request(msg_id)
    log.add(one)
    log.on_reply(one, "reply")
    log.on_idle(one)
    return one


def test_a_running_request_is_found() -> None:
    log = RequestLog()
    one = request()
    log.add(one)
    assert log.get("1") is one
    assert len(log) == 1
    assert list(log) == [one]


def test_an_unknown_request_is_not_found() -> None:
    assert RequestLog().get("1") is None


def test_a_request_that_only_got_its_reply_still_runs() -> None:
    log = RequestLog()
    one = request()
    log.add(one)
    log.on_reply(one, "reply")
    assert len(log) == 1
    assert not one.finished


def test_a_request_whose_idle_comes_before_its_reply_still_runs() -> None:
    log = RequestLog()
    one = request()
    log.add(one)
    log.on_idle(one)
    assert len(log) == 1
    assert not one.finished


def test_a_request_with_reply_and_idle_has_ended_but_is_remembered() -> None:
    log = RequestLog()
    one = finished(log, "1")
    assert one.finished
    assert len(log) == 0
    assert list(log) == []
    assert log.get("1") is one


def test_a_comm_message_ends_with_idle_alone() -> None:
    log = RequestLog()
    one = request(msg_type="comm_msg")
    log.add(one)
    assert not one.owes_reply
    log.on_idle(one)
    assert len(log) == 0


def test_a_second_idle_of_an_ended_request_changes_nothing() -> None:
    log = RequestLog()
    one = finished(log, "1")
    log.on_idle(one)
    log.on_reply(one, "reply")
    assert log.get("1") is one
    assert len(log) == 0


def test_only_the_last_ended_requests_are_remembered() -> None:
    log = RequestLog()
    for number in range(MAX_FINISHED + 2):
        finished(log, str(number))
    assert [log.get(str(number)) is None for number in range(4)] == [True, True, False, False]
    assert log.get(str(MAX_FINISHED + 1)) is not None


def test_a_running_request_is_never_forgotten_for_ended_ones() -> None:
    log = RequestLog()
    one = request("running")
    log.add(one)
    for number in range(MAX_FINISHED + 2):
        finished(log, str(number))
    assert log.get("running") is one


def test_too_many_running_requests_are_refused() -> None:
    log = RequestLog()
    for number in range(MAX_RUNNING):
        log.add(request(str(number)))
    with pytest.raises(QueueFull):
        log.add(request("one too many"))
    assert len(log) == MAX_RUNNING
    assert log.get("0") is not None
    assert log.get("one too many") is None


def test_what_owes_no_reply_makes_room_oldest_first() -> None:
    log = RequestLog()
    log.add(request("first"))
    log.add(request("comm 1", "comm_msg"))
    log.add(request("comm 2", "comm_msg"))
    for number in range(MAX_RUNNING - 3):
        log.add(request(str(number)))
    log.add(request("one more"))
    assert len(log) == MAX_RUNNING
    assert log.get("comm 1") is None
    assert log.get("first") is not None
    assert log.get("comm 2") is not None
    assert log.get("one more") is not None


def test_a_discarded_request_is_forgotten() -> None:
    log = RequestLog()
    one = request()
    log.add(one)
    log.discard(one)
    log.discard(one)
    assert log.get("1") is None
    assert len(log) == 0


def test_discarding_a_request_leaves_another_one_with_the_same_id() -> None:
    log = RequestLog()
    old, new = request(), request()
    log.add(old)
    log.add(new)
    log.discard(old)
    assert log.get("1") is new


def test_clear_returns_what_ran_oldest_first_and_forgets_all() -> None:
    log = RequestLog()
    finished(log, "ended")
    running = [request(str(number)) for number in range(3)]
    for one in running:
        log.add(one)
    assert log.clear() == running
    assert len(log) == 0
    assert log.get("ended") is None
    assert log.get("0") is None
    assert log.clear() == []


def test_a_request_knows_who_sent_it() -> None:
    assert request().origin == "somebody"
    assert Request("1", "shell", "execute_request", b"{}").origin is None
