"""Keepers, and kernels that they keep, driven in the test's own process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil
import zmq

from fps_kernels.keeper.keeper_folder import KeeperFolder
from fps_kernels.keeper.keeper_wire import BATCH, EVENT, PING, FrameReader, decode_batch, decode_json, encode
from fps_kernels.kept.keeper_client import KeeperClient
from fps_kernels.kept.kept_launcher import KeptLauncher
from fps_kernels.kept.kept_process import KeptProcess, forget, open_channels
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernel_driver.launch import LaunchOptions
from fps_kernels.kernel_driver.lifecycle import LifecycleOptions
from fps_kernels.kernels.launch_environment import server_environment

from .waits import until

TIMEOUT_S = 60


class Keepers:
    """A state folder, servers' connections to its keeper, and drivers of kernels that it keeps.

    folder: for the state folder, and for connection files. The kernelspecs are those of JUPYTER_PATH.
    At the end nothing of the keeper and of its kernels may be left.
    """

    def __init__(self, folder: Path) -> None:
        self.state = KeeperFolder(folder / "state")
        self.folder = folder
        self.connection_dir = folder / "runtime"
        self.specs = Kernelspecs()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._clients: list[KeeperClient] = []
        self._drivers: list[KernelDriver] = []
        self._processes: set[psutil.Process] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for driver in self._drivers:
            if not (client := self._client_of(driver)).left:
                await driver.shutdown(now=True)
                forget(client, driver.kernel_id)
        self.note_processes()
        if (pid := self.pid()) is not None:
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGTERM)
        for client in self._clients:
            await client.leave()
        for driver in self._drivers:
            await driver.shutdown(now=True)
        self.context.destroy(linger=0)
        await until(lambda: not any(is_running(one) for one in self._processes))

    async def connect(self, **options: Any) -> KeeperClient:
        """A server's connection."""
        client = KeeperClient(self.state, **{"orphan_timeout_s": 120, **options})
        self._clients.append(client)
        async with asyncio.timeout(TIMEOUT_S):
            await client.start()
        self.note_processes()
        return client

    def make(
        self,
        keeper: KeeperClient,
        name: str = "tiny_plain",
        *,
        adopted: KeptProcess | None = None,
        kernel_id: str | None = None,
        env: dict[str, str] | None = None,
        encryption: str = "auto",
        launcher: dict[str, Any] | None = None,
        **lifecycle: Any,
    ) -> KernelDriver:
        """A driver of a kernel that is not started yet. launcher: more for the launcher."""
        options = LaunchOptions(
            kernel_name=name,
            cwd=str(self.folder),
            env=server_environment(os.environ) | (env or {}),
            extra_env={},
            connection_dir=self.connection_dir,
            encryption=encryption,
        )
        kernel_id = adopted.kernel_id if adopted is not None else kernel_id or uuid.uuid4().hex
        client = KernelClient(kernel_id, self.context, open_channels=open_channels)
        made = KeptLauncher(options, self.specs, keeper, adopted=adopted, **(launcher or {}))
        driver = KernelDriver(client, made, LifecycleOptions(**lifecycle))
        self._drivers.append(driver)
        return driver

    async def start(self, keeper: KeeperClient, name: str = "tiny_plain", **options: Any) -> KernelDriver:
        driver = self.make(keeper, name, **options)
        async with asyncio.timeout(TIMEOUT_S):
            await driver.start()
        self.note_processes()
        return driver

    def _client_of(self, driver: KernelDriver) -> KeeperClient:
        launcher = driver._launcher
        assert isinstance(launcher, KeptLauncher)
        return launcher._keeper

    def pid(self) -> int | None:
        """The keeper's process; None if there is none."""
        return keeper_pid(self.state)

    def process(self) -> psutil.Process:
        pid = self.pid()
        assert pid is not None
        return psutil.Process(pid)

    def note_processes(self) -> None:
        """Remember the keeper and its children: none may be left at the end."""
        if (pid := self.pid()) is not None and psutil.pid_exists(pid):
            keeper = psutil.Process(pid)
            self._processes |= {keeper, *keeper.children(recursive=True)}


def keeper_pid(state: KeeperFolder) -> int | None:
    """The number of the keeper's process; None if there is none."""
    try:
        return int(json.loads(state.description.read_text())["pid"])
    except FileNotFoundError:
        return None


def is_running(process: psutil.Process) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def summary_of(keeper: KeeperClient, kernel_id: str) -> dict[str, Any]:
    """What the keeper says of a kernel."""
    found = await keeper.call("kernels")
    (summary,) = (one for one in found["kernels"] if one["kernel"] == kernel_id)
    return summary


async def until_summary(
    keeper: KeeperClient, kernel_id: str, condition: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """What the keeper says of a kernel, once that fulfils the condition."""

    async def look() -> dict[str, Any] | None:
        summary = await summary_of(keeper, kernel_id)
        return summary if condition(summary) else None

    return await until(look)


class RawServer:
    """A connection to a keeper that writes whatever a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._frames = FrameReader()

    @classmethod
    async def connect(cls, state: KeeperFolder) -> Self:
        return cls(*await asyncio.open_unix_connection(str(state.socket)))

    async def events(self) -> list[dict[str, Any]]:
        """What it is told until the connection ends, pings left out."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(TIMEOUT_S):
            while data := await self._reader.read(65_536):
                found += [decode_json(frame) for frame in self._frames.feed(data) if frame.kind == EVENT]
        self.writer.close()
        return found

    async def ping(self) -> None:
        """Say now and then that this is alive, until cancelled."""
        while True:
            self.writer.write(encode(PING))
            await asyncio.sleep(1)

    def pause(self) -> None:
        """Read nothing."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume(self) -> None:
        """Read again."""
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def streams_until(self, last: int) -> tuple[list[int], int]:
        """The numbers in stream messages up to `last`, and how many messages are said to be missing."""
        numbers: list[int] = []
        missing = 0
        async with asyncio.timeout(TIMEOUT_S):
            while last not in numbers:
                for frame in self._frames.feed(await self._reader.read(1 << 20)):
                    if frame.kind == EVENT:
                        missing += decode_json(frame).get("messages", 0)
                    elif frame.kind == BATCH and (batch := decode_batch(frame)).channel == "iopub":
                        contents = [json.loads(message[6]) for message in batch.messages]
                        numbers += [int(content["text"]) for content in contents if "text" in content]
        self.writer.close()
        return numbers, missing
