"""The driver of a kernel that others started: it is connected to, and left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zmq

from fps_kernels.errors import Conflict, KernelTimeout
from fps_kernels.errors import ExternalKernel as NotOurs
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.connection_file import ConnectionInfo
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.external import ExternalLauncher
from fps_kernels.kernel_driver.lifecycle import LifecycleOptions

from ..support.drivers import Inbox, Recorder, execute, run
from ..support.externals import ExternalKernel
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("bounded")

SLEEP = "import time; stream('on')\nwhile True: time.sleep(0.05)"


class Host:
    """Makes external kernels, and drivers of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._kernels: list[ExternalKernel] = []
        self._drivers: list[KernelDriver] = []

    def run(self, mode: str = "plain") -> ExternalKernel:
        self._kernels.append(ExternalKernel(self._folder, mode))
        return self._kernels[-1]

    def driver(self, kernel: ExternalKernel, **lifecycle: float) -> KernelDriver:
        launcher = ExternalLauncher("external", ConnectionInfo.from_file(kernel.file))
        client = KernelClient("an id", self._context)
        self._drivers.append(KernelDriver(client, launcher, LifecycleOptions(**lifecycle)))  # type: ignore[arg-type]
        return self._drivers[-1]

    async def close(self) -> None:
        await asyncio.gather(*(driver.shutdown() for driver in self._drivers))
        for kernel in self._kernels:
            kernel.stop()
        self._context.destroy(linger=0)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = Host(tmp_path)
    yield host
    await host.close()


@pytest.fixture
def kernel(host: Host) -> ExternalKernel:
    return host.run()


async def test_it_executes(host: Host, kernel: ExternalKernel) -> None:
    driver = host.driver(kernel)
    await driver.start()
    await until(lambda: driver.client.execution_state == "idle")  # busy, if its answer on control comes first
    code = "import os\nstream(str(os.getpid()))"
    assert await run(driver.client, code) == str(kernel.process.pid)


async def test_nothing_is_known_of_its_process(host: Host, kernel: ExternalKernel) -> None:
    driver = host.driver(kernel)
    await driver.start()
    assert driver.name == "external"
    assert (driver.pid, driver.resolve_path("kernel.json")) == (None, None)
    assert (driver.metadata, driver.kernelspec, driver.command) == ({}, {}, ())


async def test_it_is_not_restarted(host: Host, kernel: ExternalKernel) -> None:
    driver = host.driver(kernel)
    await driver.start()
    with pytest.raises(NotOurs):
        await driver.restart()
    assert driver.client.generation == 1
    assert await run(driver.client, "stream('alive')") == "alive"


async def test_a_shutdown_leaves_it_running(host: Host, kernel: ExternalKernel) -> None:
    driver = host.driver(kernel)
    await driver.start()
    told = Recorder(driver)
    inbox = Inbox(driver.client)
    msg_id = execute(driver.client, SLEEP, origin="somebody")
    await inbox.until_text("on")  # else the request may be lost with the sockets
    await driver.shutdown(now=True)
    await driver.shutdown()
    assert told.events == ["requests failed", "dead"]
    assert [request.msg_id for request in told.failed] == [msg_id]
    assert driver.reason == told.reason == "The external kernel is gone"
    assert kernel.process.poll() is None
    again = host.driver(kernel)
    await again.start()
    assert again.client.execution_state == "busy"


async def test_it_is_not_interrupted_by_a_signal_but_asked(host: Host) -> None:
    driver = host.driver(host.run("message_interrupt"))
    await driver.start()
    inbox = Inbox(driver.client)
    execute(driver.client, SLEEP)
    await inbox.until_text("on")
    await driver.interrupt()
    assert (await inbox.until_type("execute_reply")).content["ename"] == "Interrupted"


async def test_one_that_does_not_answer_is_dead_with_that_reason(host: Host) -> None:
    kernel = host.run("silent")
    driver = host.driver(kernel, startup_timeout_s=0.3)
    told = Recorder(driver)
    with pytest.raises(KernelTimeout, match=r"did not answer within 0\.3 s"):
        await driver.start()
    assert told.events == ["dead"]
    assert driver.reason == "The kernel did not answer within 0.3 s"
    with pytest.raises(Conflict, match="dead"):
        await driver.interrupt()
    assert kernel.process.poll() is None


async def test_a_shutdown_ends_the_wait_for_an_answer(host: Host) -> None:
    kernel = host.run("silent")
    driver = host.driver(kernel)
    start = asyncio.create_task(driver.start())
    await until(lambda: driver.client.generation == 1)
    await driver.shutdown()
    with pytest.raises(Conflict):
        await start
    assert driver.client.execution_state == "dead"
    assert kernel.process.poll() is None
