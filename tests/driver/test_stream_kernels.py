"""Kernels that are objects with streams of anyio, driven in the test's own process: no process, no sockets."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
import zmq
from anyio.streams.stapled import StapledObjectStream

from fps_kernels.errors import KernelDied, KernelNotConnected, KernelStartFailed, QueueFull
from fps_kernels.kernel_driver.channels import SEND_QUEUE_MESSAGES
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.heartbeat import HeartbeatOptions
from fps_kernels.kernel_driver.launch import LaunchOptions
from fps_kernels.kernel_driver.lifecycle import LifecycleOptions
from fps_kernels.kernel_driver.message import Message
from fps_kernels.kernel_driver.state import ExecutionState
from fps_kernels.kernel_driver.stream_channels import StreamChannels
from fps_kernels.kernel_driver.stream_kernel import StreamLauncher

from ..support.waits import until

TIMEOUT_S = 60
DELIMITER = b"<IDS|MSG>"


class StreamedKernel:
    """A kernel in a task. It publishes what it is told to execute, `die` ends it, and `fail` makes it fail."""

    key = "0"

    def __init__(self) -> None:
        self._ends: dict[str, Any] = {}
        for channel in ("shell", "control", "stdin"):
            to_kernel, here = anyio.create_memory_object_stream[list[bytes]]()
            there, from_kernel = anyio.create_memory_object_stream[list[bytes]]()
            setattr(self, f"{channel}_stream", StapledObjectStream(to_kernel, from_kernel))
            self._ends[channel] = (here, there)
        self._iopub, self.iopub_stream = anyio.create_memory_object_stream[list[bytes]](float("inf"))
        self._end = anyio.Event()
        self.interrupted = asyncio.Event()

    async def start(self) -> None:
        requests, replies = self._ends["shell"]

        async def answer() -> None:
            async for frames in requests:
                await self._answer(frames, replies)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(answer)
                await self._end.wait()
                group.cancel_scope.cancel()
        except ExceptionGroup as exc:
            raise exc.exceptions[0] from None
        finally:
            await self.close()

    async def close(self) -> None:
        for channel, ends in self._ends.items():
            for stream in (*ends, getattr(self, f"{channel}_stream")):
                await stream.aclose()
        await self._iopub.aclose()
        await self.iopub_stream.aclose()

    async def _answer(self, frames: list[bytes], replies: Any) -> None:
        header = json.loads(frames[frames.index(DELIMITER) + 2])
        content = json.loads(frames[frames.index(DELIMITER) + 5])
        code = content.get("code", "")
        if code == "die":
            self._end.set()
            return
        if code == "fail":
            raise RuntimeError("the worker has gone to /srv/a/place")
        await self._iopub.send(message("status", {"execution_state": "busy"}, header, topic=b"status"))
        if code:
            await self._iopub.send(message("stream", {"name": "stdout", "text": code}, header, topic=b"stream"))
        reply = {"status": "ok", "protocol_version": "5.3", "execution_count": 1}
        await replies.send(message(header["msg_type"].replace("request", "reply"), reply, header))
        await self._iopub.send(message("status", {"execution_state": "idle"}, header, topic=b"status"))

    async def stop(self) -> None:
        self._end.set()

    async def interrupt(self) -> None:
        self.interrupted.set()


def message(msg_type: str, content: dict[str, Any], parent: dict[str, Any], topic: bytes | None = None) -> list[bytes]:
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": msg_type,
        "session": "kernel",
        "username": "",
        "date": "2026-01-01T00:00:00.000000Z",
        "version": "5.3",
    }
    parts = [json.dumps(part).encode() for part in (header, parent, {}, content)]
    return [*([] if topic is None else [topic]), DELIMITER, b"", *parts]


Start = Callable[..., Any]


@pytest.fixture
async def make(tmp_path: Any) -> AsyncIterator[Start]:
    """make(maker, **lifecycle): a driver whose kernels the maker makes."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    drivers: list[KernelDriver] = []

    def make(maker: Callable[[], Any], **lifecycle: Any) -> KernelDriver:
        options = LaunchOptions(
            kernel_name="streamed", cwd=str(tmp_path), env={}, extra_env={}, connection_dir=tmp_path
        )
        launcher = StreamLauncher(lambda options: maker(), options)
        client = KernelClient(
            "streamed",
            context,
            verify=False,
            heartbeat=HeartbeatOptions(interval_s=0),
            open_channels=launcher.open_channels,
        )
        driver = KernelDriver(client, launcher, LifecycleOptions(**lifecycle))
        drivers.append(driver)
        return driver

    yield make
    for driver in drivers:
        async with asyncio.timeout(TIMEOUT_S):
            await driver.shutdown()
    context.destroy(linger=0)
    assert [task.get_name() for task in asyncio.all_tasks() if "kernel" in task.get_name()] == []


async def test_a_request_is_answered(make: Start) -> None:
    driver = make(StreamedKernel)
    await driver.start()
    heard: list[str] = []

    def on_output(output: Message) -> None:
        if output.msg_type == "stream":
            heard.append(json.loads(output.frames[3])["text"])

    reply = await driver.client.execute("hello", on_output, timeout_s=TIMEOUT_S)
    assert json.loads(reply.frames[3])["status"] == "ok"
    assert heard == ["hello"]


async def test_an_interrupt_calls_its_method(make: Start) -> None:
    made: list[StreamedKernel] = []

    def maker() -> StreamedKernel:
        made.append(StreamedKernel())
        return made[-1]

    driver = make(maker)
    await driver.start()
    await driver.interrupt()
    async with asyncio.timeout(TIMEOUT_S):
        await made[0].interrupted.wait()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("die", "The kernel died: ended"),
        ("fail", "The kernel died: failed: RuntimeError: the worker has gone to place"),
    ],
)
async def test_its_end_is_a_death_with_a_reason(make: Start, code: str, reason: str) -> None:
    driver = make(StreamedKernel, restart_limit=0)
    await driver.start()
    with pytest.raises(KernelDied):
        await driver.client.request("shell", "execute_request", {"code": code}, timeout_s=TIMEOUT_S)
    await until(lambda: driver.client.execution_state is ExecutionState.DEAD)
    assert driver.reason == reason


async def test_another_one_is_made_after_its_death(make: Start) -> None:
    driver = make(StreamedKernel, restart_limit=1, restart_backoff_s=0)
    await driver.start()
    with pytest.raises(KernelDied):
        await driver.client.request("shell", "execute_request", {"code": "die"}, timeout_s=TIMEOUT_S)
    await until(lambda: driver.client.generation == 2 and driver.client.execution_state is ExecutionState.IDLE)


async def test_a_maker_that_raises_is_a_start_that_failed(make: Start) -> None:
    def maker() -> Any:
        raise OSError("no room in /srv/workers/here")

    with pytest.raises(KernelStartFailed) as caught:
        await make(maker).start()
    assert caught.value.message == "Kernel streamed could not be started: its factory failed: OSError: no room in here"


async def test_what_is_sent_to_one_that_does_not_read_is_bounded() -> None:
    kernel = StreamedKernel()
    talking = {name: getattr(kernel, f"{name}_stream") for name in ("shell", "control", "stdin")}
    channels = StreamChannels(talking, kernel.iopub_stream, lambda channel, batch: None)
    for _ in range(SEND_QUEUE_MESSAGES):
        channels.send("shell", [b"x"])
    with pytest.raises(QueueFull):
        channels.send("shell", [b"x"])
    channels.close()
    with pytest.raises(KernelNotConnected):
        channels.send("shell", [b"x"])
    await kernel.close()
