"""All callbacks of one kernel together: who gets which message, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fps_kernels.kernel_driver.listener import MAX_ROUTES, Listener, Listeners
from fps_kernels.kernel_driver.message import Message, dump_json, make_frames, make_header


def message(msg_type: str = "stream", session: str = "a", channel: str = "iopub") -> Message:
    """A message that answers a request of this session."""
    return Message(channel, make_frames(msg_type, {}, "kernel", dump_json(make_header("x_request", session))))


class Heard:
    """A callback that keeps the types of what it hears."""

    def __init__(self) -> None:
        self.types: list[str] = []

    def __call__(self, channel: str, frames: Sequence[bytes]) -> None:
        self.types.append(Message(channel, list(frames)).msg_type)


def test_each_listener_gets_what_it_wants_in_order() -> None:
    listeners, streams, all_ = Listeners(), Heard(), Heard()
    listeners.add(Listener(streams, ["stream"]))
    listeners.add(Listener(all_))
    listeners.deliver("iopub", [message("stream"), message("status"), message("stream")])
    assert streams.types == ["stream", "stream"]
    assert all_.types == ["stream", "status", "stream"]
    assert len(listeners) == 2


def test_a_listener_that_comes_later_gets_types_that_were_routed_before() -> None:
    listeners, late = Listeners(), Heard()
    listeners.add(Listener(Heard()))
    listeners.deliver("iopub", [message()])
    listeners.add(Listener(late))
    listeners.deliver("iopub", [message()])
    assert late.types == ["stream"]


def test_a_session_gets_only_its_own_replies_but_all_of_iopub() -> None:
    listeners, heard = Listeners(), Heard()
    listeners.add(Listener(heard, session="a"))
    listeners.deliver("shell", [message("one_reply", "a", "shell"), message("other_reply", "b", "shell")])
    listeners.deliver("iopub", [message("stream", "b")])
    assert heard.types == ["one_reply", "stream"]


def test_all_listeners_with_a_callback_are_removed_by_it() -> None:
    listeners, heard = Listeners(), Heard()
    listeners.add(Listener(heard, ["stream"]))
    listeners.add(Listener(heard, ["status"]))
    listeners.remove(heard)
    listeners.remove(heard)
    listeners.deliver("iopub", [message("stream"), message("status")])
    assert heard.types == []
    assert len(listeners) == 0


def test_a_batch_is_one_call_and_comes_before_listeners() -> None:
    listeners = Listeners()
    calls: list[object] = []
    listeners.add(Listener(lambda channel, frames: calls.append("listener")))
    listeners.add_batch_callback(lambda channel, messages: calls.append((channel, len(messages))))
    listeners.deliver("iopub", [message(), message()])
    assert calls == [("iopub", 2), "listener", "listener"]


def test_a_kernel_that_invents_types_does_not_fill_the_memory() -> None:
    listeners, heard = Listeners(), Heard()
    listeners.add(Listener(heard))
    types = [f"type_{number}" for number in range(2 * MAX_ROUTES)]
    listeners.deliver("iopub", [message(msg_type) for msg_type in types])
    assert heard.types == types
    assert len(listeners._routes) <= MAX_ROUTES


def test_state_callbacks_are_called_in_order() -> None:
    listeners = Listeners()
    calls: list[int] = []
    for number in range(3):
        listeners.add_state_callback(lambda number=number: calls.append(number))  # type: ignore[misc]
    listeners.on_state()
    assert calls == [0, 1, 2]


async def test_after_the_close_nothing_is_delivered_and_no_callback_runs() -> None:
    listeners, heard = Listeners(), Heard()
    running = asyncio.Event()

    async def hangs(channel: str, frames: Sequence[bytes]) -> None:
        running.set()
        await asyncio.Event().wait()

    listeners.add(Listener(hangs))
    listeners.add(Listener(heard))
    listeners.add_batch_callback(lambda channel, messages: heard.types.append("batch"))
    listeners.deliver("iopub", [message()])
    await running.wait()
    await listeners.close()
    heard.types.clear()
    listeners.deliver("iopub", [message()])
    listeners.on_state()
    assert heard.types == []
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"kernel listener"})
