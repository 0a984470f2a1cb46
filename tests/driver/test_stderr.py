"""What a kernel writes to its stderr: read by the loop that the gateway runs on, and its descriptor closed once."""

from __future__ import annotations

import asyncio
import logging
import os
import threading

import pytest

from fps_kernels.kernel_driver import stderr
from fps_kernels.kernel_driver.stderr import StderrReader

from ..support.drivers import Drivers, Recorder, execute
from ..support.waits import until

uvloop = pytest.importorskip("uvloop")


async def read_and_end(text: bytes) -> list[str]:
    read, write = os.pipe()
    reader = StderrReader("a", read)
    os.write(write, text)
    os.close(write)
    await reader.closed
    return list(reader.lines)


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


# --- the log --------------------------------------------------------------------------------------


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == stderr.__name__]


def test_a_flood_is_cut_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def flood() -> list[str]:
        read, write = os.pipe()
        reader = StderrReader("a", read)
        lines = b"".join(b"line %d\n" % number for number in range(100_000))
        await asyncio.to_thread(os.write, write, lines)
        await asyncio.to_thread(os.close, write)
        await reader.closed
        return list(reader.lines)

    kept = uvloop.run(flood())
    said = logged(caplog)
    assert len(said) == stderr.LOG_LINES + 1
    assert said[0] == "kernel a: line 0"
    left_out = sum(len(b"line %d" % number) for number in range(stderr.LOG_LINES, 100_000))
    assert said[-1] == f"kernel a: {100_000 - stderr.LOG_LINES} more lines ({left_out} bytes) are left out"
    assert kept[-1] == "line 99999"
    assert len(kept) == stderr.STDERR_LINES


def test_what_was_left_out_is_told_when_the_kernel_is_silent_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(stderr, "LOG_WINDOW_S", 0.0203)  # uvloop rounds it: the report comes a little early

    async def flood() -> None:
        read, write = os.pipe()
        reader = StderrReader("a", read)
        os.write(write, b"x\n" * (stderr.LOG_LINES + 7))
        await until(lambda: len(logged(caplog)) > stderr.LOG_LINES, every_s=0)
        os.write(write, b"again\n")
        await until(lambda: len(logged(caplog)) > stderr.LOG_LINES + 1)
        os.close(write)
        await reader.closed

    for _ in range(5):
        caplog.clear()
        uvloop.run(flood())
        assert logged(caplog)[-2:] == ["kernel a: 7 more lines (7 bytes) are left out", "kernel a: again"]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (b"\x1b[2J\x1b]0;title\x07", "kernel a: \\x1b[2J\\x1b]0;title\\x07"),
        ("\u202e\x9b\r[root] ERROR forged".encode(), "kernel a: \\u202e\\x9b\\r[root] ERROR forged"),
        (b"\xff\x00 windows\r", "kernel a: \ufffd\\x00 windows"),
        (b"y" * 10_000, f"kernel a: {'y' * stderr.LOG_LINE_CHARS}… ({10_000 - stderr.LOG_LINE_CHARS} more characters)"),
    ],
)
def test_a_line_is_escaped_and_cut(caplog: pytest.LogCaptureFixture, written: bytes, line: str) -> None:
    caplog.set_level(logging.INFO)
    uvloop.run(read_and_end(written + b"\n"))
    assert logged(caplog) == [line]


def test_a_line_without_an_end_is_bounded() -> None:
    async def write_much() -> list[str]:
        read, write = os.pipe()
        reader = StderrReader("a", read)
        for _ in range(100):
            await asyncio.to_thread(os.write, write, b"z" * 65_536)
            assert len(reader._partial) <= stderr.MAX_LINE_BYTES
        os.close(write)
        await reader.closed
        return list(reader.lines)

    assert uvloop.run(write_much()) == ["z" * stderr.STDERR_LINE_CHARS]


# --- over a kernel --------------------------------------------------------------------------------


@pytest.mark.usefixtures("bounded")
async def test_stdout_of_the_process_is_not_the_servers(
    kernels: Drivers, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    driver = await kernels.start()
    execute(driver.client, "import os; os.write(1, b'\\x1b[2J on stdout\\n')")
    await until(lambda: "on stdout" in caplog.text)
    assert f"kernel {driver.kernel_id}: \\x1b[2J on stdout" in logged(caplog)
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("bounded")
async def test_the_reason_of_a_death_obeys_no_terminal(kernels: Drivers) -> None:
    driver = await kernels.start(restart_limit=0)
    told = Recorder(driver)
    execute(driver.client, "import os; os.write(2, b'\\x1b[31mwhy\\x1b[0m\\x1b[2J \\xe2\\x80\\xae\\n'); os._exit(3)")
    await told.until("dead")
    assert driver.reason == "The kernel died: exited with code 3: why\\x1b[2J \\u202e"
