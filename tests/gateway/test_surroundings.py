"""What a server is started in: signals that come to it, streams that are closed, a container without init."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ..support.client import Client
from ..support.gateways import COMMAND, Begin, environment
from ..support.kept_mode import not_kept
from ..support.lacking import FIRST_PROCESS, lacking
from ..support.ports import free_port
from ..support.waits import until

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(*words, redirect="", **streams) starts the command by a shell; returns it and its URL."""
    processes = []

    def start(*words: str, redirect: str = "", **streams: Any) -> tuple[subprocess.Popen[bytes], str]:
        port = free_port()
        names = {"KG_PORT": str(port), "KG_LIST_KERNELS": "True"} | ({"FPS_KERNELS_TOKEN": "x" * 16} if words else {})
        command = " ".join([COMMAND, *words, *(["--port", str(port)] if words else [])])
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command} {redirect}"], cwd=tmp_path, env=environment(tmp_path, **names), **streams
        )
        processes.append(process)
        return process, f"http://127.0.0.1:{port}"

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


async def answers(url: str) -> None:
    """Wait until it answers."""
    async with httpx.AsyncClient(trust_env=False) as http:

        async def answered() -> bool:
            try:
                return (await http.get(f"{url}/api")).status_code in (200, 401)
            except httpx.TransportError:
                return False

        await until(answered, 60, every_s=0.05)


async def ended(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return await asyncio.to_thread(process.wait, 60)


# --- signals ------------------------------------------------------------------------------------


async def test_a_hangup_changes_nothing(begin: Begin) -> None:
    gateway = begin("--JupyterWebsocketPersonality.list_kernels=True")
    async with Client(gateway.url) as client:
        kernel = await client.start()
        gateway.process.send_signal(signal.SIGHUP)
        assert await client.evaluate(kernel, "6 * 7") == "42"
        handled = await client.evaluate(kernel, "__import__('signal').getsignal(1) == __import__('signal').SIG_DFL")
        assert handled == "True"  # a kernel does not inherit that
    assert gateway.stop() == 0


async def test_a_lab_survives_a_hangup_and_needs_no_streams(start: Start) -> None:
    process, url = start("lab", redirect="<&- >&- 2>&-")
    await answers(url)
    process.send_signal(signal.SIGHUP)
    await answers(url)
    assert await ended(process) == 0


# --- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_streams_that_are_closed_lead_nowhere(start: Start, closed: str) -> None:
    process, url = start(redirect=f"</dev/null >/dev/null 2>/dev/null {closed}")
    await answers(url)
    for number in range(3):
        assert os.readlink(f"/proc/{process.pid}/fd/{number}") == os.devnull
    async with Client(url) as client:
        assert await client.evaluate(await client.start(), "6 * 7") == "42"
    assert await ended(process) == 0


async def test_a_reader_of_the_log_that_goes_ends_nothing(start: Start) -> None:
    process, url = start(redirect="2>&1", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.readline)
    process.stdout.close()
    await answers(url)
    async with Client(url) as client:
        kernel = await client.start()
        assert await client.evaluate(kernel, "print('to the log', flush=True) or 6 * 7") == "42"
    assert await ended(process) == 0


async def test_a_lab_whose_reader_is_gone_starts(start: Start) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process, url = start("lab", stdin=subprocess.DEVNULL, stdout=writing, stderr=writing)
    os.close(writing)
    await answers(url)
    assert await ended(process) == 0


# --- process 1 ----------------------------------------------------------------------------------


@not_kept
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_process_reaps_orphans_and_hands_signals_on(
    begin: Begin, tmp_path: Path, signum: signal.Signals
) -> None:
    gateway = begin(env=lacking(tmp_path / "site", FIRST_PROCESS))
    init = psutil.Process(gateway.process.pid)
    [server] = init.children()
    async with Client(gateway.url) as client:
        kernel = await client.start()
        orphans = "[__import__('os').system('sh -c \"echo\" & exit') for _ in range(20)]"
        await client.evaluate(kernel, orphans)
        left = await client.evaluate(kernel, "__import__('subprocess').getoutput('sleep 0.01 & echo $!')")
        await until(lambda: not psutil.pid_exists(int(left)))
        await until(lambda: init.children() == [server])
        gateway.process.send_signal(signal.SIGHUP)
        assert await client.evaluate(kernel, "6 * 7") == "42"
    assert gateway.stop(signum) == 0
    assert not server.is_running()
    assert gateway.kernel_processes() == []


@not_kept
def test_the_first_process_ends_as_the_server_does(begin: Begin, tmp_path: Path) -> None:
    gateway = begin(env=lacking(tmp_path / "site", FIRST_PROCESS))
    [server] = psutil.Process(gateway.process.pid).children()
    server.kill()
    assert gateway.wait_end() == 128 + signal.SIGKILL
