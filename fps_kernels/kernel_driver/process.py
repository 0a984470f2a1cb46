"""Launch a kernel's process and know at once when it exits.

jupyter_client's manager and provisioners do the launching, so that every provisioner on PyPI works
from a kernelspec's metadata; one manager per process, never reused. Talking to the kernel is the
client's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import KernelStartFailed
from .connection_file import ConnectionInfo
from .exit_status import ExitStatus, without_paths
from .kernelspec import spec_dict
from .oom import OomWatch
from .stderr import StderrReader

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

    from .kernelspec import Kernelspecs

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0
"""How often a process is looked at that has no pidfd: a remote one, or not on Linux."""
POLL_TIMEOUT_S = 30.0
STDERR_GRACE_S = 0.05
"""After the exit, how long to wait for the rest of stderr; a grandchild may hold the pipe for ever."""


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What a kernel is launched with.

    env: the environment before the kernelspec's own; extra_env wins over that as well.
    encryption: auto, required or disabled (CurveZMQ).
    """

    kernel_name: str
    cwd: str
    env: Mapping[str, str] = field(repr=False)
    extra_env: Mapping[str, str] = field(repr=False)
    connection_dir: Path
    encryption: str = "auto"


class KernelProcess:
    """One launched process of a kernel, from its launch to its exit.

    exited: a future with the ExitStatus; it is done as soon as the process is gone.
    connection: where the provisioner says that it listens. command: what was launched.
    """

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
        self._watcher: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The local process id; None for a kernel elsewhere."""
        pid = getattr(self._provisioner, "pid", None) if _is_local(self._provisioner) else None
        return pid if isinstance(pid, int) and pid > 0 else None

    @property
    def interrupt_mode(self) -> str:
        spec = self._manager.kernel_spec
        return str(spec.interrupt_mode) if spec is not None else "signal"

    @property
    def metadata(self) -> Mapping[str, Any]:
        spec = self._manager.kernel_spec
        return spec.metadata if spec is not None else {}

    @property
    def kernelspec(self) -> Mapping[str, Any]:
        """What it was launched by, see kernelspec.spec_dict."""
        spec = self._manager.kernel_spec
        return spec_dict(spec) if spec is not None else {}

    def become(self, kernel_id: str, connection_file: Path, cwd: str) -> None:
        """It is that kernel's from now on, and has gone to `cwd`. Raises OSError, and has changed nothing then."""
        os.replace(self._manager.connection_file, connection_file)
        self._manager.connection_file = str(connection_file)
        self._manager.kernel_id = self.kernel_id = kernel_id
        if _is_local(self._provisioner):
            self._provisioner.cwd = cwd  # type: ignore[attr-defined]  # of the local one, for resolve_path
        if self._stderr is not None:
            self._stderr.kernel_id = kernel_id

    def resolve_path(self, path: str) -> str | None:
        """`path` as the kernel would find it from its working directory, if that exists."""
        resolve = getattr(self._provisioner, "resolve_path", None)
        return resolve(path) if resolve is not None else None

    @classmethod
    async def launch(cls, kernel_id: str, options: LaunchOptions, specs: Kernelspecs) -> KernelProcess:
        """Start the process. It runs when this returns, which does not mean that it answers.

        Raises KernelStartFailed when it cannot be started at all.
        """
        manager_class = await asyncio.to_thread(_import_manager)
        manager = manager_class(
            kernel_name=options.kernel_name,
            kernel_spec_manager=specs.manager,
            connection_file=str(options.connection_dir / f"kernel-{kernel_id}.json"),
        )
        manager.kernel_id = kernel_id
        stderr_read = stderr_write = -1
        try:
            options.connection_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            stderr_read, stderr_write = os.pipe()
            command, kwargs = await manager.pre_start_kernel(
                cwd=options.cwd,
                env=dict(options.env),
                transport_encryption=_encryption(options.encryption),
            )
            # The provisioner has put the kernelspec's env over ours; what was asked for wins over both.
            kwargs["env"].update(options.extra_env)
            provisioner = manager.provisioner
            assert provisioner is not None
            local = _is_local(provisioner)
            if local:
                kwargs["stderr"] = stderr_write
            oom = OomWatch()
            info = await provisioner.launch_kernel(command, **kwargs)
            process = cls(kernel_id, manager, provisioner, ConnectionInfo.from_dict(dict(info)), oom)
            process.command = tuple(command)
            await provisioner.post_launch(**kwargs)
            if local:
                process._stderr = StderrReader(kernel_id, stderr_read)
                stderr_read = -1  # it closes that
        except BaseException as exc:
            if stderr_read >= 0:
                os.close(stderr_read)
            await _abandon(manager)
            if isinstance(exc, Exception):
                raise KernelStartFailed(_why(options, exc)) from exc
            raise
        finally:
            if stderr_write >= 0:
                os.close(stderr_write)
        if stderr_read >= 0:
            os.close(stderr_read)
        process._watch(local)
        return process

    def _watch(self, local: bool) -> None:
        fd = -1
        if local and self.pid and sys.platform == "linux":
            try:
                fd = os.pidfd_open(self.pid)
            except OSError as exc:  # an old kernel, or no descriptor left
                logger.warning("no pidfd for kernel %s (%s): polling it", self.kernel_id, exc.strerror)
        loop = asyncio.get_running_loop()
        name = f"exit of {self.kernel_id}"
        if fd < 0:
            self._watcher = loop.create_task(self._poll(), name=name)
            return

        def on_exit() -> None:
            loop.remove_reader(fd)
            os.close(fd)
            self._watcher = loop.create_task(self._on_exit(), name=name)

        loop.add_reader(fd, on_exit)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
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
        """Send a signal to the kernel's process group, or what the provisioner makes of it."""
        if not self.exited.done():
            await self._provisioner.send_signal(signum)

    async def shutdown_requested(self) -> None:
        """Tell the provisioner that the kernel was asked to shut down."""
        await self._provisioner.shutdown_requested(restart=False)

    async def terminate(self) -> None:
        if not self.exited.done():
            await self._provisioner.terminate()

    async def kill(self) -> None:
        if not self.exited.done():
            await self._provisioner.kill()

    async def wait(self, timeout_s: float) -> bool:
        """True when the process is gone within `timeout_s` seconds."""
        await asyncio.wait([self.exited], timeout=max(0.0, timeout_s))
        return self.exited.done()

    async def clean_up(self) -> None:
        """Give back what the process used: connection file, ports, pipes. May be called twice."""
        if self._watcher is not None and not self.exited.done():
            self._watcher.cancel()
        if self._stderr is not None:
            self._stderr.close()
        if self.exited.done() and _is_local(self._provisioner) and self._provisioner.has_process:
            await self._provisioner.wait()  # gone already: reaps it, closes its pipes
        await _clean_up(self._manager)


def _import_manager() -> type[AsyncKernelManager]:
    from jupyter_client.manager import AsyncKernelManager

    return AsyncKernelManager


def _is_local(provisioner: KernelProvisionerBase) -> bool:
    from jupyter_client.provisioning.local_provisioner import LocalProvisioner

    return isinstance(provisioner, LocalProvisioner)


def _encryption(policy: str) -> str:
    import zmq

    return "disabled" if policy == "auto" and not zmq.has("curve") else policy


async def _abandon(manager: AsyncKernelManager) -> None:
    """End a launch that failed half-way."""
    provisioner = manager.provisioner
    if provisioner is not None and provisioner.has_process:
        await provisioner.kill()
        if _is_local(provisioner):
            await provisioner.wait()
    await _clean_up(manager)
    with contextlib.suppress(OSError):  # of a file that was written only in part, the manager knows nothing
        os.unlink(manager.connection_file)


async def _clean_up(manager: AsyncKernelManager) -> None:
    manager.cleanup_connection_file()
    manager.cleanup_ipc_files()
    if manager.provisioner is not None:
        try:
            await manager.provisioner.cleanup(restart=False)
        except Exception as exc:  # a kernel that was never launched has no ports to give back
            logger.debug("cleaning up after a kernel: %r", exc)


def _why(options: LaunchOptions, exc: Exception) -> str:
    what = f"Kernel {options.kernel_name} could not be started"
    if isinstance(exc, OSError):
        program = f": {Path(str(exc.filename)).name}" if exc.filename and exc.filename != options.cwd else ""
        return f"{what}: {exc.strerror}{program}"
    return f"{what}: {without_paths(str(exc))}"
