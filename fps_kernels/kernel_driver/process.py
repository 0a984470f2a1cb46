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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import zmq

from ..descriptors import add_reader, need_descriptors, open_pidfd, remove_reader
from ..errors import FPSKernelsError, KernelStartFailed
from ..ledger import Ledger
from ..tasks import TaskSet
from .connection_file import MAX_SOCKET_PATH_BYTES, ConnectionInfo, new_socket_prefix, socket_path_bytes
from .env_values import for_remote, overriding
from .exit_status import ExitStatus
from .kernelspec import spec_dict
from .launch_trouble import leave_removed_folder, why_not_started
from .oom import OomWatch
from .own_connection_file import free_path, manager_class
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
DESCRIPTORS = 16
"""Descriptors that must be free for a launch. A kernel takes ten; with fewer, it would be connected only in part."""
STDERR_GRACE_S = 0.05
"""How long to wait for the rest of stderr after the exit: a grandchild may keep the pipe open."""


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """The options of a launch.

    kernel_name: the name of the kernelspec.
    cwd: the working directory.
    env: the environment, over which the kernelspec's own takes precedence.
    extra_env: environment variables that take precedence over both; the kernelspec's may be made from them.
    connection_dir: the folder for the connection file.
    encryption: whether connections are encrypted by CurveZMQ: `auto`, `required` or `disabled`.
    transport: how to talk to the kernel: `tcp` or `ipc`.
    spec: the kernelspec as it was found; None if it has to be looked for.
    """

    kernel_name: str
    cwd: str
    env: Mapping[str, str] = field(repr=False)
    extra_env: Mapping[str, str] = field(repr=False)
    connection_dir: Path
    encryption: str = "auto"
    transport: str = "tcp"
    spec: KernelSpec | None = field(default=None, repr=False, compare=False)


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


class LaunchedProcess:
    """A process that was launched from a kernelspec, by way of a provisioner."""

    may_be_busy = False

    def __init__(
        self,
        kernel_id: str,
        manager: AsyncKernelManager,
        provisioner: KernelProvisionerBase,
        info: ConnectionInfo,
        oom: OomWatch,
    ) -> None:
        self.kernel_id = kernel_id
        self.connection = info
        self.command: Sequence[str] = ()
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
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
            self._stderr.kernel_id = kernel_id

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
        try:
            spec = options.spec or await specs.find(options.kernel_name)
        except FPSKernelsError as exc:
            raise KernelStartFailed(f"Kernel {options.kernel_name} could not be started: {exc.message}") from exc
        encryption = options.encryption
        if encryption == "auto" and not zmq.has("curve"):
            encryption = "disabled"
        manager: AsyncKernelManager | None = None
        process: LaunchedProcess | None = None
        stderr_read = stderr_write = -1
        try:
            manager = (await asyncio.to_thread(manager_class))(
                kernel_name=options.kernel_name,
                kernel_spec_manager=specs.manager,
                config=specs.classes.provisioner_config(),
                # Provisioners that do not write the file by way of the manager see a name that is free.
                connection_file=str(free_path(options.connection_dir / f"kernel-{kernel_id}.json")),
            )
            manager.kernel_id = kernel_id
            manager.ledger = ledger  # type: ignore[attr-defined]  # our class
            manager._kernel_spec = spec  # it is not looked for again: that may take long, and it may be gone
            if options.transport == "ipc":
                manager.transport, manager.ip = "ipc", _socket_prefix(options.connection_dir)
            need_descriptors(DESCRIPTORS)
            options.connection_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            stderr_read, stderr_write = os.pipe()
            leave_removed_folder()
            # The provisioner makes the kernelspec's env from this, and the connection file.
            given = options.extra_env if specs.classes.is_local(spec) else for_remote(options.extra_env)
            command, kwargs = await manager.pre_start_kernel(
                cwd=options.cwd,
                env={**options.env, **given},
                transport_encryption=encryption,
            )
            provisioner = manager.provisioner
            assert provisioner is not None
            local = is_local(provisioner)  # also one whose class derives from the local one's
            # It has put the kernelspec's env over ours; extra_env takes precedence over both.
            requested = options.extra_env if local else for_remote(options.extra_env)
            kwargs["env"].update(overriding(requested, kwargs["env"], spec.env))
            if local:
                kwargs["stderr"] = kwargs["stdout"] = stderr_write  # else stdout would be the operator's terminal
            oom = OomWatch()
            info = await provisioner.launch_kernel(command, **kwargs)
            process = cls(kernel_id, manager, provisioner, ConnectionInfo.from_dict(dict(info)), oom)
            process.command = tuple(command)
            await provisioner.post_launch(**kwargs)
            if local:
                process._stderr = StderrReader(kernel_id, stderr_read)
                stderr_read = -1  # it closes that
            process._watch(local)
        except BaseException as exc:
            if stderr_read >= 0:
                os.close(stderr_read)
            if process is not None:
                await process._tasks.close()
                if process._stderr is not None:
                    process._stderr.close()
            if manager is not None:
                await end_launch(manager)
                await _clean_up(manager)
            if isinstance(exc, Exception):
                raise KernelStartFailed(why_not_started(options.kernel_name, options.cwd, exc)) from exc
            raise
        finally:
            if stderr_write >= 0:
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
        if code == -signal.SIGKILL and pid is not None:
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
        await self._give_back()

    async def _give_back(self) -> None:
        """Give back what the manager and the provisioner hold."""
        await _clean_up(self._manager)


def is_local(provisioner: KernelProvisionerBase) -> bool:
    """Whether a provisioner launches processes on this machine."""
    from jupyter_client.provisioning.local_provisioner import LocalProvisioner

    return isinstance(provisioner, LocalProvisioner)


def _socket_prefix(folder: Path) -> str:
    """Raises KernelStartFailed when the paths of sockets in the folder are too long."""
    if (size := socket_path_bytes(folder)) > MAX_SOCKET_PATH_BYTES:
        limit = f"more than the {MAX_SOCKET_PATH_BYTES} that are possible"
        raise KernelStartFailed(f"the paths of its ipc sockets would have {size} bytes, {limit}")
    return new_socket_prefix(folder)


async def end_launch(manager: AsyncKernelManager) -> None:
    """End the process of a launch that failed half-way, if there is one."""
    provisioner = manager.provisioner
    if provisioner is not None and provisioner.has_process:
        await provisioner.kill()
        if is_local(provisioner):
            await provisioner.wait()


async def _clean_up(manager: AsyncKernelManager) -> None:
    manager.cleanup_connection_file()
    manager.cleanup_ipc_files()
    if manager.provisioner is not None:
        try:
            await manager.provisioner.cleanup(restart=False)
        except Exception as exc:  # a kernel that was never launched has no ports to give back
            logger.debug("cleaning up after a kernel: %r", exc)
