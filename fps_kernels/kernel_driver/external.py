"""Kernels that others started: they are connected to, and never stopped or restarted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from .connection_file import ConnectionInfo
from .exit_status import ExitStatus


class ExternalProcess:
    """The process of a kernel that others started. Nothing is known of it but where it listens.

    info: the content of the kernel's connection file.
    """

    pid = None
    may_be_busy = True
    interrupt_mode = "message"
    metadata: Mapping[str, Any] = {}
    kernelspec: Mapping[str, Any] = {}
    command: Sequence[str] = ()

    def __init__(self, info: ConnectionInfo) -> None:
        self.connection = info
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()  # that is not seen

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
        """Nothing: the connection file is not ours."""


class ExternalLauncher:
    """Connects to one kernel that others started.

    kernel_name: the name by which the kernel is shown.
    info: the content of the kernel's connection file.
    """

    owned = False

    def __init__(self, kernel_name: str, info: ConnectionInfo) -> None:
        self._kernel_name = kernel_name
        self._info = info

    @property
    def kernel_name(self) -> str:
        return self._kernel_name

    async def take(self, kernel_id: str) -> ExternalProcess:
        return ExternalProcess(self._info)

    async def launch(self, kernel_id: str) -> ExternalProcess:
        return ExternalProcess(self._info)

    def on_ready(self) -> None:
        """Nothing: the kernel was ready long ago."""

    def set_environment(self, names: Mapping[str, str]) -> None:
        """Nothing: there will be no other process."""
