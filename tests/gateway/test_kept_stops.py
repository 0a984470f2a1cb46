"""How gateways that keep kernels are stopped, and what is left then; and keepers that do not answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess

import pytest

from ..support.client import Client
from ..support.gateways import COMMAND, environment, option
from ..support.keepers import is_running
from ..support.kept_gateways import KeptGateways
from ..support.waits import until


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_one_that_keeps_over_crashes_ends_its_kernels(kept_gateways: KeptGateways, signum: int) -> None:
    gateway = kept_gateways.begin(keep="crash")
    async with Client(gateway.url) as client:
        session = await client.start_session()
    process = gateway.process_of(session["kernel"]["id"])
    assert gateway.stop(signum) == 0
    assert not is_running(process)
    assert not gateway.connection_files()
    assert "0 kernels" in kept_gateways.command("keeper", "status")
    assert kept_gateways.command("kernels") == "No kernels are kept\n"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_one_that_keeps_always_leaves_its_kernels(kept_gateways: KeptGateways, signum: int) -> None:
    prewarm = "--KernelGatewayApp.prewarm={'python3': 1}"
    first = kept_gateways.begin(prewarm, keep="always")
    await asyncio.to_thread(first.wait_log, "a prewarmed python3 kernel is ready")
    [pooled] = first.kernel_processes()
    async with Client(first.url) as client:
        session = await client.start_session("work/a.ipynb")
        kernel_id = session["kernel"]["id"]
        assert await client.evaluate(kernel_id, "globals().setdefault('x', 41)") == "41"
    process = first.process_of(kernel_id)
    assert first.stop(signum) == 0
    assert is_running(process)
    assert not is_running(pooled)
    second = kept_gateways.begin(keep="always")
    async with Client(second.url) as client:
        [again] = (await client.http.get("/api/sessions")).json()
        assert (again["id"], again["path"], again["kernel"]["id"]) == (session["id"], "work/a.ipynb", kernel_id)
        assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
        (await client.http.delete(f"/api/kernels/{kernel_id}")).raise_for_status()
    assert not is_running(process)


async def test_an_interpreter_that_ends_leaves_connection_files(kept_gateways: KeptGateways) -> None:
    alone = str(kept_gateways.base)  # with a PYTHONPATH of its own a gateway is no fork, and its objects are deleted
    first = kept_gateways.begin(keep="always", PYTHONPATH=alone)
    async with Client(first.url) as client:
        kernel_id = await client.start()
    files = first.connection_files()
    for _ in range(2):
        assert await asyncio.to_thread(first.stop) == 0
        assert first.connection_files() == files
        first = kept_gateways.begin(keep="always", PYTHONPATH=alone)
    async with Client(first.url) as client:
        assert await client.evaluate(kernel_id, "6 * 7") == "42"
        (await client.http.delete(f"/api/kernels/{kernel_id}")).raise_for_status()
    assert first.connection_files() == []


async def test_a_cell_runs_on_while_there_is_no_server(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin(keep="always")
    file = kept_gateways.base / "written"
    async with Client(first.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            await socket.execute(f"import time\nwhile True:\n    open({str(file)!r}, 'a').write('x'); time.sleep(0.02)")
            await socket.until_status("busy")
    assert first.stop() == 0
    size = file.stat().st_size
    await until(lambda: file.stat().st_size > size + 5)
    second = kept_gateways.begin(keep="always")
    async with Client(second.url) as client:
        await client.until_kernel(kernel_id, lambda kernel: kernel["execution_state"] == "busy")
        (await client.http.post(f"/api/kernels/{kernel_id}/interrupt")).raise_for_status()
        await client.until_kernel(kernel_id, lambda kernel: kernel["execution_state"] == "idle")


async def test_kernels_are_shown_and_ended_without_a_server(kept_gateways: KeptGateways) -> None:
    gateway = kept_gateways.begin(keep="always")
    async with Client(gateway.url) as client:
        ids = [(await client.start_session(name))["kernel"]["id"] for name in ("a.ipynb", "b.ipynb")]
        for kernel_id in ids:
            await client.until_kernel(kernel_id, lambda kernel: kernel["execution_state"] == "idle")
    processes = [gateway.process_of(kernel_id) for kernel_id in ids]
    assert gateway.stop() == 0
    lines = kept_gateways.command("kernels").splitlines()[1:]
    for line, kernel_id, process, name in zip(lines, ids, processes, ("a.ipynb", "b.ipynb"), strict=True):
        for word in (kernel_id, "tiny_plain", str(process.pid), name, " none"):
            assert word in line
    status = kept_gateways.command("keeper", "status")
    assert "2 kernels" in status
    assert all(f"{kernel_id}  tiny_plain  pid" in status for kernel_id in ids)
    assert kept_gateways.command("stop", ids[0]) == f"{ids[0]} has ended\n"
    assert [is_running(process) for process in processes] == [False, True]
    assert "1 kernel\n" in kept_gateways.command("keeper", "status")
    assert "has ended, with 1 kernel" in kept_gateways.command("keeper", "stop")
    await until(lambda: not is_running(processes[1]))
    second = kept_gateways.begin(keep="always")
    async with Client(second.url) as client:
        [found] = await client.kernels()
        assert (found["id"], found["execution_state"]) == (ids[1], "dead")
        assert found["reason"] == "The kernel died while no server was running"


async def test_kernels_without_a_server_are_ended_after_a_time(kept_gateways: KeptGateways) -> None:
    gateway = kept_gateways.begin(option("orphan_timeout_s", 0.5))
    async with Client(gateway.url) as client:
        process = gateway.process_of(await client.start())
    keeper = kept_gateways.keeper()
    kept_gateways.kill(gateway)
    await until(lambda: not is_running(process) and not is_running(keeper))


async def test_a_keeper_that_hangs_hurts_nothing_that_goes_on(kept_gateways: KeptGateways) -> None:
    gateway = kept_gateways.begin()
    async with Client(gateway.url) as client:
        kernel_id = await client.start()
        process = gateway.process_of(kernel_id)
        keeper = kept_gateways.keeper()
        keeper.suspend()
        await asyncio.to_thread(gateway.wait_log, "the process that keeps kernels does not answer")
        assert [kernel["id"] for kernel in await client.kernels()] == [kernel_id]
        response = await client.http.get("/readyz")
        assert response.status_code == 503
        assert response.json()["message"] == "The process that keeps kernels does not answer"
        keeper.resume()
        await until(lambda: is_ready(client))
        assert await client.evaluate(kernel_id, "os.getpid()") == str(process.pid)


async def is_ready(client: Client) -> bool:
    return (await client.http.get("/readyz")).status_code == 200


def refused(kept_gateways: KeptGateways) -> str:
    """The one line with which a gateway does not start."""
    options = (option("keep_kernels", "crash"), option("state_dir", kept_gateways.state))
    done = subprocess.run(
        [COMMAND, "--port=0", *options],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(kept_gateways.base),
        cwd=kept_gateways.base,
    )
    assert done.returncode == 1, done.stderr
    [line] = done.stderr.splitlines()
    return line


async def test_without_a_keeper_that_answers_no_gateway_starts(kept_gateways: KeptGateways) -> None:
    gateway = kept_gateways.begin()
    gateway.stop()
    keeper = kept_gateways.keeper()
    keeper.suspend()
    assert refused(kept_gateways) == "fps-kernels: The process that keeps kernels does not answer"
    keeper.resume()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder somebody else's")
def test_a_state_folder_of_somebody_else_is_refused(kept_gateways: KeptGateways) -> None:
    kept_gateways.state.mkdir(mode=0o700)
    os.chown(kept_gateways.state, 12345, 12345)
    assert "it belongs to another user (12345)" in refused(kept_gateways)


async def test_kernels_that_a_second_signal_has_left_are_ended_by_the_next(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin("--KernelManager.shutdown_wait_time=60", keep="crash")
    async with Client(first.url) as client:
        process = first.process_of(await client.start("tiny_ignores_sigterm"))
    first.process.send_signal(signal.SIGTERM)
    with contextlib.closing(sqlite3.connect(kept_gateways.state / "store.sqlite")) as store:
        await until(lambda: store.execute("SELECT phase FROM kernel").fetchall() == [("ending",)])
    assert first.stop(signal.SIGTERM) == 128 + signal.SIGTERM
    assert is_running(process)
    second = kept_gateways.begin()
    assert not is_running(process)
    async with Client(second.url) as client:
        assert await client.kernels() == []
