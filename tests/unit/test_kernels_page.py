"""The page of kernels: what is told of kernels and their processes, to whom, and the files of the page."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from fps_kernels.errors import NotFound, TooManyWatchers
from fps_kernels.kernel_driver.state import ExecutionState
from fps_kernels.kernel_server.tally import FROM_KERNEL, Tally
from fps_kernels.kernels.keeping.keepsake import Keepsake
from fps_kernels.kernels_page import kernel_feed, page_files
from fps_kernels.kernels_page.kernel_feed import KernelFeed, KernelSource, Rights, Sample, changes
from fps_kernels.kernels_page.kernel_view import MessageRates, actions_of
from fps_kernels.kernels_page.page_files import FOLDER, PAGE, POLICY, page_file, page_headers
from fps_kernels.kernels_page.process_usage import GONE, NO_PSUTIL, NOT_ALLOWED, ONE_SAMPLE, ProcessSampler

from ..support.waits import until

# --- what a watcher is told -----------------------------------------------------------------------


def sample(at: str, sessions: str = "[]", **kernels: int) -> Sample:
    return Sample(at, {name: json.dumps(value) for name, value in kernels.items()}, dict.fromkeys(kernels, sessions))


def told(before: Sample, after: Sample, *, sessions: bool = True) -> dict[str, Any]:
    return json.loads(changes(before, after, sessions=sessions))


def test_a_new_watcher_is_told_all() -> None:
    assert told(Sample(), sample("now", a=1, b=2)) == {
        "at": "now",
        "all": True,
        "kernels": {"a": 1, "b": 2},
        "sessions": {"a": [], "b": []},
        "gone": [],
    }


def test_a_watcher_is_told_what_has_changed_since_it_was_told_last() -> None:
    answer = told(sample("1", a=1, b=2, c=3), sample("9", a=1, b=5, d=4))
    assert (answer["all"], answer["kernels"], answer["gone"]) == (False, {"b": 5, "d": 4}, ["c"])
    assert answer["sessions"] == {"d": []}
    assert told(sample("1", a=1), sample("2", '["x"]', a=1))["sessions"] == {"a": ["x"]}


def test_who_may_not_read_sessions_is_told_none() -> None:
    assert told(Sample(), sample("1", '["secret.ipynb"]', a=1), sessions=False)["sessions"] == {}


# --- one kernel -----------------------------------------------------------------------------------


def test_what_can_be_done_is_what_the_api_would_do() -> None:
    assert actions_of(ExecutionState.BUSY, external=False) == ["interrupt", "restart", "shutdown"]
    assert actions_of(ExecutionState.DEAD, external=False) == ["restart", "shutdown"]
    assert actions_of(ExecutionState.TERMINATING, external=False) == []
    assert actions_of(ExecutionState.IDLE, external=True) == ["interrupt"]
    assert actions_of(ExecutionState.DEAD, external=True) == ["shutdown"]


def test_rates_are_differences_of_counters() -> None:
    rates, tally = MessageRates(), Tally()
    flow = tally.flows[FROM_KERNEL, "iopub"]
    flow.messages = 1000
    assert rates.of("a", tally, 10.0) == 0
    flow.messages += 30
    assert rates.of("a", tally, 12.0) == 15
    flow.messages = 0  # as of another process, should it ever count anew
    assert rates.of("a", tally, 13.0) == 0
    rates.keep_only([])
    flow.messages = 500
    assert rates.of("a", tally, 14.0) == 0


# --- its processes --------------------------------------------------------------------------------

BUSY_WITH_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "x = bytearray(40_000_000); input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
while not sys.stdin.read(1): pass
while True: pass
"""


def test_memory_and_cpu_are_those_of_the_whole_tree() -> None:
    sampler = ProcessSampler()
    with subprocess.Popen(
        [sys.executable, "-c", BUSY_WITH_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdin is not None
            child = psutil.Process(int(process.stdout.readline()))
            while child.memory_info().rss < 40_000_000:
                assert child.is_running()
            first = sampler.sample([process.pid])[process.pid]
            assert first.processes == 2
            assert first.memory_bytes is not None
            assert first.memory_bytes > 45_000_000
            assert (first.cpu_percent, first.note) == (None, ONE_SAMPLE)
            process.stdin.write("x")
            process.stdin.flush()
            spent = sum(psutil.Process(process.pid).cpu_times()[:2])
            while sum(psutil.Process(process.pid).cpu_times()[:2]) < spent + 0.1:
                pass
            second = sampler.sample([process.pid])[process.pid]
            assert second.cpu_percent is not None
            assert second.cpu_percent > 0
            assert second.note == ""
        finally:
            process.kill()
    assert sampler.sample([process.pid])[process.pid].note == GONE


def test_without_psutil_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    usage = ProcessSampler().sample([os.getpid()])[os.getpid()]
    assert (usage.memory_bytes, usage.cpu_percent, usage.note) == (None, None, NO_PSUTIL)


STRANGER = """
import os, psutil
from fps_kernels.kernels_page.process_usage import ProcessSampler
os.setgroups([]); os.setgid(65534); os.setuid(65534)
usage = ProcessSampler().sample([1, os.getpid()])
print(usage[1].note, usage[1].memory_bytes, usage[os.getpid()].memory_bytes is not None, sep="|")
"""


def test_a_process_of_another_user_that_may_not_be_looked_into_has_a_reason() -> None:
    """In namespaces of its own, whose /proc shows each user only the own processes."""
    unshare = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("namespaces cannot be made here")
    command = f"mount -o remount,hidepid=1 /proc && {sys.executable} -c '{STRANGER}'; exit $?"
    done = subprocess.run([*unshare, "sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{NOT_ALLOWED}|None|True\n"


# --- the feed -------------------------------------------------------------------------------------


def feed_of_nothing() -> KernelFeed:
    async def sessions() -> dict[str, Any]:
        return {}

    return KernelFeed(KernelSource(list, sessions, Keepsake(), datetime.now(UTC)))


def data_of(event: bytes) -> dict[str, Any]:
    return json.loads(event.decode().partition("data: ")[2])


async def test_samples_are_taken_only_while_somebody_watches() -> None:
    feed = feed_of_nothing()
    assert not feed.sampling
    with feed.watch(Rights()) as one:
        assert data_of(await anext(one))["may_write"] is True
        assert data_of(await anext(one))["all"] is True
        with feed.watch(Rights(write=False)) as other:
            assert data_of(await anext(other))["may_write"] is False
        assert feed.sampling
    await until(lambda: not feed.sampling)
    with feed.watch(Rights()) as again:
        await anext(again)
        assert data_of(await anext(again))["all"] is True


async def test_watchers_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_feed, "MAX_WATCHERS", 2)
    feed = feed_of_nothing()
    with feed.watch(Rights()):
        with feed.watch(Rights()):
            with pytest.raises(TooManyWatchers, match="can be 2"):
                feed.check_room()
            with pytest.raises(TooManyWatchers), feed.watch(Rights()):
                pass
            assert feed.watchers == 2
        feed.check_room()
    feed.close()


async def test_a_slow_watcher_is_told_the_latest_sample_and_none_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_feed, "SAMPLE_S", 0.01)
    feed = feed_of_nothing()
    with feed.watch(Rights()) as slow, feed.watch(Rights()) as quick:
        await anext(slow)
        await anext(quick)
        first = data_of(await anext(slow))["at"]
        seen = [data_of(await anext(quick))["at"] for _ in range(6)]
        assert data_of(await anext(slow))["at"] >= seen[-1] > seen[1] > first


async def test_the_end_of_the_server_ends_all_streams_at_once() -> None:
    feed = feed_of_nothing()

    async def read(events: AsyncIterator[bytes]) -> int:
        return len([event async for event in events])

    with feed.watch(Rights()) as one, feed.watch(Rights()) as other:
        reading = [asyncio.create_task(read(events)) for events in (one, other)]
        await until(lambda: feed.sampling)
        feed.close()
        async with asyncio.timeout(60):
            assert all([await task >= 1 for task in reading])
        with feed.watch(Rights()) as late:
            assert len([event async for event in late]) == 1  # about the server, and the end
    await until(lambda: not feed.sampling)


async def test_a_stream_ends_after_a_while_so_that_rights_are_checked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_feed, "STREAM_S", 0.05)
    monkeypatch.setattr(kernel_feed, "SAMPLE_S", 0.01)
    with feed_of_nothing().watch(Rights()) as events:
        async with asyncio.timeout(60):
            assert len([event async for event in events]) > 1


async def test_a_watcher_hears_that_the_server_lives_while_there_are_no_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel_feed, "HEARTBEAT_S", 0.01)
    never = asyncio.Event()

    async def sessions() -> dict[str, Any]:
        await never.wait()
        return {}

    feed = KernelFeed(KernelSource(list, sessions, Keepsake(), datetime.now(UTC)))
    with feed.watch(Rights()) as events:
        await anext(events)
        assert await anext(events) == kernel_feed.HEARTBEAT


async def test_a_failure_does_not_end_the_samples(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernel_feed, "SAMPLE_S", 0.01)
    failures = iter([ValueError("a"), ValueError("b")])

    async def sessions() -> dict[str, Any]:
        for failure in failures:
            raise failure
        return {}

    feed = KernelFeed(KernelSource(list, sessions, Keepsake(), datetime.now(UTC)))
    with feed.watch(Rights()) as events:
        await anext(events)
        assert data_of(await anext(events))["all"] is True
    assert caplog.text.count("cannot be kept up to date") == 1


# --- the files ------------------------------------------------------------------------------------


def test_only_files_of_the_page_are_served() -> None:
    assert page_file(PAGE)[1].startswith("text/html")
    for name in ("", ".", "..", "../page_files.py", "nothing.js", "/etc/passwd", "x" * 10_000):
        with pytest.raises(NotFound):
            page_file(name)


def test_every_file_has_a_type_that_browsers_take() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert names == set(page_files._files())


def test_nothing_in_the_page_is_inline_and_nothing_comes_from_elsewhere() -> None:
    page = page_file(PAGE)[0].decode()
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", page) == []
    for url in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert url.startswith("kernels/static/"), url
        assert (FOLDER / Path(url).name).is_file()
    for path in FOLDER.iterdir():
        assert re.findall(r"https?://(?!www\.w3\.org/)|innerHTML|insertAdjacentHTML|eval\(", path.read_text()) == []


def test_the_policy_allows_nothing_inline_and_leaves_frames_to_the_host() -> None:
    assert "unsafe" not in POLICY
    assert "frame-ancestors" not in POLICY
    headers = page_headers("frame-ancestors 'self' https://portal.example")
    assert headers["Content-Security-Policy"].startswith("frame-ancestors 'self' https://portal.example; default-src")
    assert headers["Referrer-Policy"] == "no-referrer"
