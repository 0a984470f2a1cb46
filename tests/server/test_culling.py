"""Kernels that nobody uses are culled, and the log says why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.client import Client
from ..support.externals import ExternalKernel
from ..support.kernelspecs import KERNEL, add_kernelspec
from ..support.servers import Launch, Server, options

SOON = {"cull_idle_timeout_s": 2, "cull_interval_s": 0.2}  # time enough for a busy machine to connect
SLEEP = "import time; stream('on')\nwhile True: time.sleep(0.05)"


def culled_in_log(server: Server, kernel_id: str) -> bool:
    return f"kernel {kernel_id}" in server.log.read_text() and any(
        kernel_id in line and " is culled: inactive for " in line for line in server.log.read_text().splitlines()
    )


async def until_only(client: Client, *kernel_ids: str) -> None:
    """Wait until all other kernels are gone."""
    await client.until(lambda kernels: {model["id"] for model in kernels} == set(kernel_ids))


async def start_busy(client: Client) -> str:
    """A kernel that is busy, without anybody connected."""
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        await socket.execute(SLEEP)
        await socket.until(lambda message: message["msg_type"] == "stream")
    await client.until_kernel(kernel_id, lambda model: model["connections"] == 0)
    return kernel_id


async def test_an_idle_kernel_is_culled_and_the_log_says_why(launch: Launch) -> None:
    server = launch(*options(**SOON))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        await until_only(client)
    assert culled_in_log(server, kernel_id)
    assert server.kernel_processes() == []
    assert server.connection_files() == []


async def test_kernels_that_are_connected_or_busy_are_not_culled(launch: Launch) -> None:
    """An idle one, started later, is: so their turn has come and gone."""
    server = launch(*options(**SOON))
    async with Client(server.url) as client:
        connected = await client.start()
        async with await client.connect(connected):
            busy = await start_busy(client)
            await client.start()
            await until_only(client, connected, busy)


async def test_a_connected_kernel_is_culled_with_cull_connected(launch: Launch) -> None:
    server = launch(*options(**SOON, cull_connected=True))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            code, _ = await socket.closed()
    assert code == 1000
    assert culled_in_log(server, kernel_id)


async def test_a_busy_kernel_is_culled_with_cull_busy(launch: Launch) -> None:
    server = launch(*options(**SOON, cull_busy=True))
    async with Client(server.url) as client:
        kernel_id = await start_busy(client)
        await until_only(client)
    assert culled_in_log(server, kernel_id)


async def test_a_kernel_whose_session_ends_with_it_leaves_no_session(launch: Launch) -> None:
    server = launch(*options(**SOON))
    async with Client(server.url) as client:
        await client.start_session()
        await until_only(client)
        assert (await client.http.get("/api/sessions")).json() == []


def add_culled_kernelspec(server: Server, name: str, timeout_s: float) -> None:
    add_kernelspec(
        server.share,
        name,
        {
            "argv": [sys.executable, str(KERNEL), "plain", "{connection_file}"],
            "display_name": name,
            "language": "python",
            "metadata": {"cull_idle_timeout": timeout_s},
        },
    )


async def test_a_kernelspec_has_a_timeout_of_its_own(launch: Launch) -> None:
    server = launch(*options(cull_interval_s=0.2))
    add_culled_kernelspec(server, "brief", 1)
    async with Client(server.url) as client:
        kept = await client.start()
        await client.start("brief")
        await until_only(client, kept)


async def test_a_kernelspec_can_be_exempt(launch: Launch) -> None:
    server = launch(*options(**SOON))
    add_culled_kernelspec(server, "kept", 0)
    async with Client(server.url) as client:
        kept = await client.start("kept")
        await client.start()
        await until_only(client, kept)


@pytest.fixture
def external(tmp_path: Path) -> Iterator[ExternalKernel]:
    kernel = ExternalKernel(tmp_path)
    yield kernel
    kernel.stop()


async def test_external_kernels_are_never_culled(launch: Launch, external: ExternalKernel, tmp_path: Path) -> None:
    folder = tmp_path / "external"
    folder.mkdir()
    external.show(folder)
    server = launch(*options(**SOON, allow_external_kernels=True, external_connection_dir=str(folder)))
    async with Client(server.url) as client:
        [model] = await client.until(lambda kernels: [model["execution_state"] for model in kernels] == ["idle"])
        await client.start()
        await until_only(client, model["id"])
        assert external.process.poll() is None
