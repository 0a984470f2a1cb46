"""Descriptors are watched on loops that cannot do that by themselves, too."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import pytest

from fps_kernels.descriptors import add_reader, add_writer, need_descriptors, remove_reader, remove_writer

from ..support.waits import until

TIMEOUT_S = 30


class BareLoop(asyncio.SelectorEventLoop):
    def add_reader(self, *_: Any) -> NoReturn:  # type: ignore[override]
        raise NotImplementedError

    def add_writer(self, *_: Any) -> NoReturn:  # type: ignore[override]
        raise NotImplementedError


@pytest.fixture(params=[asyncio.SelectorEventLoop, BareLoop], ids=["able", "bare"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine on a loop that can watch descriptors, and on one that cannot; no thread is left."""

    async def bounded(work: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await work
            await until(lambda: all(thread.name != "descriptors" for thread in threading.enumerate()))

    def run(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded(work))

    return run


@pytest.fixture
def pipes() -> Any:
    """Two pipes: reading end, writing end."""
    ends = [os.pipe(), os.pipe()]
    yield ends
    for fd in (*ends[0], *ends[1]):
        os.close(fd)


def test_each_reader_is_called_as_often_as_there_is_something(run: Any, pipes: Any) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        read: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        for number, (reading, _) in enumerate(pipes):
            add_reader(loop, reading, lambda n, fd: read.put_nowait((n, os.read(fd, 1))), number, reading)
        for number, byte in ((0, b"a"), (1, b"b"), (0, b"c")):
            os.write(pipes[number][1], byte)
            assert await read.get() == (number, byte)
        remove_reader(loop, pipes[0][0])
        os.write(pipes[0][1], b"d")
        os.write(pipes[1][1], b"e")
        assert await read.get() == (1, b"e")
        remove_reader(loop, pipes[1][0])
        remove_reader(loop, pipes[1][0])
        assert read.empty()

    run(work())


def test_a_writer_is_called_when_there_is_room(run: Any, pipes: Any) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = pipes[0]
        os.set_blocking(writing, False)
        os.write(writing, bytes(1 << 20))  # as much as there is room for
        room, other = asyncio.Event(), asyncio.Event()
        add_writer(loop, writing, room.set)
        add_writer(loop, pipes[1][1], other.set)
        await other.wait()
        assert not room.is_set()
        remove_writer(loop, pipes[1][1])
        os.read(reading, 1 << 20)
        await room.wait()
        remove_writer(loop, writing)

    run(work())


def test_an_error_of_one_callback_is_reported_and_the_others_go_on(run: Any, pipes: Any) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        errors: asyncio.Queue[Any] = asyncio.Queue()
        loop.set_exception_handler(lambda _, context: errors.put_nowait(context["exception"]))
        (broken, to_broken), (good, to_good) = pipes

        def fail() -> None:
            os.read(broken, 1)
            raise ValueError("mine")

        def succeed() -> None:
            os.read(good, 1)
            read.set()

        read = asyncio.Event()
        add_reader(loop, broken, fail)
        add_reader(loop, good, succeed)
        os.write(to_broken, b"x")
        os.write(to_good, b"x")
        await read.wait()
        assert isinstance(await errors.get(), ValueError)
        remove_reader(loop, broken)
        remove_reader(loop, good)

    run(work())


def test_too_few_descriptors_are_an_error_and_none_is_kept() -> None:
    before = os.listdir("/proc/self/fd")
    need_descriptors(16)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, before)) + 8, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            need_descriptors(1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/proc/self/fd")) <= len(before)
