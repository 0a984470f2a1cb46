"""The kernels end with the server, also when nobody asks it to."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fps_kernels.kernel_driver.reaper import Reaper

from ..support.client import Client
from ..support.drivers import TIMEOUT_S
from ..support.externals import ExternalKernel
from ..support.kept_mode import not_kept
from ..support.kernelspecs import KERNEL, add_kernelspec
from ..support.servers import Launch, Server
from ..support.waits import until

SLEEP = "import time; time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"
CHILD = f"subprocess.Popen([sys.executable, '-c', {SLEEP!r}])"
PARENT = f"import subprocess, sys; {CHILD}; print('on', flush=True); {SLEEP}"

Group = Callable[[str], subprocess.Popen]


@pytest.fixture
def group() -> Iterator[Group]:
    """group(code) starts a Python in a process group of its own, as kernels are."""
    processes: list[subprocess.Popen] = []

    def start(code: str = SLEEP) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
        processes.append(process)
        if "print" in code:
            assert process.stdout is not None
            process.stdout.readline()
        return process

    yield start
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
async def reaper() -> AsyncIterator[Reaper]:
    reaper = Reaper(grace_s=1)
    yield reaper
    await reaper.close()


def reapers(parent: psutil.Process | None = None) -> list[psutil.Process]:
    """The reapers of a process, by default this one."""
    children = (parent or psutil.Process()).children()
    return [child for child in children if "kernel-reaper" in command_of(child)]


def command_of(process: psutil.Process) -> list[str]:
    """Its command line, which is empty for a moment while the program is being replaced."""
    for _ in range(1000):
        if (command := process.cmdline()) or process.status() == psutil.STATUS_ZOMBIE:
            return command
        time.sleep(0.001)
    raise TimeoutError(process)


async def ended(process: subprocess.Popen) -> int:
    """The exit code."""
    return await asyncio.to_thread(process.wait, TIMEOUT_S)


async def test_groups_are_ended_when_the_pipe_closes(reaper: Reaper, group: Group) -> None:
    processes = [group(SLEEP), group(SLEEP)]
    for process in processes:
        reaper.watch(process.pid)
    await reaper.close()
    assert [await ended(process) for process in processes] == [-signal.SIGTERM] * 2


async def test_a_group_that_ignores_sigterm_is_killed(reaper: Reaper, group: Group) -> None:
    process = group(DEAF)
    reaper.watch(process.pid)
    await reaper.close()
    assert await ended(process) == -signal.SIGKILL


async def test_the_children_of_a_kernel_end_with_it(reaper: Reaper, group: Group) -> None:
    process = group(PARENT)
    [child] = psutil.Process(process.pid).children()
    reaper.watch(process.pid)
    await reaper.close()
    await asyncio.to_thread(psutil.wait_procs, [child], TIMEOUT_S)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("index", [0, 1, 2])
async def test_a_forgotten_group_is_left_alone(reaper: Reaper, group: Group, index: int) -> None:
    processes = [group(SLEEP) for _ in range(3)]
    for process in processes:
        reaper.watch(process.pid)
    forgotten = processes.pop(index)
    reaper.forget(forgotten.pid)
    await reaper.close()
    for process in processes:
        assert await ended(process) == -signal.SIGTERM
    assert forgotten.poll() is None


async def test_when_all_are_forgotten_the_reaper_goes_at_once(group: Group) -> None:
    reaper = Reaper(grace_s=600)
    kernel = group(SLEEP)
    reaper.watch(kernel.pid)
    [process] = reapers()
    reaper.forget(kernel.pid)
    await asyncio.wait_for(reaper.close(), TIMEOUT_S)
    assert not process.is_running()


async def test_there_is_no_reaper_before_the_first_kernel(reaper: Reaper) -> None:
    assert reapers() == []
    reaper.forget(1)
    await reaper.close()
    await reaper.close()


async def test_signals_that_end_the_server_do_not_end_the_reaper(reaper: Reaper, group: Group) -> None:
    process = group(SLEEP)
    reaper.watch(process.pid)
    [shell] = reapers()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        shell.send_signal(signum)
    await reaper.close()
    assert await ended(process) == -signal.SIGTERM


async def test_a_new_reaper_knows_the_kernels_of_one_that_was_killed(reaper: Reaper, group: Group) -> None:
    first, second = group(SLEEP), group(SLEEP)
    reaper.watch(first.pid)
    [shell] = reapers()
    shell.kill()
    await asyncio.to_thread(shell.wait, TIMEOUT_S)
    reaper.watch(second.pid)
    await reaper.close()
    assert await ended(first) == await ended(second) == -signal.SIGTERM


async def test_a_number_that_is_anothers_now_is_left_alone(
    reaper: Reaper, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the server had been killed before it noticed that its kernel was gone."""
    own, other = group(SLEEP), group(SLEEP)
    reaper.watch(own.pid)
    monkeypatch.setattr("fps_kernels.kernel_driver.reaper.start_time", lambda pid: "1")
    reaper.watch(other.pid)
    await reaper.close()
    assert await ended(own) == -signal.SIGTERM
    assert other.poll() is None


async def test_what_is_left_of_a_group_without_its_leader_is_ended(reaper: Reaper, group: Group) -> None:
    process = group(PARENT)
    [child] = psutil.Process(process.pid).children()
    reaper.watch(process.pid)
    process.kill()
    await ended(process)
    await reaper.close()
    await asyncio.to_thread(psutil.wait_procs, [child], TIMEOUT_S)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("child", [SLEEP, DEAF], ids=["polite", "deaf"])
async def test_what_a_kernel_leaves_behind_is_ended_while_the_server_goes_on(
    reaper: Reaper, group: Group, child: str
) -> None:
    process = group(PARENT.replace(repr(SLEEP), repr(child)))
    [left] = psutil.Process(process.pid).children()
    reaper.watch(process.pid)
    process.kill()
    await ended(process)
    reaper.end_rest(process.pid)
    await until(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE, TIMEOUT_S)
    await until(lambda: not reaper._groups, TIMEOUT_S)


async def test_a_number_that_is_anothers_when_the_end_is_seen_is_left_alone(
    reaper: Reaper, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = group(SLEEP)
    with monkeypatch.context() as patch:
        patch.setattr("fps_kernels.kernel_driver.reaper.start_time", lambda pid: "1")
        reaper.watch(other.pid)
    reaper.end_rest(other.pid)
    await until(lambda: not reaper._groups, TIMEOUT_S)
    assert other.poll() is None


@pytest.mark.parametrize("name", [") 1 2 3", "a\\nb) S", "((", " * $(id) ", "\\n\\n"])
async def test_a_process_of_any_name_is_known_again(reaper: Reaper, group: Group, name: str) -> None:
    rename = f"import ctypes; ctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0); print('on', flush=True); {SLEEP}"
    process = group(rename)
    reaper.watch(process.pid)
    await reaper.close()
    assert await ended(process) == -signal.SIGTERM


async def test_what_does_not_fit_into_the_pipe_is_told_later(reaper: Reaper, group: Group) -> None:
    first, last, gone = group(SLEEP), group(SLEEP), group(SLEEP)
    reaper.watch(first.pid)
    [shell] = reapers()
    shell.suspend()
    assert reaper._process is not None
    assert reaper._process.stdin is not None
    fcntl.fcntl(reaper._process.stdin, fcntl.F_SETPIPE_SZ, 4096)
    nobody = range(10_000_000, 10_000_400)  # larger than any process id
    for pid in nobody:
        reaper.watch(pid)
    reaper.watch(gone.pid)
    reaper.watch(last.pid)
    reaper.forget(gone.pid)
    for pid in nobody:
        reaper.forget(pid)
    assert reaper._unsent
    shell.resume()
    await until(lambda: not reaper._unsent)
    await reaper.close()
    assert await ended(first) == await ended(last) == -signal.SIGTERM
    assert gone.poll() is None


# --- over a server -------------------------------------------------------------------------------


async def kill(server: Server) -> None:
    """kill -9, and wait until nothing of its kernels and their reaper is left."""
    [shell] = reapers(psutil.Process(server.process.pid))
    server.process.kill()
    await asyncio.to_thread(server.process.wait, TIMEOUT_S)
    await asyncio.to_thread(psutil.wait_procs, [shell], TIMEOUT_S)
    assert not shell.is_running()
    assert server.kernel_processes() == []


def add_orphan(server: Server, mode: str) -> None:
    """A kernelspec whose kernel does not watch its parent."""
    add_kernelspec(
        server.share,
        "orphan",
        {
            "argv": ["env", "-u", "JPY_PARENT_PID", sys.executable, str(KERNEL), mode, "{connection_file}"],
            "display_name": "Orphan",
            "language": "python",
        },
    )


@not_kept
@pytest.mark.parametrize("mode", ["plain", "ignores_sigterm", "silent"])
async def test_kill_9_leaves_no_kernel(launch: Launch, mode: str) -> None:
    server = launch("--set", "kernels.start_answer_s=0.2")
    add_orphan(server, mode)
    async with Client(server.url) as client:
        for _ in range(2):
            await client.start("orphan")
    assert len(server.kernel_processes()) == 2
    await kill(server)


@not_kept
async def test_kill_9_ends_a_kernel_that_was_restarted(launch: Launch) -> None:
    server = launch()
    add_orphan(server, "plain")
    async with Client(server.url) as client:
        kernel_id = await client.start("orphan")
        await client.http.post(f"/api/kernels/{kernel_id}/restart")
    await kill(server)


@not_kept
async def test_kill_9_leaves_an_external_kernel_alone(launch: Launch, tmp_path: Path) -> None:
    external = ExternalKernel(tmp_path)
    try:
        folder = tmp_path / "external"
        folder.mkdir()
        external.show(folder)
        server = launch(
            "--set", "kernels.allow_external_kernels=true", "--set", f"kernels.external_connection_dir={folder}"
        )
        async with Client(server.url) as client:
            await client.until(lambda kernels: [model["execution_state"] for model in kernels] == ["idle"])
            await client.start()
        await kill(server)
        assert external.process.poll() is None
    finally:
        external.stop()


@not_kept
async def test_a_normal_stop_leaves_no_reaper(launch: Launch) -> None:
    server = launch()
    async with Client(server.url) as client:
        await client.start()
    [shell] = reapers(psutil.Process(server.process.pid))
    assert server.stop() == 0
    assert not shell.is_running()


@not_kept
async def test_a_reaper_ends_no_kernel_while_the_server_lives(launch: Launch) -> None:
    server = launch()
    async with Client(server.url) as client:
        kept = await client.start()
        await client.http.delete(f"/api/kernels/{await client.start()}")
        assert await client.evaluate(kept, "6 * 7") == "42"
        assert len(reapers(psutil.Process(server.process.pid))) == 1
