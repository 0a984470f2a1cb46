"""The order of requests that arrive at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
from fps_yjs.ydocs.ynotebook import YNotebook
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.execution.cell_execution import Execution
from fps_kernels.execution.execution_request import ExecutionRequest
from fps_kernels.execution.notebook import SharedNotebook
from fps_kernels.execution.ordering import OrderLimits, RequestOrder, in_document_order

from ..support.notebooks import code_cell, notebook

CELLS = "abcdef"


def open_notebook(name: str) -> SharedNotebook:
    document = YNotebook()
    document.source = notebook(*(code_cell(id=cell_id) for cell_id in CELLS))
    return SharedNotebook(name, document)


@pytest.fixture
def one() -> SharedNotebook:
    return open_notebook("one")


@pytest.fixture
def other() -> SharedNotebook:
    return open_notebook("other")


def single(notebook: SharedNotebook, cell_id: str, request_id: str = "") -> ExecutionRequest:
    return ExecutionRequest(request_id or cell_id, notebook, [Execution(notebook, cell_id, "1")], single=True)


def request(notebook: SharedNotebook, request_id: str, cell_ids: str, after: str | None = None) -> ExecutionRequest:
    return ExecutionRequest(request_id, notebook, [Execution(notebook, one, "1") for one in cell_ids], after=after)


def ids(requests: Sequence[ExecutionRequest]) -> list[str]:
    return [one.id for one in requests]


# --- by position ---------------------------------------------------------------------------------


async def test_single_cells_are_in_the_order_of_the_document(one: SharedNotebook) -> None:
    assert ids(in_document_order([single(one, cell_id) for cell_id in "dafceb"])) == list(CELLS)


async def test_the_order_is_that_of_the_document_now(one: SharedNotebook) -> None:
    one.document.source = notebook(*(code_cell(id=cell_id) for cell_id in "fedcba"))
    assert ids(in_document_order([single(one, cell_id) for cell_id in "dafceb"])) == list("fedcba")


async def test_two_documents_keep_the_places_that_they_have_between_each_other(
    one: SharedNotebook, other: SharedNotebook
) -> None:
    arrived = [
        single(one, "c", "one c"),
        single(other, "b", "other b"),
        single(other, "a", "other a"),
        single(one, "a", "one a"),
        single(other, "c", "other c"),
        single(one, "b", "one b"),
    ]
    assert ids(in_document_order(arrived)) == ["one a", "other a", "other b", "one b", "other c", "one c"]


async def test_lists_of_cells_keep_their_place_and_their_order(one: SharedNotebook) -> None:
    arrived = [single(one, "f"), request(one, "list", "eb"), single(one, "a"), request(one, "another", "c")]
    ordered = in_document_order(arrived)
    assert ids(ordered) == ["a", "list", "f", "another"]
    assert [execution.cell_id for execution in ordered[1].executions] == ["e", "b"]


async def test_the_same_cell_twice_stays_in_the_order_of_arrival(one: SharedNotebook) -> None:
    arrived = [single(one, "b", "b1"), single(one, "a"), single(one, "b", "b2"), single(one, "b", "b3")]
    assert ids(in_document_order(arrived)) == ["a", "b1", "b2", "b3"]


async def test_a_cell_that_is_gone_changes_nothing_for_the_others(one: SharedNotebook) -> None:
    arrived = [single(one, "c"), single(one, "gone"), single(one, "a")]
    assert [name for name in ids(in_document_order(arrived)) if name != "gone"] == ["a", "c"]


async def test_nothing_arrived() -> None:
    assert in_document_order([]) == []


@given(st.lists(st.tuples(st.sampled_from(["one", "other", "list"]), st.sampled_from(CELLS)), max_size=20))
def test_any_order_is_a_permutation_in_which_documents_and_lists_keep_their_places(
    kinds: list[tuple[str, str]],
) -> None:
    async def check() -> None:
        notebooks = {"one": open_notebook("one"), "other": open_notebook("other")}
        arrived = [
            request(notebooks["one"], str(number), cell)
            if kind == "list"
            else single(notebooks[kind], cell, str(number))
            for number, (kind, cell) in enumerate(kinds)
        ]
        ordered = in_document_order(arrived)
        assert sorted(ids(ordered)) == sorted(ids(arrived))
        assert [(one.notebook.name, one.single) for one in ordered] == [
            (one.notebook.name, one.single) for one in arrived
        ]
        assert [one for one in ordered if not one.single] == [one for one in arrived if not one.single]
        for name in notebooks:
            cells = [one.executions[0].cell_id for one in ordered if one.single and one.notebook.name == name]
            assert cells == sorted(cells)

    asyncio.run(check())


# --- as they arrive ------------------------------------------------------------------------------


class Handed:
    """What was handed on, and a way to wait for it."""

    def __init__(self) -> None:
        self.requests: list[ExecutionRequest] = []
        self._more = asyncio.Event()

    def __call__(self, request: ExecutionRequest) -> None:
        self.requests.append(request)
        self._more.set()

    async def until(self, number: int) -> list[str]:
        async with asyncio.timeout(60):
            while len(self.requests) < number:
                self._more.clear()
                await self._more.wait()
        return ids(self.requests)


@pytest.fixture
async def handed() -> Handed:
    return Handed()


@pytest.fixture
def limits() -> OrderLimits:
    return OrderLimits()


@pytest.fixture
async def order(handed: Handed, limits: OrderLimits) -> RequestOrder:
    return RequestOrder(handed, limits)


PATIENT = OrderLimits(previous_timeout_s=1000.0)
IMPATIENT = OrderLimits(previous_timeout_s=0.01)
patient = pytest.mark.parametrize("limits", [PATIENT], ids=["patient"])
"""The order waits practically forever for a request that never comes."""
impatient = pytest.mark.parametrize("limits", [IMPATIENT], ids=["impatient"])


async def timers_due() -> None:
    """Timers set before, for less, have called: a loop calls them in the order of their times."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, passed.set)
    await passed.wait()


async def settled() -> None:
    """One round of the loop, in which nothing is due."""
    await asyncio.sleep(0)


async def test_nothing_is_handed_on_at_once(order: RequestOrder, handed: Handed, one: SharedNotebook) -> None:
    order.add(single(one, "a"))
    await settled()
    assert handed.requests == []
    assert await handed.until(1) == ["a"]


async def test_what_arrives_together_is_put_in_order(order: RequestOrder, handed: Handed, one: SharedNotebook) -> None:
    for cell_id in "dafceb":
        order.add(single(one, cell_id))
        await settled()
    assert await handed.until(6) == list(CELLS)


async def test_what_arrives_later_comes_later(order: RequestOrder, handed: Handed, one: SharedNotebook) -> None:
    order.add(single(one, "f"))
    await handed.until(1)
    order.add(single(one, "a"))
    assert await handed.until(2) == ["f", "a"]


async def test_requests_without_end_do_not_keep_the_first_waiting_for_ever(handed: Handed, one: SharedNotebook) -> None:
    order = RequestOrder(handed, OrderLimits(settle_s=1000.0, settle_max_s=0.01))
    order.add(single(one, "a"))
    order.add(single(one, "b"))
    assert await handed.until(2) == ["a", "b"]


async def test_each_request_waits_for_one_more(handed: Handed, one: SharedNotebook) -> None:
    """The timer of the first was replaced by that of the second, which is long."""
    limits: Any = SimpleNamespace(**asdict(OrderLimits(settle_max_s=1000.0)))
    order = RequestOrder(handed, limits)
    order.add(single(one, "b"))
    limits.settle_s = 1000.0
    order.add(single(one, "a"))
    await timers_due()
    assert handed.requests == []
    assert ids(order.clear()) == ["b", "a"]


@patient
async def test_a_request_comes_after_the_one_that_it_names_though_it_arrives_earlier(
    order: RequestOrder, handed: Handed, one: SharedNotebook
) -> None:
    order.add(request(one, "second", "a", after="first"))
    order.add(request(one, "else", "b"))
    assert await handed.until(1) == ["else"]
    order.add(request(one, "first", "c"))
    assert await handed.until(3) == ["else", "first", "second"]


@patient
async def test_a_request_that_arrives_after_the_one_that_it_names_waits_for_nothing(
    order: RequestOrder, handed: Handed, one: SharedNotebook
) -> None:
    order.add(request(one, "first", "c"))
    await handed.until(1)
    order.add(request(one, "second", "a", after="first"))
    assert await handed.until(2) == ["first", "second"]


@patient
async def test_requests_that_arrive_together_are_put_after_those_that_they_name(
    order: RequestOrder, handed: Handed, one: SharedNotebook
) -> None:
    order.add(request(one, "third", "a", after="second"))
    order.add(request(one, "first", "c"))
    order.add(request(one, "second", "b", after="first"))
    assert await handed.until(3) == ["first", "second", "third"]


@impatient
async def test_a_request_that_names_one_that_never_comes_is_handed_on_all_the_same(
    order: RequestOrder, handed: Handed, one: SharedNotebook
) -> None:
    order.add(request(one, "second", "a", after="never"))
    order.add(request(one, "third", "a", after="second"))
    assert await handed.until(2) == ["second", "third"]


@impatient
async def test_requests_that_name_each_other_are_handed_on(
    order: RequestOrder, handed: Handed, one: SharedNotebook
) -> None:
    order.add(request(one, "a", "a", after="b"))
    order.add(request(one, "b", "b", after="a"))
    order.add(request(one, "self", "c", after="self"))
    assert sorted(await handed.until(3)) == ["a", "b", "self"]


@patient
async def test_two_requests_after_the_same_one_come_in_their_order_each_with_what_follows_it(
    order: RequestOrder, handed: Handed, one: SharedNotebook
) -> None:
    order.add(request(one, "b", "b", after="first"))
    order.add(request(one, "c", "c", after="first"))
    order.add(request(one, "b2", "d", after="b"))
    order.add(request(one, "first", "a"))
    assert await handed.until(4) == ["first", "b", "b2", "c"]


@patient
async def test_a_long_chain_may_arrive_from_its_end(order: RequestOrder, handed: Handed, one: SharedNotebook) -> None:
    number = 3000
    for link in reversed(range(1, number)):
        order.add(ExecutionRequest(str(link), one, [], after=str(link - 1)))
    order.add(ExecutionRequest("0", one, []))
    assert await handed.until(number) == list(map(str, range(number)))


async def test_only_so_many_ids_are_remembered(handed: Handed, one: SharedNotebook) -> None:
    order = RequestOrder(handed, replace(PATIENT, max_known=2))
    for name in ("first", "second", "third"):
        order.add(request(one, name, "a"))
    await handed.until(3)
    for name in ("first", "second", "third"):
        order.add(request(one, f"after {name}", "b", after=name))
    assert (await handed.until(5))[3:] == ["after second", "after third"]
    assert ids(order.clear()) == ["after first"]


# --- taking back ---------------------------------------------------------------------------------


@patient
async def test_clear_takes_back_what_was_not_handed_on(
    order: RequestOrder, handed: Handed, one: SharedNotebook
) -> None:
    order.add(request(one, "orphan", "a", after="never"))
    order.add(single(one, "b"))
    assert await handed.until(1) == ["b"]
    order.add(single(one, "d"))
    order.add(single(one, "c"))
    assert sorted(ids(order.clear())) == ["c", "d", "orphan"]
    assert order.clear() == []


async def test_what_was_taken_back_is_not_handed_on_later(handed: Handed, one: SharedNotebook) -> None:
    """Neither what had not settled, nor what waited for another."""

    def hand_on(request: ExecutionRequest) -> None:
        handed(request)
        order.add(single(one, "unsettled"))
        taken.extend(ids(order.clear()))

    taken: list[str] = []
    order = RequestOrder(hand_on, IMPATIENT)
    order.add(request(one, "orphan", "a", after="never"))
    order.add(single(one, "b"))
    await handed.until(1)
    await timers_due()
    assert ids(handed.requests) == ["b"]
    assert sorted(taken) == ["orphan", "unsettled"]


async def test_after_a_clear_a_request_is_not_kept_waiting_for_ever(handed: Handed, one: SharedNotebook) -> None:
    def hand_on(request: ExecutionRequest) -> None:
        handed(request)
        taken.extend(ids(order.clear()))

    taken: list[str] = []
    order = RequestOrder(hand_on, IMPATIENT)
    order.add(request(one, "orphan", "a", after="never"))
    order.add(single(one, "b"))
    await handed.until(1)
    order.add(request(one, "another", "a", after="never"))
    assert await handed.until(2) == ["b", "another"]
    assert taken == ["orphan"]


@patient
async def test_after_a_clear_requests_are_handed_on_as_before(
    order: RequestOrder, handed: Handed, one: SharedNotebook
) -> None:
    order.add(request(one, "orphan", "a", after="first"))
    order.clear()
    order.add(request(one, "first", "b"))
    order.add(request(one, "second", "c", after="first"))
    assert await handed.until(2) == ["first", "second"]
