"""Kernels that are driven in the test's own process, without a server."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import zmq

from fps_kernels.errors import FPSKernelsError
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernel_driver.launch import LaunchOptions
from fps_kernels.kernel_driver.launcher import KernelspecLauncher
from fps_kernels.kernel_driver.lifecycle import LifecycleOptions
from fps_kernels.kernel_driver.message import Message, dump_json, peek_msg_id
from fps_kernels.kernel_driver.observer import LifecycleObserver
from fps_kernels.kernel_driver.request_log import Request
from fps_kernels.kernels.launch_environment import server_environment

from .kernelspecs import install_kernelspecs
from .messages import header

TIMEOUT_S = 60


class Drivers:
    """Makes drivers of kernels. At the end they are shut down, and nothing of them may be left."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.share = base / "share"
        self.root = base / "root"
        self.connection_dir = base / "runtime"
        self.root.mkdir()
        install_kernelspecs(self.share)
        monkeypatch.setenv("JUPYTER_PATH", str(self.share))
        monkeypatch.setenv("IPYTHONDIR", str(base / "ipython"))
        self.specs = Kernelspecs()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._drivers: list[KernelDriver] = []

    async def __aenter__(self) -> Self:
        assert self.specs.manager is not None  # imports jupyter_client
        self._warm_up()
        self._before = set(await self._used())
        return self

    def _warm_up(self) -> None:
        """Start the threads of ZMQ, and those of pyzmq for frames that are not copied: both have descriptors."""
        with self.context.socket(zmq.PAIR) as one, self.context.socket(zmq.PAIR) as other:
            one.bind("inproc://warm-up")
            other.connect("inproc://warm-up")
            one.send(bytes(1 << 20), copy=False)
            other.recv()

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.gather(*(driver.shutdown(now=True) for driver in self._drivers))
            left = await self.leftovers()
            assert not left, left
        finally:
            self.context.destroy(linger=0)

    def make(
        self,
        name: str = "tiny_plain",
        *,
        env: Mapping[str, str] | None = None,
        extra_env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        encryption: str = "auto",
        verify: bool = True,
        kernel_id: str | None = None,
        **lifecycle: Any,
    ) -> KernelDriver:
        """A driver of a kernel that is not started yet. lifecycle: fields of LifecycleOptions."""
        options = LaunchOptions(
            kernel_name=name,
            cwd=str(cwd or self.root),
            env=server_environment(os.environ) | dict(env or {}),
            extra_env=extra_env or {},
            connection_dir=self.connection_dir,
            encryption=encryption,
        )
        client = KernelClient(kernel_id or uuid.uuid4().hex, self.context, verify=verify)
        driver = KernelDriver(client, KernelspecLauncher(options, self.specs), LifecycleOptions(**lifecycle))
        self._drivers.append(driver)
        return driver

    async def start(self, name: str = "tiny_plain", **options: Any) -> KernelDriver:
        driver = self.make(name, **options)
        async with asyncio.timeout(TIMEOUT_S):
            await driver.start()
        return driver

    def connection_file(self, driver: KernelDriver) -> Path:
        return self.connection_dir / f"kernel-{driver.kernel_id}.json"

    async def leftovers(self) -> list[str]:
        """What is used now and was not before: processes, connection files, descriptors, tasks.

        libzmq closes its descriptors a little later, in a thread of its own: that is waited for.
        """
        for _ in range(200):
            left = sorted(set(await self._used()) - self._before)
            if not left:
                break
            await asyncio.sleep(0.01)
        return left

    async def _used(self) -> list[str]:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        return [
            *(f"process {child.pid}" for child in psutil.Process().children()),
            *(f"file {path}" for path in self.connection_dir.glob("*")),
            *(f"descriptor {fd} {target}" for fd in os.listdir("/proc/self/fd") if (target := _target(fd))),
            *(f"task {task.get_name()}" for task in tasks),
        ]


def _target(fd: str) -> str:
    """What a descriptor leads to; "" when it was that of listing the folder."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""


class Recorder(LifecycleObserver):
    """What a driver tells of its kernel's life, in order."""

    def __init__(self, driver: KernelDriver) -> None:
        driver.observer = self
        self.client = driver.client
        self.events: list[str] = []
        self.failed: list[Request] = []
        self.error: FPSKernelsError | None = None
        self.reason = ""
        self.states: list[str] = []
        self._told = asyncio.Event()

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        self.failed, self.error = requests, error
        self._tell("requests failed")

    def on_restarting(self, reason: str) -> None:
        self.reason = reason
        self._tell("restarting")

    def on_dead(self, reason: str) -> None:
        self.reason = reason
        self._tell("dead")

    def _tell(self, event: str) -> None:
        self.events.append(event)
        self.states.append(self.client.execution_state.value)
        self._told.set()

    async def until(self, event: str, count: int = 1, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until this was told `count` times."""
        async with asyncio.timeout(timeout_s):
            while self.events.count(event) < count:
                self._told.clear()
                await self._told.wait()


class Inbox:
    """A listener that keeps what it hears. filters: the arguments of `KernelClient.add_listener`."""

    def __init__(self, client: KernelClient, *filters: Any, **more: Any) -> None:
        self.messages: list[Message] = []
        self._arrived = asyncio.Event()
        self.listener = client.add_listener(self._hear, *filters, **more)

    def _hear(self, channel: str, frames: Sequence[bytes]) -> None:
        self.messages.append(Message(channel, list(frames)))
        self._arrived.set()

    async def until(self, condition: Callable[[Message], bool], timeout_s: float = TIMEOUT_S) -> Message:
        """The first message that fulfils the condition, whether it has come or will."""
        seen = 0
        async with asyncio.timeout(timeout_s):
            while True:
                for message in self.messages[seen:]:
                    seen += 1
                    if condition(message):
                        return message
                self._arrived.clear()
                await self._arrived.wait()

    async def until_type(self, msg_type: str) -> Message:
        return await self.until(lambda message: message.msg_type == msg_type)

    async def until_text(self, text: str) -> Message:
        """The stream message with just this text."""
        return await self.until(lambda message: message.msg_type == "stream" and message.content["text"] == text)

    async def until_reply(self, msg_id: str) -> Message:
        return await self.until(lambda message: message.channel == "shell" and message.parent_msg_id == msg_id)

    async def until_idle(self, msg_id: str) -> Message:
        """The end of what a request caused."""
        return await self.until(
            lambda message: (
                message.msg_type == "status"
                and message.parent_msg_id == msg_id
                and message.content["execution_state"] == "idle"
            )
        )

    def types(self, channel: str | None = None) -> list[str]:
        return [message.msg_type for message in self.messages if channel in (None, message.channel)]

    def texts(self) -> list[str]:
        return [message.content["text"] for message in self.messages if message.msg_type == "stream"]


def message_frames(
    msg_type: str, content: Mapping[str, Any], session: str = "test", buffers: Sequence[bytes] = ()
) -> list[bytes]:
    return [dump_json(header(msg_type, session)), b"{}", b"{}", dump_json(content), *buffers]


def execute(client: KernelClient, code: str, session: str = "test", origin: Any = None) -> str:
    """Send an execute_request; returns its msg_id."""
    frames = message_frames("execute_request", {"code": code, "silent": False}, session)
    client.send("shell", frames, origin)
    return peek_msg_id(frames[0])


async def run(client: KernelClient, code: str) -> str:
    """Execute code, check that it succeeds, and return what it printed."""
    inbox = Inbox(client)
    msg_id = execute(client, code)
    reply = await inbox.until_reply(msg_id)
    await inbox.until_idle(msg_id)
    client.remove_listener(inbox.listener)
    assert reply.content["status"] == "ok", reply.content
    return "".join(inbox.texts())
