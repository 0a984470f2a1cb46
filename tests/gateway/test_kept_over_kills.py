"""Kernels, sessions and cells that go on although their gateway is killed, and the next one that takes them over."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from ..support.client import Client, Socket
from ..support.gateways import option
from ..support.keepers import is_running
from ..support.kept_gateways import KeptGateways
from ..support.kept_servers import is_idle, make
from ..support.messages import text_of
from ..support.waits import until


async def test_kernels_and_sessions_go_on(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin()
    async with Client(first.url) as client:
        session = await client.start_session("work/a.ipynb")
        kernel_id = session["kernel"]["id"]
        assert await client.evaluate(kernel_id, "globals().setdefault('x', 41)") == "41"
    process = first.process_of(kernel_id)
    kept_gateways.kill(first)
    second = kept_gateways.begin()
    async with Client(second.url) as client:
        [again] = (await client.http.get("/api/sessions")).json()
        assert (again["id"], again["path"], again["kernel"]["id"]) == (session["id"], "work/a.ipynb", kernel_id)
        assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
        assert second.process_of(kernel_id) == process
        (await client.http.delete(f"/api/kernels/{kernel_id}")).raise_for_status()
    assert not is_running(process)
    assert "0 kernels" in kept_gateways.command("keeper", "status")
    assert kept_gateways.command("kernels") == "No kernels are kept\n"
    assert not second.connection_files()


async def test_an_ipython_kernel_goes_on(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin()
    kernel_id, process = await make(first, "python3")
    assert "Ctrl-C will not work" not in first.log  # what the kernel tells whoever starts it on a terminal
    assert "--existing" not in first.log
    kept_gateways.kill(first)
    second = kept_gateways.begin()
    async with Client(second.url) as client, await client.connect(kernel_id) as socket:
        assert text_of(await socket.run("import os; print(os.getpid(), x)")).split() == [str(process.pid), "41"]


async def test_a_busy_cell_stays_busy_and_its_end_is_seen(kept_gateways: KeptGateways, tmp_path: Path) -> None:
    first = kept_gateways.begin()
    kernel_id, _ = await make(first)
    until_there = (
        f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.02)\nstream('end')"
    )
    async with Client(first.url) as client, await client.connect(kernel_id, session="s") as socket:
        await socket.execute(until_there)
        await socket.until_status("busy")
        kept_gateways.kill(first)
    second = kept_gateways.begin()
    async with Client(second.url) as client, await client.connect(kernel_id, session="s") as socket:
        await client.until_kernel(kernel_id, lambda kernel: kernel["execution_state"] == "busy")
        (tmp_path / "go").touch()
        said = await socket.until(lambda one: one["msg_type"] == "stream")
        assert text_of(said) == "end"
        await client.until_kernel(kernel_id, is_idle)


async def test_a_kernel_can_be_interrupted_and_restarted_by_the_next(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin()
    kernel_id, process = await make(first)
    async with Client(first.url) as client, await client.connect(kernel_id) as socket:
        await socket.execute("import time\nwhile True: time.sleep(0.02)")
        await socket.until_status("busy")
    kept_gateways.kill(first)
    second = kept_gateways.begin()
    async with Client(second.url) as client:
        (await client.http.post(f"/api/kernels/{kernel_id}/interrupt")).raise_for_status()
        assert await client.evaluate(kernel_id, "x") == "41"
        (await client.http.post(f"/api/kernels/{kernel_id}/restart")).raise_for_status()
        assert await client.evaluate(kernel_id, "'x' in globals()") == "False"
        assert second.process_of(kernel_id) != process
        assert not is_running(process)


async def test_a_kernel_that_died_meanwhile_is_explained_and_restarted(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin()
    kernel_id, process = await make(first)
    kept_gateways.kill(first)
    process.send_signal(signal.SIGSEGV)
    await until(lambda: not is_running(process))
    second = kept_gateways.begin()
    async with Client(second.url) as client:
        await client.until_kernel(kernel_id, is_idle)
        assert await client.evaluate(kernel_id, "'x' in globals()") == "False"
    assert f"kernel {kernel_id} (tiny_plain): The kernel died while no server was running" in second.log
    assert "SIGSEGV" in second.log


async def test_twenty_kills_in_a_row(kept_gateways: KeptGateways) -> None:
    gateway = kept_gateways.begin()
    kernel_id, process = await make(gateway)
    for number in range(20):
        kept_gateways.kill(gateway)
        gateway = kept_gateways.begin()
        async with Client(gateway.url) as client, await client.connect(kernel_id) as socket:
            assert text_of(await socket.run("x += 1; stream(str(x))")) == str(42 + number)
    assert gateway.process_of(kernel_id) == process
    assert kept_gateways.command("keeper", "status").count("requests run") == 1


async def test_of_two_that_start_at_once_one_has_the_kernel(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin()
    kernel_id, process = await make(first)
    kept_gateways.kill(first)
    both = [kept_gateways.begin(ready=False) for _ in range(2)]
    having = []
    for gateway in both:
        gateway.wait_ready()
        async with Client(gateway.url) as client:
            if [kernel["id"] for kernel in await client.kernels()] == [kernel_id]:
                having.append(gateway)
    [owner] = having
    async with Client(owner.url) as client:
        assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
    [other] = {*both} - {owner}
    assert other.stop() == 0
    async with Client(owner.url) as client:
        assert await client.evaluate(kernel_id, "x") == "41"


async def test_kernels_of_the_pool_are_ended_by_the_next(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin("--KernelGatewayApp.prewarm={'python3': 1}")
    await asyncio.to_thread(first.wait_log, "a prewarmed python3 kernel is ready")
    [pooled] = first.kernel_processes()
    kept_gateways.kill(first)
    assert is_running(pooled)
    second = kept_gateways.begin()
    assert not is_running(pooled)
    async with Client(second.url) as client:
        assert await client.kernels() == []


async def test_a_kernel_from_the_pool_goes_on(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin("--KernelGatewayApp.prewarm={'python3': 1}")
    await asyncio.to_thread(first.wait_log, "a prewarmed python3 kernel is ready")
    [process] = first.kernel_processes()
    async with Client(first.url) as client:
        kernel_id = await client.start("python3")
        async with await client.connect(kernel_id) as socket:
            await socket.run("x = 41")
    assert "using a prewarmed kernel" in first.log
    kept_gateways.kill(first)
    second = kept_gateways.begin()
    async with Client(second.url) as client, await client.connect(kernel_id) as socket:
        assert text_of(await socket.run("import os; print(os.getpid(), x)")).split() == [str(process.pid), "41"]


@pytest.mark.parametrize("dies", [False, True])
async def test_the_next_process_may_come_from_the_pool(kept_gateways: KeptGateways, dies: bool) -> None:
    """Of a kernel that is restarted, or has died: the keeper has its earlier process, and what it said."""
    gateway = kept_gateways.begin("--KernelGatewayApp.prewarm={'python3': 1}")

    async def pool_ready(times: int) -> None:
        await until(lambda: gateway.log.count("a prewarmed python3 kernel is ready") == times)

    async def process_of(socket: Socket) -> psutil.Process:
        return psutil.Process(int(text_of(await socket.run("import os; print(os.getpid())"))))

    await pool_ready(1)
    async with Client(gateway.url) as client:
        kernel_id = await client.start("python3")
        for count in (2, 3):
            await pool_ready(count)
            async with await client.connect(kernel_id) as socket:
                process = await process_of(socket)
                await socket.run("x = 40")
                if dies:
                    process.kill()
                    await socket.until_status("restarting")
                else:
                    (await client.http.post(f"/api/kernels/{kernel_id}/restart")).raise_for_status()
                assert text_of(await socket.run("print('x' in globals())")) == "False\n"
                assert await process_of(socket) != process
            assert gateway.log.count(f"kernel {kernel_id}: using a prewarmed kernel") == count
        async with await client.connect(kernel_id) as socket:
            await socket.run("x = 41")
            process = await process_of(socket)
    kept_gateways.note_processes()
    await asyncio.to_thread(kept_gateways.command, "keeper", "restart")
    async with Client(gateway.url) as client, await client.connect(kernel_id) as socket:
        assert text_of(await socket.run("print(x)")) == "41\n"
    kept_gateways.kill(gateway)
    gateway = kept_gateways.begin()
    async with Client(gateway.url) as client, await client.connect(kernel_id) as socket:
        assert text_of(await socket.run("print(x)")) == "41\n"
        assert await process_of(socket) == process
        process.kill()
        await socket.until_status("restarting")
        assert text_of(await socket.run("print('x' in globals())")) == "False\n"


@pytest.mark.parametrize("ends", ["keeper killed", "keeper and gateway killed"])
async def test_a_kernel_outlives_its_keeper(kept_gateways: KeptGateways, ends: str) -> None:
    gateway = kept_gateways.begin()
    kernel_id, process = await make(gateway)
    keeper = kept_gateways.keeper()
    if ends == "keeper and gateway killed":
        kept_gateways.kill(gateway)
        keeper.kill()
        gateway = kept_gateways.begin()
    else:
        keeper.kill()
        await asyncio.to_thread(gateway.wait_log, "the keeper is connected again")
    kept_gateways.note_processes()
    async with Client(gateway.url) as client:
        assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
        (await client.http.delete(f"/api/kernels/{kernel_id}")).raise_for_status()
    assert not is_running(process)


async def test_kernels_that_nobody_has_asked_for_end_with_their_server(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin("--KernelGatewayApp.prespawn_count=1", option("default_kernel_name", "tiny_plain"))
    async with Client(first.url) as client:
        [kernel] = await client.kernels()
    process = first.process_of(kernel["id"])
    assert process.ppid() == first.process.pid
    kept_gateways.kill(first)
    await until(lambda: not is_running(process))
    second = kept_gateways.begin()
    async with Client(second.url) as client:
        assert await client.kernels() == []


async def test_without_a_runtime_folder_connection_files_are_in_the_state_folder(kept_gateways: KeptGateways) -> None:
    (kept_gateways.base / "runtime").write_text("no folder")
    first = kept_gateways.begin()
    assert f"connection files are in {kept_gateways.state / 'runtime'}" in first.log
    async with Client(first.url) as client:
        kernel_id = await client.start()
        pid = await client.evaluate(kernel_id, "os.getpid()")
    kept_gateways.kill(first)
    second = kept_gateways.begin()
    async with Client(second.url) as client:
        assert await client.evaluate(kernel_id, "os.getpid()") == pid
