"""Kernels that nobody uses are culled, and the log says why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fps_kernels.kernel_driver.state import ExecutionState
from fps_kernels.kernels.cull_policy import CullPolicy

from ..conftest import KERNEL, Launch, Server, add_kernelspec, options
from ..support.client import Client
from .test_external import ExternalKernel

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = {"cull_idle_timeout_s": 2, "cull_interval_s": 0.2}  # time enough for a busy machine to connect
SLEEP = "import time; stream('on')\nwhile True: time.sleep(0.05)"


def verdict(policy: CullPolicy, idle_s: float = 100.0, state: str = "idle", connections: int = 0) -> tuple[bool, str]:
    return policy.verdict(NOW, NOW - timedelta(seconds=idle_s), ExecutionState(state), connections)


# --- the policy ----------------------------------------------------------------------------------


def test_by_default_nothing_is_culled() -> None:
    assert verdict(CullPolicy(), idle_s=1e9) == (False, "it has no cull_idle_timeout")


@pytest.mark.parametrize(("idle_s", "cull"), [(9, False), (10, False), (10.1, True)])
def test_a_kernel_is_culled_after_the_timeout(idle_s: float, cull: bool) -> None:
    assert verdict(CullPolicy(10), idle_s)[0] is cull


def test_the_reason_says_for_how_long_the_kernel_was_inactive() -> None:
    assert verdict(CullPolicy(10), 42)[1] == "inactive for 42 s, more than 10"
    assert verdict(CullPolicy(50), 42)[1] == "inactive for 42 s only"


@pytest.mark.parametrize("connected", [False, True])
def test_a_kernel_with_clients_is_culled_only_with_cull_connected(connected: bool) -> None:
    assert verdict(CullPolicy(10, connected=connected), connections=2)[0] is connected
    assert verdict(CullPolicy(10), connections=2)[1] == "it has 2 connections"


@pytest.mark.parametrize("busy", [False, True])
def test_a_busy_kernel_is_culled_only_with_cull_busy(busy: bool) -> None:
    assert verdict(CullPolicy(10, busy=busy), state="busy")[0] is busy
    assert verdict(CullPolicy(10), state="busy")[1] == "it is busy"


def test_cull_busy_is_not_cull_connected() -> None:
    assert not verdict(CullPolicy(10, busy=True), state="busy", connections=1)[0]


@pytest.mark.parametrize("state", ["starting", "restarting", "terminating"])
def test_a_kernel_on_its_way_is_left_alone(state: str) -> None:
    assert verdict(CullPolicy(10, True, True), state=state) == (False, f"it is {state}")


def test_a_dead_kernel_is_culled() -> None:
    assert verdict(CullPolicy(10), state="dead")[0]


def test_the_metadata_of_a_kernelspec_goes_before_the_configuration() -> None:
    metadata = {"cull_idle_timeout": 7, "cull_connected": True, "cull_busy": False}
    assert CullPolicy(10, False, True).for_kernelspec(metadata) == CullPolicy(7, True, False)


def test_metadata_can_switch_culling_off() -> None:
    assert CullPolicy(10).for_kernelspec({"cull_idle_timeout": 0}) == CullPolicy(0)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"cull_idle_timeout": "7"},
        {"cull_idle_timeout": True},
        {"cull_idle_timeout": -1},
        {"cull_idle_timeout": float("nan")},
        {"cull_idle_timeout": None},
        {"cull_connected": 1, "cull_busy": "yes"},
    ],
    ids=str,
)
def test_metadata_that_makes_no_sense_is_ignored(metadata: dict[str, Any]) -> None:
    assert CullPolicy(10).for_kernelspec(metadata) == CullPolicy(10)


# --- over a server -------------------------------------------------------------------------------


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
