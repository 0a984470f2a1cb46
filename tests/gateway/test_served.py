"""`fps-kernels keeper run --serve`, as the first process of a container: the server comes again, its kernels go on."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from fps_kernels import __version__

from ..support.activation import activated, listening_socket
from ..support.client import Client
from ..support.gateways import COMMAND, Gateway, environment
from ..support.keepers import is_running
from ..support.kept_gateways import KeptGateways
from ..support.knocks import knocking
from ..support.messages import text_of
from ..support.nursery import begin_alone
from ..support.ports import free_port
from ..support.waits import until

LAB = ("lab", "--no-browser", "--no-token", "--set=kernels.prewarm=0")


def words(kept_gateways: KeptGateways, *options: str) -> tuple[str, ...]:
    """The arguments of a keeper that serves."""
    return ("keeper", "run", "--state-dir", str(kept_gateways.state), "--serve", "--", *options)


def server_of(keeper: Gateway) -> psutil.Process:
    """The server's process."""
    children = filter(is_running, psutil.Process(keeper.process.pid).children())
    [server] = [one for one in children if "kernel-" not in str(one.cmdline())]
    return server


async def until_served(keeper: Gateway, times: int) -> None:
    """Until a server has said so many times that it serves."""
    await until(lambda: keeper.log.count("Serving at") == times)


@pytest.mark.parametrize("options", [(), LAB], ids=["gateway", "lab"])
async def test_kernels_go_on_when_the_server_is_started_anew(
    kept_gateways: KeptGateways, options: tuple[str, ...]
) -> None:
    port = free_port()
    keeper = kept_gateways.start(*words(kept_gateways, *options, f"--port={port}"))
    async with Client(keeper.url) as client:
        kernel_id = await client.start()
        assert await client.evaluate(kernel_id, "globals().setdefault('x', 41)") == "41"
        process = keeper.process_of(kernel_id)
    assert process.ppid() == keeper.process.pid == kept_gateways.keeper().pid
    servers = [server_of(keeper)]
    keeper.process.send_signal(signal.SIGHUP)
    await until_served(keeper, 2)
    servers.append(server_of(keeper))
    servers[1].kill()
    await until_served(keeper, 3)
    servers.append(server_of(keeper))
    async with Client(keeper.url) as client:
        assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
    assert len({server.pid for server in servers}) == 3
    assert await asyncio.to_thread(keeper.stop) == 0
    assert not any(map(is_running, [process, *servers]))


async def test_the_keeper_is_replaced_below_its_server_and_a_client(kept_gateways: KeptGateways) -> None:
    keeper = kept_gateways.start(*words(kept_gateways))
    server = server_of(keeper)
    async with Client(keeper.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as connection:
            assert text_of(await connection.run("x = 41; stream(str(x))")) == "41"
            said = await asyncio.to_thread(kept_gateways.command, "keeper", "restart")
            assert f"pid {keeper.process.pid}, is of {__version__} now, with 1 kernel\n" in said
            assert text_of(await connection.run("stream(str(x + 1))")) == "42"
    assert server_of(keeper) == server
    assert "is missing" not in keeper.log
    server.kill()
    await until_served(keeper, 2)
    async with Client(keeper.url) as client:
        assert await client.evaluate(kernel_id, "x") == "41"
    assert await asyncio.to_thread(keeper.stop) == 0


async def test_no_connection_is_refused_where_the_keeper_was_given_the_socket(kept_gateways: KeptGateways) -> None:
    with (
        listening_socket(("127.0.0.1", 0)) as sock,
        activated(kept_gateways.base, [sock], *words(kept_gateways)) as keeper,
    ):
        async with knocking(f"{keeper.url}/api") as refused:
            keeper.process.send_signal(signal.SIGHUP)
            await until_served(keeper, 2)
        assert await asyncio.to_thread(keeper.stop) == 0
    assert refused == []


async def test_what_a_signal_does_not_end_is_ended(kept_gateways: KeptGateways) -> None:
    keeper = kept_gateways.start(*words(kept_gateways))
    async with Client(keeper.url) as client:
        process = keeper.process_of(await client.start("tiny_ignores_sigterm"))
    server = server_of(keeper)
    server.suspend()
    assert await asyncio.to_thread(keeper.stop, signal.SIGINT) == 0
    assert not is_running(server)
    assert not is_running(process)


async def test_it_ends_with_a_server_that_was_ended(kept_gateways: KeptGateways) -> None:
    keeper = kept_gateways.start(*words(kept_gateways))
    async with Client(keeper.url) as client:
        process = keeper.process_of(await client.start())
    server_of(keeper).terminate()
    assert await asyncio.to_thread(keeper.wait_end) == 0
    assert not is_running(process)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--port=none"], 1, "port"),
        (["--KernelGatewayApp.max_kernels=-1"], 1, "fps-kernels: max_kernels=-1"),
        (["lab", "--no-such-option"], 2, "unrecognized arguments: --no-such-option"),
        (["kernels"], 1, "--serve: kernels is no server"),
    ],
)
def test_a_server_that_cannot_start_ends_it(
    kept_gateways: KeptGateways, options: list[str], code: int, message: str
) -> None:
    keeper = kept_gateways.start(*words(kept_gateways, *options), ready=False)
    assert keeper.wait_end() == code
    assert message in keeper.log


def test_a_second_one_in_the_same_folder_says_why_it_does_not_start(kept_gateways: KeptGateways) -> None:
    kept_gateways.start(*words(kept_gateways))
    second = kept_gateways.start(*words(kept_gateways), ready=False)
    assert second.wait_end() == 3
    assert "there is a keeper already" in second.log


def can_unshare() -> bool:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(command, check=False, capture_output=True).returncode
    )


@pytest.mark.skipif(not can_unshare(), reason="no namespaces can be made here")
async def test_as_process_1_it_reaps_orphans_and_tells_how_kernels_end(
    kept_gateways: KeptGateways, tmp_path: Path
) -> None:
    port = free_port()
    log = tmp_path / "container.log"
    inside = [COMMAND, *words(kept_gateways, "--JupyterWebsocketPersonality.list_kernels=True")]
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *inside]
    container = begin_alone(command, env=environment(tmp_path, KG_PORT=str(port)), cwd=tmp_path, log=log)
    try:
        [init] = await until(lambda: psutil.Process(container.pid).children())
        await until(lambda: b"Serving at" in log.read_bytes())
        async with Client(f"http://127.0.0.1:{port}") as client:
            kernel_id = await client.start()
            run = "__import__('subprocess').check_output"
            orphan = await client.evaluate(kernel_id, f"int({run}(['sh', '-c', 'sleep 0.1 >/dev/null & echo $!']))")
            path = f"'/proc/{orphan}'"  # is there as long as nobody has waited for it

            async def is_gone() -> bool:
                return await client.evaluate(kernel_id, f"os.path.exists({path})") == "False"

            await until(is_gone)
            async with await client.connect(kernel_id) as connection:
                await connection.execute("os.kill(os.getpid(), 11)")
            found = await client.until_kernel(kernel_id, lambda kernel: "SIGSEGV" in (kernel.get("reason") or ""))
            assert found["id"] == kernel_id
        init.terminate()
        assert await asyncio.to_thread(container.wait, 60) == 0
    finally:
        container.kill()
        container.wait()
