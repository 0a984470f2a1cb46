"""A kernel whose process does not turn any more is shown as unresponsive, and left alone."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ..support.client import Client, tidy_client
from ..support.documents import Gate
from ..support.keepers import is_running
from ..support.messages import text_of
from ..support.servers import Launch, Server, options

Stop = Callable[[str], psutil.Process]
UNRESPONSIVE = "The kernel has not answered its heartbeat for 0.3 s"

curve_too = pytest.mark.parametrize("name", ["tiny_plain", "tiny_curve"])


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that soon notices."""
    server = Server(tmp_path_factory.mktemp("heartbeat"), *options(heartbeat_interval_s=0.1, heartbeat_timeout_s=0.3))
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def client(quick: Server) -> AsyncIterator[Client]:
    async with tidy_client(quick) as client:
        yield client


@pytest.fixture
def stop(quick: Server) -> Iterator[Stop]:
    """stop(kernel_id) stops a kernel's process with SIGSTOP; all go on at the end."""
    stopped: list[psutil.Process] = []

    def start(kernel_id: str) -> psutil.Process:
        process = quick.process_of(kernel_id)
        process.send_signal(signal.SIGSTOP)
        stopped.append(process)
        return process

    yield start
    for process in stopped:
        if process.is_running():
            process.send_signal(signal.SIGCONT)


async def until_unresponsive(client: Client, kernel_id: str) -> dict[str, Any]:
    return await client.until_kernel(kernel_id, lambda model: "reason" in model)


@curve_too
async def test_a_silent_kernel_is_shown_with_a_reason(client: Client, stop: Stop, name: str) -> None:
    kernel_id = await client.start(name)
    stop(kernel_id)
    model = await until_unresponsive(client, kernel_id)
    assert model["reason"] == UNRESPONSIVE
    assert model["execution_state"] == "idle"


@curve_too
async def test_the_reason_goes_when_the_kernel_answers_again(client: Client, stop: Stop, name: str) -> None:
    kernel_id = await client.start(name)
    process = stop(kernel_id)
    await until_unresponsive(client, kernel_id)
    process.send_signal(signal.SIGCONT)
    model = await client.until_kernel(kernel_id, lambda model: "reason" not in model)
    assert model["execution_state"] == "idle"


async def test_a_kernel_can_become_unresponsive_again(client: Client, stop: Stop) -> None:
    kernel_id = await client.start()
    for _ in range(2):
        process = stop(kernel_id)
        await until_unresponsive(client, kernel_id)
        process.send_signal(signal.SIGCONT)
        await client.until_kernel(kernel_id, lambda model: "reason" not in model)


async def test_a_silent_kernel_is_not_killed_and_answers_what_it_was_asked_meanwhile(
    client: Client, stop: Stop
) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        process = stop(kernel_id)
        await until_unresponsive(client, kernel_id)
        msg_id = await socket.execute("stream('here I am')")
        process.send_signal(signal.SIGCONT)
        assert text_of(await socket.answers(msg_id)) == "here I am"
    assert process.is_running()


async def test_the_log_says_when_a_kernel_is_silent_and_when_it_is_back(
    client: Client, quick: Server, stop: Stop
) -> None:
    kernel_id = await client.start()
    process = stop(kernel_id)
    await until_unresponsive(client, kernel_id)
    process.send_signal(signal.SIGCONT)
    await client.until_kernel(kernel_id, lambda model: "reason" not in model)
    log = quick.log.read_text()
    assert f"kernel {kernel_id}: {UNRESPONSIVE}" in log
    assert f"kernel {kernel_id} answers its heartbeat again" in log


async def test_a_busy_kernel_answers_its_heartbeat(launch: Launch, tmp_path: Path) -> None:
    """Longer than the timeout: what is to be seen here is that time passes and nothing happens."""
    timeout_s = 2.0  # a busy machine may hold a kernel up for a while
    server = launch(*options(heartbeat_interval_s=0.1, heartbeat_timeout_s=timeout_s))
    gate = Gate(tmp_path)
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            msg_id = await socket.execute(gate.code)
            await socket.until_status("busy")
            models = []
            begin = time.monotonic()
            while time.monotonic() - begin < 1.2 * timeout_s:
                models.append(await client.kernel(kernel_id))
            gate.open()
            await socket.answers(msg_id)
    assert {model["execution_state"] for model in models} == {"busy"}
    assert not any("reason" in model for model in models)


async def test_a_restart_replaces_a_silent_kernel(client: Client, stop: Stop) -> None:
    kernel_id = await client.start()
    stop(kernel_id)
    await until_unresponsive(client, kernel_id)
    response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
    assert response.status_code == 200
    assert "reason" not in response.json()
    assert await client.evaluate(kernel_id, "6 * 7") == "42"


async def test_a_silent_kernel_can_be_deleted(client: Client, stop: Stop) -> None:
    kernel_id = await client.start()
    process = stop(kernel_id)
    await until_unresponsive(client, kernel_id)
    assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
    assert not is_running(process)


async def test_an_interval_of_zero_is_no_heartbeat(launch: Launch) -> None:
    server = launch(*options(heartbeat_interval_s=0, heartbeat_timeout_s=0.1))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        process = server.process_of(kernel_id)
        process.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        while time.monotonic() - begin < 0.5:
            assert "reason" not in await client.kernel(kernel_id)
        process.send_signal(signal.SIGCONT)
