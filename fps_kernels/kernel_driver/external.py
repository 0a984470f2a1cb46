"""Kernels that others started: they are connected to, and never stopped or restarted.

Their process cannot be watched, so their connection is: see peer_watch.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zmq

from ..tasks import TaskSet
from .connection_file import ConnectionInfo
from .exit_status import ExitStatus
from .held_ports import PortWatch
from .peer_watch import PeerWatch, listens

logger = logging.getLogger(__name__)

LISTENS_TIMEOUT_S = 1.0
"""Wait for a process that was lost, when it is looked for again."""


class ExternalProcess:
    """The process of a kernel that others started. Nothing is known of it but where it listens.

    info: the content of the kernel's connection file.
    watch: tells when the process is lost; None if nobody looks.
    """

    pid = None
    may_be_busy = True
    interrupt_mode = "message"
    metadata: Mapping[str, Any] = {}
    kernelspec: Mapping[str, Any] = {}
    command: Sequence[str] = ()

    def __init__(self, info: ConnectionInfo, watch: PeerWatch | None = None) -> None:
        self.connection = info
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self.port_watch = PortWatch(info)
        self._tasks = TaskSet()
        if watch is not None:
            self._tasks.start(self._until_lost(watch), name="watch over an external kernel")

    async def _until_lost(self, watch: PeerWatch) -> None:
        try:
            reason = await watch.lost()
        except zmq.ZMQError as exc:  # no descriptor left, say: that is not the kernel's fault
            logger.warning("an external kernel is not watched: %s", exc.strerror)
            return
        if not self.exited.done():
            self.exited.set_result(ExitStatus(None, said=reason))

    def resolve_path(self, path: str) -> str | None:
        """None: the kernel's working directory is not known."""
        return None

    async def signal(self, signum: int) -> None:
        """Nothing: there is no process to send a signal to."""

    async def shutdown_requested(self) -> None:
        """Nothing: an external kernel is not asked to shut down."""

    async def terminate(self) -> None:
        """Nothing: the process is not ours."""

    async def kill(self) -> None:
        """Nothing: the process is not ours."""

    async def wait(self, timeout_s: float) -> bool:
        """False: the process goes on."""
        return False

    async def clean_up(self) -> None:
        """End the watch. The connection file is not ours."""
        await self._tasks.close()


class ExternalLauncher:
    """Connects to one kernel that others started.

    kernel_name: the name by which the kernel is shown.
    info: the content of the kernel's connection file.
    context: the ZMQ context for the watch; None for no watch.
    timeout_s: seconds of silence after which the kernel is lost; 0 for no watch.
    busy: whether something was asked that the kernel has not answered.
    """

    owned = False

    def __init__(
        self,
        kernel_name: str,
        info: ConnectionInfo,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        timeout_s: float = 0.0,
        busy: Callable[[], bool] = lambda: True,
    ) -> None:
        self._kernel_name = kernel_name
        self._info = info
        self._context = context
        self._timeout_s = timeout_s
        self._busy = busy

    @property
    def kernel_name(self) -> str:
        return self._kernel_name

    async def take(self, kernel_id: str) -> ExternalProcess:
        return await self.launch(kernel_id)

    async def launch(self, kernel_id: str) -> ExternalProcess:
        if self._context is None or not self._timeout_s:
            return ExternalProcess(self._info)
        return ExternalProcess(self._info, PeerWatch(self._context, self._info, self._timeout_s, self._busy))

    async def listens(self) -> bool:
        return self._context is not None and await listens(self._context, self._info, LISTENS_TIMEOUT_S)

    def on_ready(self) -> None:
        """Nothing: the kernel was ready long ago."""

    def set_environment(self, names: Mapping[str, str]) -> None:
        """Nothing: there will be no other process."""
