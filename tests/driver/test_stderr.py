"""What a kernel writes to its stderr: read by the loop that the gateway runs on, and its descriptor closed once."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from fps_kernels.kernel_driver.stderr import StderrReader

uvloop = pytest.importorskip("uvloop")


async def read_and_end(text: bytes) -> list[str]:
    read, write = os.pipe()
    stderr = StderrReader("a", read)
    os.write(write, text)
    os.close(write)
    await stderr.closed
    return list(stderr.lines)


def test_the_last_line_is_kept_without_its_end() -> None:
    assert uvloop.run(read_and_end(b"one\ntwo")) == ["one", "two"]


def test_descriptors_of_other_threads_are_left_alone() -> None:
    """As ZMQ's: libzmq aborts when one of its own is closed."""
    failures = []
    end = threading.Event()

    def open_and_close() -> None:
        while not end.is_set():
            fd = os.open(os.devnull, os.O_RDONLY)
            try:
                os.close(fd)
            except OSError as exc:
                failures.append(exc)

    async def read_often() -> None:
        for _ in range(10_000):
            await read_and_end(b"one\n")

    threads = [threading.Thread(target=open_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        uvloop.run(asyncio.wait_for(read_often(), 60))
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert failures == []
