"""Kernels that are no processes, but objects with streams: made by code of others, and started, stopped and
interrupted by their methods.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import zmq

from ..errors import KernelNotConnected, KernelStartFailed
from ..tasks import TaskSet
from .channels import OnBatch
from .connection_file import CHANNEL_NAMES, ConnectionInfo
from .exit_status import ExitStatus, quotable
from .held_ports import PortWatch
from .kernelspec import spec_dict
from .launch import LaunchOptions
from .stream_channels import ReceiveStream, Stream, StreamChannels

logger = logging.getLogger(__name__)


class StreamKernel(Protocol):
    """What is made: `Kernel` of jupyverse_kernel, or an object like it."""

    key: str

    @property
    def shell_stream(self) -> Stream: ...

    @property
    def control_stream(self) -> Stream: ...

    @property
    def stdin_stream(self) -> Stream: ...

    @property
    def iopub_stream(self) -> ReceiveStream: ...

    async def start(self) -> None:
        """Run the kernel; returns when it has ended."""

    async def stop(self) -> None:
        """Have it end."""

    async def interrupt(self) -> None:
        """Interrupt the cell that runs."""


StreamMaker = Callable[[LaunchOptions], StreamKernel]
"""make(options): a new kernel, which is not started yet. May raise anything."""


class StreamProcess:
    """A kernel with streams, in the place of a process. It has ended when its `start` returns, or raises."""

    pid = None
    may_be_busy = False
    interrupt_mode = "signal"
    command: Sequence[str] = ()

    def __init__(self, kernel_id: str, kernel: StreamKernel, options: LaunchOptions) -> None:
        self.kernel = kernel
        self.connection = ConnectionInfo(
            transport="tcp",
            ip="127.0.0.1",
            ports=dict.fromkeys(CHANNEL_NAMES, 0),
            key=str(kernel.key).encode(),
            signature_scheme="hmac-sha256",
            kernel_name=options.kernel_name,
        )
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self.port_watch = PortWatch(self.connection)
        self._kernel_id = kernel_id
        self._spec = options.spec
        self._calls = TaskSet()
        self._run = TaskSet()
        self._run.start(self._until_end(), name=f"kernel {kernel_id}")

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self._spec.metadata if self._spec is not None else {}

    @property
    def kernelspec(self) -> Mapping[str, Any]:
        return spec_dict(self._spec) if self._spec is not None else {}

    async def _until_end(self) -> None:
        said = "ended"
        try:
            await self.kernel.start()
        except asyncio.CancelledError:
            said = "was cancelled"
            raise
        except Exception as exc:  # code of others may raise anything
            logger.warning("kernel %s failed", self._kernel_id, exc_info=exc)
            said = f"failed: {quotable(f'{type(exc).__name__}: {exc}')}"
        finally:
            if not self.exited.done():
                self.exited.set_result(ExitStatus(None, said=said))

    def resolve_path(self, path: str) -> str | None:
        """None: the kernel's working directory is not known."""
        return None

    async def signal(self, signum: int) -> None:
        """Interrupt the kernel at SIGINT; it takes no other signal."""
        if signum == signal.SIGINT and not self.exited.done():
            self._call(self.kernel.interrupt(), "interrupt")

    async def shutdown_requested(self) -> None:
        """Have the kernel end: it need not do so for a request that it only forwards."""
        await self.terminate()

    async def terminate(self) -> None:
        if not self.exited.done():
            self._call(self.kernel.stop(), "end")

    def _call(self, call: Any, what: str) -> None:
        """Call a method of the kernel, which may take its time; a failure is logged."""
        self._calls.start(call, name=f"{what} of kernel {self._kernel_id}")

    async def kill(self) -> None:
        """Cancel whatever runs of it."""
        for task in self._run:
            task.cancel()

    async def wait(self, timeout_s: float) -> bool:
        await asyncio.wait([self.exited], timeout=max(0.0, timeout_s))
        return self.exited.done()

    async def clean_up(self) -> None:
        self.port_watch.end()
        await self._calls.close()


class StreamLauncher:
    """Makes the kernels of one kernelspec, by way of `make`.

    options: what a process of that kernelspec would be launched with.
    """

    owned = True

    def __init__(self, make: StreamMaker, options: LaunchOptions) -> None:
        self._make = make
        self._options = options
        self._process: StreamProcess | None = None

    @property
    def kernel_name(self) -> str:
        return self._options.kernel_name

    async def take(self, kernel_id: str) -> None:
        """None: none is kept ready."""

    async def launch(self, kernel_id: str) -> StreamProcess:
        name = self.kernel_name
        try:
            kernel = self._make(self._options)
            self._process = StreamProcess(kernel_id, kernel, self._options)
        except Exception as exc:  # code of others may raise anything
            logger.warning("kernel %s (%s) could not be made", kernel_id, name, exc_info=exc)
            what = quotable(f"{type(exc).__name__}: {exc}")
            raise KernelStartFailed(f"Kernel {name} could not be started: its factory failed: {what}") from exc
        logger.info("kernel %s (%s) made by its factory", kernel_id, name)
        return self._process

    def open_channels(
        self, context: zmq.Context[zmq.Socket[bytes]], info: ConnectionInfo, identity: bytes, on_batch: OnBatch
    ) -> StreamChannels:
        """Open the channels to the kernel that was made last; it has no use for ZMQ."""
        if self._process is None:
            raise KernelNotConnected("There is no kernel")
        kernel = self._process.kernel
        talking = {"shell": kernel.shell_stream, "control": kernel.control_stream, "stdin": kernel.stdin_stream}
        return StreamChannels(talking, kernel.iopub_stream, on_batch)

    async def listens(self) -> bool:
        """False: what has ended does not come back."""
        return False

    def on_ready(self) -> None:
        """Nothing is kept ready."""

    def set_environment(self, names: Mapping[str, str]) -> None:
        """Nothing: these kernels take no variables."""
