"""Callbacks for a kernel's messages: what they hear, and that they do not harm each other."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pytest

from fps_kernels.kernel_driver.listener import QUEUE_MESSAGES, Filter, Listener

Make = Callable[..., Listener]
Call = tuple[str, Sequence[bytes]]


@pytest.fixture
async def listen() -> AsyncIterator[Make]:
    """Makes listeners; their tasks are ended after the test."""
    made: list[Listener] = []

    def make(*args: Any, **kwargs: Any) -> Listener:
        made.append(Listener(*args, **kwargs))
        return made[-1]

    yield make
    for listener in made:
        listener.stop()
        await listener.stopped()


def ignore(channel: str, frames: Sequence[bytes]) -> None:
    """A callback for tests of filters."""


def filtered(msg_types: Iterable[Filter] | None = None, exclude: Iterable[Filter] | None = None, **kwargs: Any):
    return Listener(ignore, msg_types, exclude, **kwargs).wants


# --- filters ------------------------------------------------------------------------------------


def test_without_filters_everything_is_wanted() -> None:
    wants = filtered()
    assert wants("iopub", "stream")
    assert wants("shell", "")


def test_a_msg_type_is_wanted_on_every_channel() -> None:
    wants = filtered(["stream"])
    assert wants("iopub", "stream")
    assert wants("shell", "stream")
    assert not wants("iopub", "status")


def test_a_pair_is_wanted_on_its_channel_only() -> None:
    wants = filtered([("status", "iopub")])
    assert wants("iopub", "status")
    assert not wants("shell", "status")
    assert not wants("iopub", "stream")


def test_types_and_pairs_together() -> None:
    wants = filtered(["stream", ("status", "iopub")])
    assert wants("shell", "stream")
    assert wants("iopub", "status")
    assert not wants("shell", "status")


def test_no_types_want_nothing() -> None:
    assert not filtered([])("iopub", "stream")


def test_an_excluded_type_is_not_wanted_anywhere() -> None:
    wants = filtered(None, ["status"])
    assert not wants("iopub", "status")
    assert not wants("shell", "status")
    assert wants("iopub", "stream")


def test_an_excluded_pair_is_wanted_on_other_channels() -> None:
    wants = filtered(None, [("status", "iopub")])
    assert not wants("iopub", "status")
    assert wants("shell", "status")


def test_exclusion_wins() -> None:
    assert not filtered(["status"], ["status"])("iopub", "status")
    assert not filtered(["status"], [("status", "iopub")])("iopub", "status")
    assert filtered(["status"], [("status", "iopub")])("shell", "status")


def test_only_the_channels_that_were_asked_for() -> None:
    wants = filtered(channels=["iopub", "stdin"])
    assert wants("iopub", "stream")
    assert wants("stdin", "input_request")
    assert not wants("shell", "execute_reply")


def test_channels_and_types_must_both_match() -> None:
    wants = filtered(["stream"], channels=["iopub"])
    assert not wants("shell", "stream")
    assert not wants("iopub", "status")


def test_filters_may_be_iterators() -> None:
    wants = filtered(iter(["stream"]), iter(["status"]), channels=iter(["iopub"]))
    assert [wants("iopub", "stream")] * 2 == [True, True]
    assert not wants("iopub", "status")


# --- sync callbacks -----------------------------------------------------------------------------


async def test_a_sync_callback_is_called_at_once(listen: Make) -> None:
    calls: list[Call] = []
    listen(lambda channel, frames: calls.append((channel, frames))).deliver("iopub", [b"h", b"p"])
    assert calls == [("iopub", [b"h", b"p"])]


async def test_an_exception_of_a_sync_callback_is_logged_and_the_next_message_comes(
    listen: Make, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def fails(channel: str, frames: Sequence[bytes]) -> None:
        calls.append(channel)
        raise RuntimeError("the listener's own fault")

    listener = listen(fails)
    listener.deliver("iopub", [])
    listener.deliver("shell", [])
    assert calls == ["iopub", "shell"]
    assert "the listener's own fault" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


async def test_a_stopped_sync_listener_hears_nothing(listen: Make) -> None:
    calls = []
    listener = listen(lambda channel, frames: calls.append(channel))
    listener.stop()
    listener.deliver("iopub", [])
    assert calls == []


# --- async callbacks ----------------------------------------------------------------------------


async def test_an_async_callback_never_runs_inside_deliver(listen: Make) -> None:
    called = asyncio.Event()

    async def callback(channel: str, frames: Sequence[bytes]) -> None:
        called.set()

    listen(callback).deliver("iopub", [])
    assert not called.is_set()
    async with asyncio.timeout(60):
        await called.wait()


async def test_an_async_callback_gets_one_message_after_the_other(listen: Make) -> None:
    events = []
    done = asyncio.Event()

    async def callback(channel: str, frames: Sequence[bytes]) -> None:
        events.append(("begin", channel))
        await asyncio.sleep(0)  # others may run
        events.append(("end", channel))
        if channel == "4":
            done.set()

    listener = listen(callback)
    for number in range(5):
        listener.deliver(str(number), [])
    async with asyncio.timeout(60):
        await done.wait()
    assert events == [(what, str(number)) for number in range(5) for what in ("begin", "end")]


async def test_an_exception_of_an_async_callback_is_logged_and_the_next_message_comes(
    listen: Make, caplog: pytest.LogCaptureFixture
) -> None:
    done = asyncio.Event()

    async def callback(channel: str, frames: Sequence[bytes]) -> None:
        if channel == "shell":
            raise RuntimeError("the listener's own fault")
        done.set()

    listener = listen(callback)
    listener.deliver("shell", [])
    listener.deliver("iopub", [])
    async with asyncio.timeout(60):
        await done.wait()
    assert "the listener's own fault" in caplog.text


async def test_a_callback_that_waited_for_something_cancelled_gets_the_next_message(listen: Make) -> None:
    done = asyncio.Event()

    async def callback(channel: str, frames: Sequence[bytes]) -> None:
        if channel == "shell":
            cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled
        done.set()

    listener = listen(callback)
    listener.deliver("shell", [])
    listener.deliver("iopub", [])
    async with asyncio.timeout(60):
        await done.wait()


async def test_an_async_callback_that_hangs_holds_up_nobody_else(listen: Make) -> None:
    hangs, done = asyncio.Event(), asyncio.Event()

    async def hanging(channel: str, frames: Sequence[bytes]) -> None:
        hangs.set()
        await asyncio.Event().wait()

    async def quick(channel: str, frames: Sequence[bytes]) -> None:
        done.set()

    first, second = listen(hanging), listen(quick)
    first.deliver("iopub", [])
    async with asyncio.timeout(60):
        await hangs.wait()
        second.deliver("iopub", [])
        await done.wait()


async def test_a_slow_async_listener_loses_its_oldest_messages_and_says_so_once(
    listen: Make, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bytes] = []
    done = asyncio.Event()
    last = b"%d" % (QUEUE_MESSAGES + 4)

    async def callback(channel: str, frames: Sequence[bytes]) -> None:
        heard.append(frames[0])
        if frames[0] == last:
            done.set()

    listener = listen(callback)
    for number in range(QUEUE_MESSAGES + 5):
        listener.deliver("iopub", [b"%d" % number])
    assert listener.dropped == 5
    async with asyncio.timeout(60):
        await done.wait()
    assert heard == [b"%d" % number for number in range(5, QUEUE_MESSAGES + 5)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


class AsyncObject:
    """A callback that is an object."""

    def __init__(self) -> None:
        self.called = asyncio.Event()

    async def __call__(self, channel: str, frames: Sequence[bytes]) -> None:
        self.called.set()

    async def method(self, channel: str, frames: Sequence[bytes], *, extra: int = 0) -> None:
        self.called.set()


@pytest.mark.parametrize("kind", ["object", "method", "partial"])
async def test_callbacks_that_are_async_in_other_ways(kind: str, listen: Make) -> None:
    target = AsyncObject()
    callbacks = {"object": target, "method": target.method, "partial": functools.partial(target.method, extra=1)}
    listen(callbacks[kind]).deliver("iopub", [])
    async with asyncio.timeout(60):
        await target.called.wait()


async def test_a_stopped_async_listener_hears_nothing_more(listen: Make) -> None:
    first, release = asyncio.Event(), asyncio.Event()
    heard = []

    async def callback(channel: str, frames: Sequence[bytes]) -> None:
        heard.append(channel)
        first.set()
        await release.wait()

    listener = listen(callback)
    listener.deliver("1", [])
    listener.deliver("2", [])
    async with asyncio.timeout(60):
        await first.wait()
        listener.stop()
        release.set()
        listener.deliver("3", [])
        await listener.stopped()
    assert heard == ["1"]


async def test_an_async_callback_may_stop_itself_and_finish(listen: Make) -> None:
    heard = []
    done = asyncio.Event()

    async def once(channel: str, frames: Sequence[bytes]) -> None:
        heard.append(channel)
        listener.stop()
        await asyncio.sleep(0)
        done.set()

    listener = listen(once)
    listener.deliver("1", [])
    listener.deliver("2", [])
    async with asyncio.timeout(60):
        await done.wait()
        await listener.stopped()
    assert heard == ["1"]


async def test_stopping_twice_and_before_any_message(listen: Make) -> None:
    listener = listen(AsyncObject())
    listener.stop()
    listener.stop()
    async with asyncio.timeout(60):
        await listener.stopped()
