"""A kernel of a running server, which is started there for one notebook and shut down afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import zmq

from ..errors import BadOption, FPSKernelsError, KernelStartFailed
from ..kernel_driver.channels import OnBatch
from ..kernel_driver.client import KernelClient
from ..kernel_driver.connection_file import CHANNEL_NAMES, ConnectionInfo
from ..kernel_driver.driver import KernelDriver
from ..kernel_driver.exit_status import ExitStatus
from ..kernel_driver.heartbeat import HeartbeatOptions
from ..kernel_driver.held_ports import PortWatch
from ..kernel_driver.lifecycle import LifecycleOptions
from ..kernel_driver.observer import Observers
from .run_kernel import NoSuchKernelspec, RunKernel
from .server_calls import ServerCalls, ServerRefused
from .server_channels import ServerChannels

NOWHERE = ConnectionInfo("tcp", "127.0.0.1", dict.fromkeys(CHANNEL_NAMES, 0), b"", "hmac-sha256")
"""In the place of a connection file: only the server knows where the kernel listens."""

END_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Pauses between attempts to have the server end the kernel."""


class ServerProcess:
    """The process of a kernel of a server: a Process, of which nothing is known but whether the kernel is lost."""

    connection = NOWHERE
    pid = None
    may_be_busy = False
    interrupt_mode = "signal"
    metadata: Mapping[str, Any] = {}
    kernelspec: Mapping[str, Any] = {}
    command: Sequence[str] = ()

    def __init__(self, calls: ServerCalls, path: str) -> None:
        self._calls = calls
        self._path = path
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self.port_watch = PortWatch(NOWHERE)

    def lose(self, reason: str) -> None:
        """The kernel is gone, or is another one now. Only the first reason counts."""
        if not self.exited.done():
            self.exited.set_result(ExitStatus(None, said=reason))

    def resolve_path(self, path: str) -> str | None:
        """None: the files are the server's."""
        return None

    async def signal(self, signum: int) -> None:
        """Interrupt the kernel, whichever the signal; the server knows how. Raises ServerRefused."""
        await self._calls.call("POST", f"{self._path}/interrupt")

    async def shutdown_requested(self) -> None:
        """Nothing: the server shuts it down."""

    async def terminate(self) -> None:
        """Nothing, as above."""

    async def kill(self) -> None:
        """Nothing, as above."""

    async def wait(self, timeout_s: float) -> bool:
        """False: it goes on, as far as is known."""
        return False

    async def clean_up(self) -> None:
        """Nothing is left of it here."""


class ServerLauncher:
    """Connects to one kernel of a server: a Launcher."""

    owned = False

    def __init__(self, kernel_name: str, process: ServerProcess) -> None:
        self._kernel_name = kernel_name
        self._process = process

    @property
    def kernel_name(self) -> str:
        return self._kernel_name

    async def take(self, kernel_id: str) -> ServerProcess:
        return self._process

    async def launch(self, kernel_id: str) -> ServerProcess:
        return self._process

    async def listens(self) -> bool:
        """False: a kernel that was lost is another one when it comes back."""
        return False

    def on_ready(self) -> None:
        """Nothing: the server knows."""

    def set_environment(self, names: Mapping[str, str]) -> None:
        """Nothing: there will be no other process."""


async def shut_down(calls: ServerCalls, path: str) -> None:
    """Have the server end a kernel; a Jupyter Server answers 500 while it is restarting one that died."""
    for delay_s in END_DELAYS_S:
        await asyncio.sleep(delay_s)
        try:
            await calls.call("DELETE", path)
        except ServerRefused as exc:
            if exc.answer is not None and exc.answer >= 500:
                continue
        return


@contextlib.asynccontextmanager
async def server_kernel(url: str, token: str, name: str | None, start_timeout_s: float) -> AsyncIterator[RunKernel]:
    """A kernel of a server, which is shut down at the end.

    url, token: see ServerCalls. name: of its kernelspec; None for the server's default one.
    Raises BadOption, KernelStartFailed.
    """
    if importlib.util.find_spec("websockets") is None:
        raise BadOption("--server needs websockets: install fps_kernels[gateway]")
    calls = ServerCalls(url, token)
    specs = (await calls.call("GET", "/api/kernelspecs"))["kernelspecs"]
    if name is not None and name not in specs:
        raise NoSuchKernelspec(name, sorted(specs))
    body = {} if name is None else {"name": name}
    model = await calls.call("POST", "/api/kernels", body, timeout_s=start_timeout_s)
    kernel_id, kernel_name = str(model["id"]), str(model["name"])
    path = f"/api/kernels/{quote(kernel_id)}"
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    process = ServerProcess(calls, path)
    ended = False

    async def exists() -> bool:
        try:
            await calls.call("GET", path)
        except ServerRefused as exc:
            return exc.answer != 404  # a server that cannot be reached may come back; some show no kernels to anybody
        return True

    def open_channels(_context: object, _info: object, _identity: object, on_batch: OnBatch) -> ServerChannels:
        channels = calls.channels_url(kernel_id, uuid.uuid4().hex)
        return ServerChannels(channels, calls.headers, on_batch, exists, process.lose)

    client = KernelClient(
        kernel_id, context, verify=False, heartbeat=HeartbeatOptions(interval_s=0), open_channels=open_channels
    )
    lifecycle = LifecycleOptions(startup_timeout_s=start_timeout_s)
    driver = KernelDriver(client, ServerLauncher(kernel_name, process), lifecycle)
    observers = Observers()
    driver.observer = observers

    async def kill() -> None:
        nonlocal ended
        if not ended:
            ended = True
            await shut_down(calls, path)
        await driver.shutdown(now=True)

    try:
        try:
            await driver.start()
        except FPSKernelsError as exc:
            raise KernelStartFailed(f"The kernel of {calls.url} did not start: {exc.message}") from exc
        spec = specs.get(kernel_name, {}).get("spec", {})
        yield RunKernel(driver, observers, kernel_name, driver.interrupt, kill, spec)
    finally:
        await kill()
        context.destroy(linger=0)
