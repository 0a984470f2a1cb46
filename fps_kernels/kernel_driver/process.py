"""Kernel processes: how they are launched, signalled and cleaned up, and how their end is noticed.

jupyter_client's manager and provisioners do the launching, so that every provisioner on PyPI works from a kernelspec's
metadata. Each process has a manager of its own, which is never reused. Talking to the kernel is up to KernelClient.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..descriptors import add_reader, open_pidfd, remove_reader
from ..ledger import Ledger
from ..tasks import TaskSet
from .connection_file import ConnectionInfo
from .exit_status import ExitStatus
from .held_ports import PortWatch
from .kernelspec import spec_dict
from .launch import LaunchOptions, clean_up, is_local, launch_by
from .oom import OomWatch
from .stderr import StderrReader

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

    from .kernelspec import Kernelspecs

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0
"""Interval between two polls of a process on another machine."""
LOCAL_POLL_INTERVAL_S = 0.25
"""Interval between two polls of a process on this machine where there are no pidfds; a poll takes 15 µs."""
POLL_TIMEOUT_S = 30.0
"""The longest wait for a provisioner's answer to one poll."""
STDERR_GRACE_S = 0.05
"""How long to wait for the rest of stderr after the exit: a grandchild may keep the pipe open."""


class Process(Protocol):
    """A kernel's process: launched by us, or running already.

    Where and how it listens is known from the beginning; whether it answers is the client's business.
    """

    @property
    def connection(self) -> ConnectionInfo:
        """Where the kernel listens."""

    @property
    def exited(self) -> asyncio.Future[ExitStatus]:
        """Done as soon as the process is gone, if its end can be seen."""

    @property
    def port_watch(self) -> PortWatch:
        """Tells when the process could not have one of its ports; to be ended when the kernel answers."""

    @property
    def pid(self) -> int | None:
        """The process id; None if the process is not on this machine, or not known."""

    @property
    def may_be_busy(self) -> bool:
        """Whether the kernel may be running a cell when it is connected to."""

    @property
    def interrupt_mode(self) -> str:
        """How the kernel is interrupted: by `signal` or by `message`."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The kernelspec's metadata."""

    @property
    def kernelspec(self) -> Mapping[str, Any]:
        """The kernelspec that the process was launched by, see kernelspec.spec_dict; empty if there is none."""

    @property
    def command(self) -> Sequence[str]:
        """The command that was launched; empty if it is not known."""

    def resolve_path(self, path: str) -> str | None:
        """`path` as the kernel would find it from its working directory, if that exists. May block."""

    async def signal(self, signum: int) -> None:
        """Send a signal to the kernel's process group, or do what comes closest to it."""

    async def shutdown_requested(self) -> None:
        """The kernel was asked to shut down."""

    async def terminate(self) -> None:
        """Send SIGTERM, or do what comes closest to it."""

    async def kill(self) -> None:
        """Send SIGKILL, or do what comes closest to it."""

    async def wait(self, timeout_s: float) -> bool:
        """Return True when the process is gone, False if it is not within `timeout_s` seconds."""

    async def clean_up(self) -> None:
        """Give back what the process used: connection file, ports, pipes. May be called twice."""


def lost_port(process: Process) -> bool:
    """Whether a process could not have one of its ports, and has ended of that or not."""
    return process.port_watch.lost.done() or (process.exited.done() and process.exited.result().port_taken)


class LaunchedProcess:
    """A process that was launched from a kernelspec, by way of a provisioner.

    kept: whether it outlives this server.
    """

    may_be_busy = False
    kept = False

    def __init__(
        self,
        kernel_id: str,
        manager: AsyncKernelManager,
        provisioner: KernelProvisionerBase,
        info: ConnectionInfo,
        oom: OomWatch | None,
    ) -> None:
        self.kernel_id = kernel_id
        self.connection = info
        self.command: Sequence[str] = ()
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self.port_watch = PortWatch(info, manager)
        self._manager = manager
        self._provisioner = provisioner
        self._oom = oom
        self._stderr: StderrReader | None = None
        self._tasks = TaskSet()  # the watch for its exit

    @property
    def pid(self) -> int | None:
        """The process id; None for a kernel on another machine."""
        pid = getattr(self._provisioner, "pid", None) if is_local(self._provisioner) else None
        return pid if isinstance(pid, int) and pid > 0 else None

    @property
    def interrupt_mode(self) -> str:
        """How the kernel is interrupted: by `signal` or by `message`."""
        spec = self._manager.kernel_spec
        return str(spec.interrupt_mode) if spec is not None else "signal"

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The kernelspec's metadata."""
        spec = self._manager.kernel_spec
        return spec.metadata if spec is not None else {}

    @property
    def kernelspec(self) -> Mapping[str, Any]:
        """The kernelspec that the process was launched by, see kernelspec.spec_dict."""
        spec = self._manager.kernel_spec
        return spec_dict(spec) if spec is not None else {}

    @property
    def spec(self) -> KernelSpec | None:
        """The kernelspec that the process was launched by, for another launch."""
        return self._manager.kernel_spec

    def become(self, kernel_id: str, connection_file: Path, cwd: str, session_name: str = "") -> None:
        """Make this the process of another kernel, which has moved to the folder `cwd`.

        session_name: the notebook that the kernel is for, see SESSION_NAME.
        Raises OSError when the connection file cannot be moved, or when there is one of that name; nothing is changed
        then.
        """
        self._manager.move_connection_file(connection_file, session_name)  # type: ignore[attr-defined]  # our class
        self._manager.kernel_id = self.kernel_id = kernel_id
        if is_local(self._provisioner):
            self._provisioner.cwd = cwd  # type: ignore[attr-defined]  # of the local one, for resolve_path
        if self._stderr is not None:
            self._stderr.log.kernel_id = kernel_id

    def resolve_path(self, path: str) -> str | None:
        """`path` as the kernel would find it from its working directory, if that exists."""
        resolve = getattr(self._provisioner, "resolve_path", None)
        return resolve(path) if resolve is not None else None

    @classmethod
    async def launch(
        cls, kernel_id: str, options: LaunchOptions, specs: Kernelspecs, ledger: Ledger | None = None
    ) -> LaunchedProcess:
        """Start a process. It is running when this returns, but need not answer yet.

        ledger: where the connection file is written down.
        Raises KernelStartFailed when it cannot be started at all.
        """
        return await launch_by(kernel_id, options, specs, ledger, cls.begin)

    @classmethod
    async def begin(
        cls, kernel_id: str, manager: AsyncKernelManager, command: list[str], kwargs: dict[str, Any]
    ) -> LaunchedProcess:
        """Start the process that a manager has prepared, by way of its provisioner. See launch.launch_by."""
        provisioner = manager.provisioner
        assert provisioner is not None
        local = is_local(provisioner)  # also one whose class derives from the local one's
        process: LaunchedProcess | None = None
        stderr_read, stderr_write = os.pipe()
        try:
            if local:
                kwargs["stderr"] = kwargs["stdout"] = stderr_write  # else stdout would be the operator's terminal
            oom = OomWatch()
            info = await provisioner.launch_kernel(command, **kwargs)
            process = cls(kernel_id, manager, provisioner, ConnectionInfo.from_dict(dict(info)), oom)
            process.command = tuple(command)
            await provisioner.post_launch(**kwargs)
            if local:
                process._stderr = StderrReader(kernel_id, stderr_read, process.port_watch.look_at)
                stderr_read = -1  # it closes that
            process._watch(local)
        except BaseException:
            if process is not None:
                await process._tasks.close()
                if process._stderr is not None:
                    process._stderr.close()
            raise
        finally:
            os.close(stderr_write)
            if stderr_read >= 0:
                os.close(stderr_read)
        return process

    def _watch(self, local: bool) -> None:
        loop = asyncio.get_running_loop()
        name = f"exit of {self.kernel_id}"

        def on_exit(fd: int) -> None:
            remove_reader(loop, fd)
            os.close(fd)
            self._tasks.start(self._on_exit(), name=name)

        if (fd := open_pidfd(self.pid) if local and self.pid else None) is None:
            self._tasks.start(self._poll(LOCAL_POLL_INTERVAL_S if local else POLL_INTERVAL_S), name=name)
        else:
            add_reader(loop, fd, on_exit, fd)

    async def _poll(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            try:
                async with asyncio.timeout(POLL_TIMEOUT_S):
                    code = await self._provisioner.poll()
            except Exception as exc:  # a remote provisioner may fail in any way; ask again
                logger.warning("polling kernel %s failed: %s", self.kernel_id, exc)
                continue
            if code is not None:
                await self._on_exit()
                return

    async def _on_exit(self) -> None:
        pid = self.pid
        code = await self._provisioner.poll()
        out_of_memory = None
        if code == -signal.SIGKILL and pid is not None and self._oom is not None:
            out_of_memory = await asyncio.to_thread(self._oom.killed, pid)
        lines: tuple[str, ...] = ()
        if self._stderr is not None:
            await asyncio.wait([self._stderr.closed], timeout=STDERR_GRACE_S)
            lines = tuple(self._stderr.lines)
            self._stderr.close()
        if not self.exited.done():
            self.exited.set_result(ExitStatus(code, lines, out_of_memory))

    async def signal(self, signum: int) -> None:
        """Send a signal to the kernel's process group, in whatever way the provisioner does that."""
        if not self.exited.done():
            await self._provisioner.send_signal(signum)

    async def shutdown_requested(self) -> None:
        """Tell the provisioner that the kernel was asked to shut down."""
        await self._provisioner.shutdown_requested(restart=False)

    async def terminate(self) -> None:
        """Send SIGTERM, in whatever way the provisioner does that."""
        if not self.exited.done():
            await self._provisioner.terminate()

    async def kill(self) -> None:
        """Send SIGKILL, in whatever way the provisioner does that."""
        if not self.exited.done():
            await self._provisioner.kill()

    async def wait(self, timeout_s: float) -> bool:
        """Return True when the process is gone, False if it is not within `timeout_s` seconds."""
        await asyncio.wait([self.exited], timeout=max(0.0, timeout_s))
        return self.exited.done()

    async def clean_up(self) -> None:
        """Give back what the process used: connection file, ports, pipes. May be called twice."""
        if not self.exited.done():
            await self._tasks.close()
        if self._stderr is not None:
            self._stderr.close()
        if self.exited.done() and is_local(self._provisioner) and self._provisioner.has_process:
            await self._provisioner.wait()  # gone already: reaps it, closes its pipes
        self.port_watch.end()
        await self._give_back()

    async def _give_back(self) -> None:
        """Give back what the manager and the provisioner hold."""
        await clean_up(self._manager)
