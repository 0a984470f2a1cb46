"""Who may go on when the budget for messages is used up, and who has to go."""

from __future__ import annotations

import pytest

from fps_kernels.kernel_server.wire import decode_default
from fps_kernels.websocket.frames import LargeText, Lease, Payload
from fps_kernels.websocket.message_budget import PATIENCE_S, WAIT_S, Account, MessageBudget

MIB = 1024 * 1024


class Holder:
    """A connection: what it holds, and what it was told."""

    def __init__(self, budget: MessageBudget) -> None:
        self.account = Account(budget, lambda: self.told.append("go on"), lambda: self.told.append("refused"))
        self.told: list[str] = []

    def bring(self, total: int, now: float = 0, *, blocked: bool = False) -> bool:
        return self.account.update(total, now, blocked=blocked)


@pytest.fixture
def budget() -> MessageBudget:
    return MessageBudget(10 * MIB, 5 * MIB)


def held(budget: MessageBudget, size: int) -> None:
    """A kernel does not take this much of complete messages."""
    Holder(budget).account.completed(size)


def late(budget: MessageBudget, now: float) -> list[Account]:
    """Those that have to go; what they hold is freed as it is then."""
    gone = []
    for account in budget.late(now):
        account.update(0, now)
        gone.append(account)
    return gone


def test_everybody_is_read_while_there_is_room(budget: MessageBudget) -> None:
    holders = [Holder(budget) for _ in range(10)]
    assert all(holder.bring(MIB) for holder in holders)
    assert not late(budget, 1000)


def test_only_the_oldest_goes_on_when_there_is_none(budget: MessageBudget) -> None:
    first, second, third = (Holder(budget) for _ in range(3))
    for holder in (first, second):
        assert holder.bring(4 * MIB)
    assert not third.bring(4 * MIB)
    assert not second.bring(4 * MIB + 1)
    assert first.bring(5 * MIB)
    first.bring(0)  # its message is complete, and gone
    assert second.told == third.told == ["go on"]


def test_who_has_completed_a_message_goes_to_the_end_of_the_line(budget: MessageBudget) -> None:
    first, second = Holder(budget), Holder(budget)
    first.bring(6 * MIB)
    second.bring(5 * MIB)
    assert not late(budget, 1)
    first.account.completed(6 * MIB)  # and what arrived with its end is the beginning of another
    assert not first.bring(MIB, PATIENCE_S)
    assert second.told == ["go on"]
    assert late(budget, 2 * PATIENCE_S + 1) == [second.account]
    assert first.told == ["go on"]


def test_small_messages_are_always_read(budget: MessageBudget) -> None:
    held(budget, 100 * MIB)
    assert all(Holder(budget).bring(60_000) for _ in range(100))


def test_the_first_may_not_use_more_than_the_excess(budget: MessageBudget) -> None:
    held(budget, 10 * MIB)  # by kernels that do not take it
    first, second = Holder(budget), Holder(budget)
    assert first.bring(5 * MIB)
    assert not second.bring(MIB)
    assert second.account.hopeless
    assert not first.bring(5 * MIB + 1)
    assert not first.account.hopeless
    budget.release(2 * MIB, 1)
    assert first.told == ["go on"]
    assert not second.told


def test_the_newest_go_so_that_the_first_can_go_on(budget: MessageBudget) -> None:
    holders = [Holder(budget) for _ in range(4)]
    for holder in holders:
        holder.bring(4 * MIB)
    assert holders[0].account.waiting_since is None
    holders[0].bring(4 * MIB + 1)
    assert holders[0].account.waiting_since is not None
    assert late(budget, 0) == [holders[3].account]
    assert holders[0].told == ["go on"]


def test_one_that_is_blocked_by_its_own_application_holds_nobody_up(budget: MessageBudget) -> None:
    first, second = Holder(budget), Holder(budget)
    first.bring(11 * MIB, blocked=True)
    assert second.bring(MIB)
    assert not late(budget, 1)
    assert late(budget, 1 + PATIENCE_S + 1) == [second.account]


def test_messages_that_do_not_come_to_an_end_make_room_oldest_first(budget: MessageBudget) -> None:
    holders = [Holder(budget) for _ in range(4)]
    for holder in holders:
        holder.bring(15 * MIB // 4)
    assert not late(budget, 0)  # from now on it counts
    assert not late(budget, PATIENCE_S - 1)
    assert late(budget, PATIENCE_S + 1) == [holder.account for holder in holders[:2]]
    assert not budget.used_up


def test_nobody_waits_for_ever(budget: MessageBudget) -> None:
    held(budget, 12 * MIB)
    first, second = Holder(budget), Holder(budget)
    assert first.bring(MIB)
    assert not second.bring(MIB)
    assert not late(budget, 0)
    first.bring(0)
    assert second.told == ["go on"]
    third = Holder(budget)
    assert not third.bring(MIB, 1)
    for now in range(2, int(WAIT_S), 10):
        second.account.reading_since = now  # it is replaced by others all the time
        assert not late(budget, now)
    second.account.reading_since = WAIT_S
    assert late(budget, WAIT_S + 2) == [third.account]


def test_all_is_counted_to_the_byte(budget: MessageBudget) -> None:
    holders = [Holder(budget) for _ in range(50)]
    for now in range(100):
        for number, holder in enumerate(holders):
            holder.bring((number * 7919 * now) % MIB, now)
    assert budget.held_bytes == sum(holder.account.incomplete for holder in holders)
    for holder in holders:
        holder.bring(0)
    assert budget.held_bytes == 0
    assert not budget.line


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_what_is_encoded_anew_counts_like_the_message(kind: str) -> None:
    text = '{"header": {"msg_id": "1"}, "content": {"code": "%s"}}' % ("x" * 100_000)
    data: LargeText | Payload
    data = LargeText(text) if kind == "text" else Payload(b"\0\0\0\1\0\0\0\x08" + text.encode())
    data.lease = Lease()
    _, (_, _, metadata, content), _ = decode_default(data)
    assert isinstance(content, memoryview)
    assert isinstance(content.obj, Payload)
    assert content.obj.lease is data.lease
    assert bytes(content) == b'{"code":"' + b"x" * 100_000 + b'"}'
    assert metadata == b"{}"  # small ones are not counted
