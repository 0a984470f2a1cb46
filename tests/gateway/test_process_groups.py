"""The children of a kernel, which are in its process group: they end when the kernel is gone, however it went."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import psutil
import pytest

from ..support.client import Client, tidy_client
from ..support.gateways import Begin, Gateway
from ..support.waits import until

LISTING = "--JupyterWebsocketPersonality.list_kernels=True"
CHILD = "__import__('subprocess').Popen(['sleep', '600']).pid"
DEAF = "__import__('subprocess').Popen(['sh', '-c', 'trap \"\" TERM; while :; do sleep 1; done']).pid"
STRANGER = "__import__('subprocess').Popen(['sleep', '600'], start_new_session=True).pid"
"""A child that is in a group of its own, with the kernel's stderr."""


@pytest.fixture(scope="module")
def gateway(begin_shared: Begin) -> Gateway:
    return begin_shared(LISTING, "--KernelManager.shutdown_wait_time=20")


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    async with tidy_client(gateway) as client:
        yield client


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def start(client: Client, child: str = CHILD) -> tuple[str, int, int]:
    """A kernel with a child: its id, its process and the child's."""
    kernel = await client.start()
    pid = int(await client.evaluate(kernel, "os.getpid()"))
    of_child = int(await client.evaluate(kernel, child))
    assert lives(of_child)
    return kernel, pid, of_child


async def crash(client: Client, kernel: str, pid: int) -> None:
    """Kill a kernel, and wait until that is seen."""
    async with await client.connect(kernel) as socket:
        os.kill(pid, signal.SIGKILL)
        await socket.until_status("restarting")


@pytest.mark.parametrize("child", [CHILD, DEAF], ids=["polite", "deaf"])
async def test_a_crash_that_is_followed_by_a_restart(client: Client, child: str) -> None:
    kernel, pid, of_child = await start(client, child)
    await crash(client, kernel, pid)
    await until(lambda: not lives(of_child))
    assert int(await client.evaluate(kernel, "os.getpid()")) != pid


async def test_a_crash_that_is_not(begin: Begin) -> None:
    gateway = begin(LISTING, "--KernelManager.autorestart=False")
    async with Client(gateway.url) as client:
        kernel, pid, of_child = await start(client)
        os.kill(pid, signal.SIGKILL)
        await client.until_kernel(kernel, lambda model: model["execution_state"] == "dead")
        await until(lambda: not lives(of_child))


async def test_a_kernel_that_ends_by_itself(client: Client) -> None:
    kernel, pid, of_child = await start(client)
    async with await client.connect(kernel) as socket:
        await socket.execute("os._exit(0)")
        await socket.until_status("restarting")
    await until(lambda: not lives(of_child))
    assert int(await client.evaluate(kernel, "os.getpid()")) != pid


async def test_a_restart(client: Client) -> None:
    kernel, _, of_child = await start(client)
    assert (await client.http.post(f"/api/kernels/{kernel}/restart")).status_code == 200
    await until(lambda: not lives(of_child))


async def test_a_shutdown(client: Client) -> None:
    kernel, _, of_child = await start(client)
    assert (await client.http.delete(f"/api/kernels/{kernel}")).status_code == 204
    await until(lambda: not lives(of_child))


@pytest.mark.parametrize("child", [CHILD, DEAF], ids=["polite", "deaf"])
async def test_the_end_of_the_server(begin: Begin, child: str) -> None:
    gateway = begin(LISTING, "--KernelManager.shutdown_wait_time=20")
    async with Client(gateway.url) as client:
        crashed, pid, of_crashed = await start(client, child)
        _, _, of_running = await start(client, child)
        await crash(client, crashed, pid)
    assert gateway.stop() == 0
    await until(lambda: not lives(of_crashed) and not lives(of_running))


async def test_a_process_in_a_session_of_its_own_goes_on_and_delays_nobody(client: Client) -> None:
    kernel, pid, of_child = await start(client, STRANGER)
    try:
        await crash(client, kernel, pid)
        assert int(await client.evaluate(kernel, "os.getpid()")) != pid
        assert (await client.http.delete(f"/api/kernels/{kernel}")).status_code == 204
        assert lives(of_child)
    finally:
        os.kill(of_child, signal.SIGKILL)
