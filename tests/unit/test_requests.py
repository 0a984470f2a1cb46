"""Which requests are remembered, and for how long."""

from __future__ import annotations

import pytest

from fps_kernels.errors import QueueFull
from fps_kernels.kernel_driver.request_log import MAX_FINISHED, MAX_HEADER_BYTES, MAX_RUNNING, Request, RequestLog


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


def test_what_owes_no_reply_makes_room_oldest_first_and_then_requests_are_refused() -> None:
    log = RequestLog()
    log.add(request("first"))
    log.add(request("comm 1", "comm_msg"))
    log.add(request("comm 2", "comm_msg"))
    for number in range(MAX_RUNNING - 3):
        log.add(request(str(number)))
    log.add(request("one more"))
    assert len(log) == MAX_RUNNING
    assert log.get("comm 1") is None
    assert log.get("comm 2") is not None
    log.add(request("another"))
    with pytest.raises(QueueFull):
        log.add(request("one too many"))
    assert len(log) == MAX_RUNNING
    assert all(log.get(kept) is not None for kept in ("first", "0", "one more", "another"))
    assert all(log.get(gone) is None for gone in ("comm 1", "comm 2", "one too many"))


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


# --- the size of headers ---------------------------------------------------------------------------


def large(msg_id: str, parts: int, msg_type: str = "execute_request") -> Request:
    """A request whose header is so many sixteenths of what may be held."""
    return Request(msg_id, "shell", msg_type, bytes(MAX_HEADER_BYTES // 16 * parts), origin="somebody")


def test_headers_are_bounded_in_all() -> None:
    log = RequestLog()
    for number in range(16):
        log.add(large(str(number), 1))
    with pytest.raises(QueueFull, match="headers"):
        log.add(request("one too many"))
    assert len(log) == 16
    first = log.get("0")
    assert first is not None
    log.discard(first)
    log.add(large("another", 1))
    with pytest.raises(QueueFull):
        log.add(request("one too many"))


def test_one_header_that_is_too_large_costs_nobody_else_anything() -> None:
    log = RequestLog()
    finished(log, "ended")
    log.add(request("running"))
    with pytest.raises(QueueFull):
        log.add(large("huge", 17))
    assert log.get("running") is not None
    log.add(request("next"))


def test_headers_of_what_has_ended_and_of_what_owes_no_reply_make_room() -> None:
    log = RequestLog()
    ended = large("ended", 8)
    log.add(ended)
    log.on_reply(ended, "reply")
    log.on_idle(ended)
    log.add(large("comm", 8, "comm_msg"))
    log.add(large("a", 8))
    assert log.get("ended") is None
    assert log.get("comm") is not None
    log.add(large("b", 8))
    assert log.get("comm") is None
    assert log.get("a") is not None


def test_a_request_that_takes_the_place_of_one_of_the_same_id_is_counted_once() -> None:
    log = RequestLog()
    for _ in range(100):
        log.add(large("same", 4))
    log.add(large("other", 4))
    log.clear()
    log.add(large("all", 16))


# --- msg_ids that are taken ------------------------------------------------------------------------


def test_a_msg_id_of_another_origin_is_replaced() -> None:
    log = RequestLog()
    log.add(request("1"))
    other = Request("1", "shell", "execute_request", b"{}", origin="another")
    assert log.give_free_id(other)
    assert other.chosen_msg_id == "1"
    assert other.msg_id != "1"
    log.add(other)
    assert log.get("1") is not other
    assert log.get(other.msg_id) is other


def test_a_msg_id_that_is_free_or_ones_own_is_kept() -> None:
    log = RequestLog()
    for _ in range(2):
        one = request("1")
        assert not log.give_free_id(one)
        assert (one.msg_id, one.chosen_msg_id) == ("1", None)
        log.add(one)


def test_a_msg_id_of_what_has_ended_is_taken_while_it_is_remembered() -> None:
    log = RequestLog()
    finished(log, "1")
    assert log.give_free_id(Request("1", "shell", "execute_request", b"{}", origin="another"))


def test_a_reply_to_nobody_is_for_the_oldest_request_of_its_type() -> None:
    log = RequestLog()
    first, other, second = request("1"), request("2", "complete_request"), request("3")
    for one in (first, other, second):
        log.add(one)
    assert log.oldest_unanswered("shell", "execute_request") is first
    log.on_reply(first, "reply")
    assert log.oldest_unanswered("shell", "execute_request") is second
    assert log.oldest_unanswered("control", "execute_request") is None
    assert log.oldest_unanswered("shell", "inspect_request") is None


def test_an_idle_of_nobody_ends_what_has_a_reply() -> None:
    log = RequestLog()
    replied, waits = request("1"), request("2")
    for one in (replied, waits):
        log.add(one)
    log.on_reply(replied, "reply")
    log.on_idle_of_replied()
    assert list(log) == [waits]
    assert log.get("1") is replied


def test_of_too_many_requests_those_with_a_reply_are_forgotten_first() -> None:
    """A kernel that never says idle would come to a halt."""
    log = RequestLog()
    for number in range(MAX_RUNNING):
        log.add(request(str(number)))
    one = log.get("5")
    assert one is not None
    log.on_reply(one, "reply")
    log.add(request("new"))
    assert log.get("5") is None
    with pytest.raises(QueueFull):
        log.add(request("one more"))
