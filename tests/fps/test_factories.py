"""Kernels that are made by factories of other modules: they are served like all others."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from ..support.client import Client, tidy_client
from ..support.kernelspecs import KERNEL, add_kernelspec
from ..support.messages import is_status, text_of
from ..support.plugin_folders import plugin_environment
from ..support.servers import Server, options

ENTRY_POINTS = """
[fps.modules]
kernel_factories = kernel_factories:KernelFactoriesModule
[jupyverse.modules]
kernel_factories = kernel_factories:KernelFactoriesModule
"""
NAMES = ("streamed", "raising", "silent", "deaf", "failing")

both = pytest.mark.parametrize("v1", [True, False], ids=["v1", "json"])


@pytest.fixture(scope="module")
def server(today: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("factories")
    arguments = options(shutdown_wait_time_s=1, restart_limit=0)
    server = Server(base, *arguments, env=plugin_environment(base, "kernel_factories", ENTRY_POINTS))
    for name in NAMES:
        spec = {"argv": [sys.executable, str(KERNEL), "plain", "{connection_file}"], "display_name": name}
        add_kernelspec(server.share, name, spec | {"language": "python"})
    server.wait_ready()
    yield server
    server.stop()
    assert [process for process in server.kernel_processes() if process.is_running()] == []


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with tidy_client(server) as client:
        yield client


@both
async def test_a_cell_runs(client: Client, v1: bool) -> None:
    kernel_id = await client.start("streamed")
    assert (await client.kernel(kernel_id))["name"] == "streamed"
    async with await client.connect(kernel_id, v1=v1) as socket:
        assert text_of(await socket.run("stream('from a factory')")) == "from a factory"
    await client.until(lambda kernels: [one["execution_state"] for one in kernels] == ["idle"])


@both
async def test_what_was_missed_comes_on_reconnect(client: Client, server: Server, v1: bool, tmp_path: Path) -> None:
    kernel_id = await client.start("streamed")
    session, gate = uuid.uuid4().hex, tmp_path / "gate"
    async with await client.connect(kernel_id, v1=v1, session=session) as socket:
        await socket.execute(
            f"import os, time\nstream('first')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
            "for number in range(20): stream(f'line {number}')"
        )
        await socket.until(lambda m: m["msg_type"] == "stream")
    gate.touch()
    await client.until(lambda kernels: [one["execution_state"] for one in kernels] == ["idle"])
    async with await client.connect(kernel_id, v1=v1, session=session) as socket:
        await socket.until(lambda m: is_status(m, "idle"))
        text = "".join(m["content"]["text"] for m in socket.received if m["msg_type"] == "stream")
    assert text == "".join(f"line {number}" for number in range(20))


async def test_a_restart_makes_another_one_under_the_same_id(client: Client) -> None:
    kernel_id = await client.start("streamed")
    async with await client.connect(kernel_id) as socket:
        first = text_of(await socket.run("import os; stream(str(os.getpid()))"))
        answer = await client.http.post(f"/api/kernels/{kernel_id}/restart")
        assert (answer.status_code, answer.json()["id"]) == (200, kernel_id)
        assert text_of(await socket.run("import os; stream(str(os.getpid()))")) not in ("", first)


async def test_an_interrupt_ends_a_cell(client: Client) -> None:
    kernel_id = await client.start("streamed")
    async with await client.connect(kernel_id) as socket:
        await socket.execute("import time; stream('on')\nwhile True: time.sleep(0.05)")
        await socket.until(lambda m: m["msg_type"] == "stream")
        assert (await client.http.post(f"/api/kernels/{kernel_id}/interrupt")).status_code == 204
        await socket.until(lambda m: is_status(m, "idle"))


async def test_a_deleted_kernel_is_gone(client: Client) -> None:
    kernel_id = await client.start("streamed")
    async with await client.connect(kernel_id) as socket:
        process = psutil.Process(int(text_of(await socket.run("import os; stream(str(os.getpid()))"))))
        assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
    assert not process.is_running()
    assert await client.kernels() == []


async def test_a_session_starts_one(client: Client) -> None:
    body = {"path": "a.ipynb", "type": "notebook", "name": "", "kernel": {"name": "streamed"}}
    answer = await client.http.post("/api/sessions", json=body)
    assert (answer.status_code, answer.json()["kernel"]["name"]) == (201, "streamed")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "raising",
            "Kernel raising could not be started: its factory failed: RuntimeError: no worker for kernel.json",
        ),
        ("failing", "Kernel failing died at start: failed: RuntimeError: the worker is gone"),
    ],
)
async def test_a_factory_that_fails_is_told_with_its_reason(client: Client, name: str, message: str) -> None:
    answer = await client.http.post("/api/kernels", json={"name": name})
    assert (answer.status_code, answer.json()["message"]) == (500, message)
    assert await client.kernels() == []


@pytest.mark.parametrize("name", ["silent", "deaf"])
async def test_one_that_never_answers_is_listed_as_starting_and_can_be_deleted(client: Client, name: str) -> None:
    kernel_id = str(uuid.uuid4())
    request = asyncio.create_task(client.http.post("/api/kernels", json={"name": name, "kernel_id": kernel_id}))
    await client.until(lambda kernels: kernel_id in [one["id"] for one in kernels])
    assert (await client.kernel(kernel_id))["execution_state"] == "starting"
    assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
    assert (await request).status_code >= 400
    assert await client.kernels() == []
