"""Jupyter Server's manager of one kernel, whose life is a `KernelDriver`'s."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.ioloop.restarter import AsyncIOLoopKernelRestarter
from jupyter_server._tz import utcnow
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager, emit_kernel_action_event
from tornado.web import HTTPError

from ...errors import ExternalKernel, FPSKernelsError
from ...kernel_driver.client import KernelClient
from ...kernel_driver.connection_file import ConnectionInfo
from ...kernel_driver.held_ports import PortHolder
from ...kernel_driver.launcher import Launcher
from ...kernel_driver.lifecycle import LifecycleOptions
from ...kernel_driver.observer import LifecycleObserver
from ...kernel_driver.own_connection_file import move_connection_file
from ...kernel_server.connection import CLOSE_NORMAL
from ...kernels.keeping.keepsake import Keepsake
from ...kernels.kernel import Kernel
from ...kernels.runtime import KernelRuntime
from ...options import KernelsOptions
from ...tasks import TaskSet
from .hosted_launcher import HostedLauncher

SESSION_CHANGES = 2
"""Once it has made a session, JupyterLab sends its path and its name, each in a request of its own."""


class KernelError(HTTPError, RuntimeError):
    """An error of ours with its status and reason for REST; a RuntimeError, as jupyter_client's are."""

    def __init__(self, error: FPSKernelsError) -> None:
        super().__init__(error.status, escaped(error.message))


class RestartCallbacks(LifecycleObserver):
    """What others want to be called of a kernel's automatic restarts, as jupyter_client's restarter does.

    What a callback returns is awaited, should it be a coroutine.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self._callbacks: dict[str, list[Callable[[], Any]]] = {"restart": [], "dead": []}
        self.tasks = TaskSet()

    def add(self, callback: Callable[[], Any], event: str) -> None:
        """Have `callback()` called at each `restart`, or when the kernel is `dead`."""
        self._callbacks[event].append(callback)

    def remove(self, callback: Callable[[], Any], event: str) -> None:
        """Stop calling it. Does nothing for one that was not added."""
        with contextlib.suppress(ValueError):
            self._callbacks[event].remove(callback)

    def on_restarting(self, reason: str) -> None:
        self._call("restart")

    def on_dead(self, reason: str) -> None:
        self._call("dead")

    def _call(self, event: str) -> None:
        for callback in tuple(self._callbacks[event]):
            try:
                result = callback()
            except Exception:
                self._log.exception("A callback of a kernel's %s failed", event)
                continue
            if inspect.iscoroutine(result):
                self.tasks.start(result, name=f"callback of a kernel's {event}")


# Large: it fulfils the interface of jupyter_client's, which has 50 methods.
class FpsKernelManager(PortHolder, ServerKernelManager):
    """One kernel. Whoever has it may use it as jupyter_client's: `client()`, `connect_iopub()`, the ports.

    kernel: its driver and its web side; None before it is started, and for one that others
      started until `attach`.
    gone: whether it has been shut down.
    """

    parent: Any  # the manager of all kernels
    kernel: Kernel | None = None

    def __init__(self, **options: Any) -> None:
        self._set: dict[str, Any] = {"execution_state": "starting", "last_activity": utcnow(), "reason": ""}
        super().__init__(**options)
        self._launcher: HostedLauncher | None = None
        self._recorded: Launcher | None = None  # the same, as the keepsake has it
        self._options = KernelsOptions()
        self._settled, self._changes = asyncio.Event(), 0
        self.gone = False
        self._restart_callbacks = RestartCallbacks(self.log)

    def __del__(self) -> None:
        """Delete the connection file, as jupyter_client does, unless the kernel goes on without this server."""
        launcher = getattr(self, "_launcher", None)  # None also if the constructor has failed
        if launcher is not None and launcher.runs_kept:
            self._connection_file_written = False
        super().__del__()

    # jupyter_server sets these three for its clients, and we know them better once there is a kernel.

    @property
    def execution_state(self) -> str:
        """What the kernel is doing, as the REST API shows it."""
        return str(self.kernel.execution_state if self.kernel else self._set["execution_state"])

    @execution_state.setter
    def execution_state(self, state: str) -> None:
        self._set["execution_state"] = state

    @property
    def last_activity(self) -> datetime:
        """When the kernel was last active."""
        date: datetime = self.kernel.client.last_activity if self.kernel else self._set["last_activity"]
        return date

    @last_activity.setter
    def last_activity(self, date: datetime) -> None:
        self._set["last_activity"] = date

    @property
    def reason(self) -> str:
        """Why the kernel is dead, or does not respond."""
        return self.kernel.model().get("reason", "") if self.kernel else str(self._set["reason"])

    @reason.setter
    def reason(self, reason: str) -> None:
        self._set["reason"] = reason

    @property
    def kernel_client(self) -> KernelClient | None:
        """The connection that all share, see `KernelClient.add_listener`; None while there is no kernel."""
        return self.kernel.client if self.kernel else None

    def client(self, **options: Any) -> AsyncKernelClient:  # type: ignore[override]  # as in jupyter_client
        """Make a client of jupyter_client's, with a session of its own unless `options` has one.

        Those of jupyter_client share the manager's, hence their routing id and the ids of their messages: of two
        extensions with a client of one kernel, the first would get no replies, or the second's outputs as its own.
        """
        client = super().client(**options)
        if "session" not in options:
            client.session.session = str(uuid.uuid4())
        return client

    @property
    def lifecycle(self) -> LifecycleOptions:
        """The bounds on the kernel's life."""
        runtime: KernelRuntime = self.parent.runtime
        restarter = AsyncIOLoopKernelRestarter(parent=self)
        return replace(
            runtime.lifecycle,
            shutdown_wait_time_s=self.shutdown_wait_time,
            restart_limit=restarter.restart_limit if self.autorestart else 0,
        )

    def prepare(self, kernel_id: str) -> None:
        """Make the kernel, not started yet, so that WebSockets can wait for it."""
        self.kernel_id = kernel_id
        parent, lifecycle = self.parent, self.lifecycle
        launcher = HostedLauncher(self, parent.runtime.reaper, parent.pool, begin_kept=parent.keeping.begin_kept)
        recorded = parent.keeping.record(launcher, self, lifecycle.startup_timeout_s)
        self.make_kernel(launcher, recorded, lifecycle)

    def make_kernel(self, launcher: HostedLauncher, recorded: Launcher, lifecycle: LifecycleOptions) -> None:
        """Make the kernel.

        recorded: the launcher, as it is written down what becomes of its processes.
        """
        runtime: KernelRuntime = self.parent.runtime
        self._options = runtime.options
        self._launcher, self._recorded, self.gone = launcher, recorded, False
        self.kernel = runtime.make_launched_kernel(str(self.kernel_id), recorded, lifecycle)
        self.kernel.observers.add(self._restart_callbacks)
        self.parent.keeping.listen(self.kernel, launcher)

    def _note_options(self) -> None:
        """Have it written down what the next process is launched with."""
        if self._launcher is not None:
            self.parent.keeping.note_options(str(self.kernel_id), self._launcher.options)

    def move_connection_file(self, target: Path, session_name: str) -> None:
        """See own_connection_file.move_connection_file."""
        move_connection_file(Path(self.connection_file), target, session_name)
        self.connection_file = str(target)

    def adopt(self, other: FpsKernelManager) -> None:
        """Take over the process of a manager that was made as this one; the other is left with nothing."""
        provisioner, other.provisioner = other.provisioner, None
        assert provisioner is not None
        self.load_connection_info(other.get_connection_info())
        self.connection_file, self._connection_file_written = other.connection_file, True
        other._connection_file_written = False  # it deletes the file otherwise
        self.transport_encryption = other.transport_encryption
        self._kernel_spec = other.kernel_spec
        self._launch_args = dict(self._launcher.options) if self._launcher else {}
        self.shutting_down = False
        self.provisioner = provisioner
        provisioner.parent, provisioner.kernel_id = self, str(self.kernel_id)

    def take_over(self, options: Mapping[str, Any]) -> None:
        """Have the manager of a process that is kept as it was after the launch of that.

        options: what `start_kernel` would be given.
        """
        self._launch_args = dict(options)
        self._attempted_start = True
        self.shutting_down = False
        # Else its provisioner would choose other ports for the next process than those of the connection file.
        self.provisioner.ports_cached = self.cache_ports  # type: ignore[union-attr]  # of the local one

    def begin(self) -> None:
        """Begin the start of a kernel that was made, unless that has begun, and wait for nothing."""
        assert self.kernel is not None
        with self._pending():
            if self.kernel.starting is None:
                self.kernel.begin()

    def attach(self) -> None:
        """Connect to the kernel's process, which others have started, and serve it. Raises InvalidConnection."""
        info = ConnectionInfo.from_dict(self.get_connection_info())
        runtime: KernelRuntime = self.parent.runtime
        self.kernel = runtime.make_external_kernel(str(self.kernel_id), self.kernel_name, info)
        self.kernel.observers.add(self._restart_callbacks)
        self.begin()

    @contextlib.contextmanager
    def _pending(self) -> Iterator[None]:
        """Have `ready` tell how something ends, as jupyter_client's `in_pending_state` does."""
        ready = self._ready = asyncio.get_running_loop().create_future()
        try:
            yield
        except BaseException as exc:
            if not ready.done():
                ready.set_exception(exc)
                ready.exception()  # it is raised, too
            raise
        if not ready.done():
            ready.set_result(None)

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was started.")
    async def start_kernel(self, **options: Any) -> None:
        """Start the kernel; returns when its process runs, or when it answers (see `start_answer_s`).

        Raises what the manager or its provisioner raised; HTTPError with the reason if it is another one.
        """
        if self.kernel is None or self.gone:
            self.prepare(self.kernel_id or options.get("kernel_id") or str(uuid.uuid4()))
        kernel, launcher = self.kernel, self._launcher
        assert kernel is not None
        assert launcher is not None
        self._attempted_start = True
        launcher.options |= options
        self._note_options()
        answer_s = self._options.start_answer_s
        with self._pending():
            kernel.begin()
            self.parent.keeping.keepsake.follow(kernel)
            assert kernel.starting is not None
            ended = await (kernel.wait_started(answer_s) if answer_s else kernel.wait_launched(timeout_s=None))
            if ended:
                try:
                    with http_errors():
                        kernel.starting.result()
                except BaseException:
                    if not self.parent._using_pending_kernels():  # else it is listed, dead
                        await self._end(kernel, now=True, restart=False)
                    raise

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was restarted.")
    async def restart_kernel(self, now: bool = False, newports: bool = False, **options: Any) -> None:
        """Restart the kernel with the same ports, key and connection file.

        now: whether to end the process without asking it first; it is asked in any case, within `shutdown_wait_time`.
        newports: whether to choose other ports.
        options: replace those of the start.
        """
        kernel, launcher = self.kernel, self._launcher
        if kernel is None:
            raise RuntimeError("Cannot restart the kernel. No previous call to 'start_kernel'.")
        if launcher is None:  # others have started it, and it stays as it is
            raise KernelError(ExternalKernel(kernel.id, "restarted"))
        launcher.options |= options
        self._note_options()
        launcher.new_ports = newports
        with self._pending(), http_errors():
            await kernel.restart(self._options.restart_answer_s)

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was shutdown.")
    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        """End the kernel's process; one that others started goes on without us.

        now: whether to do so without asking it first.
        restart: whether the ports and the connection file are kept for another start.
        """
        kernel = self.kernel
        if kernel is None:
            return
        with self._pending():
            await self._end(kernel, now=now, restart=restart)

    async def _end(self, kernel: Kernel, *, now: bool, restart: bool) -> None:
        self.gone = True
        keepsake: Keepsake = self.parent.keeping.keepsake
        keepsake.ends(kernel.id)
        goes_on = self._recorded is not None and not self._recorded.owned
        try:
            await kernel.end(now=now)
            if self.owns_kernel and not goes_on:
                await self._async_cleanup_resources(restart=restart)
        finally:
            keepsake.gone(kernel.id)
        kernel.server.close(CLOSE_NORMAL, "the kernel is gone")
        await self._restart_callbacks.tasks.close()

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was interrupted.")
    async def interrupt_kernel(self) -> None:
        """Interrupt what the kernel is doing."""
        if self.kernel is None:
            await super().interrupt_kernel()
            return
        with http_errors():
            await self.kernel.driver.interrupt()

    def update_env(self, *, env: Mapping[str, str]) -> None:
        """Set environment variables of the kernel's next process, as each change of its session does."""
        self._changes += 1
        if self._changes == SESSION_CHANGES:
            self._settled.set()
        if self._launcher is not None:
            self._launcher.set_environment(env)
            self._note_options()

    async def wait_settled(self, timeout_s: float) -> None:
        """Wait until JupyterLab has said what the kernel's session is called, but no longer than so many seconds.

        Only then does it listen to the kernel's state. Returns at once for a kernel that has no session.
        """
        if self._launcher is not None and "JPY_SESSION_NAME" in (self._launcher.options.get("env") or {}):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), timeout_s)

    def start_restarter(self) -> None:
        """Does nothing: the driver sees a death at once, and the shared client has a control channel."""

    stop_restarter = _connect_control_socket = start_restarter

    def add_restart_callback(self, callback: Callable[[], Any], event: str = "restart") -> None:
        """Have `callback()` called at each automatic restart, or when the kernel is dead.

        event: `restart` or `dead`.
        """
        self._restart_callbacks.add(callback, event)

    def remove_restart_callback(self, callback: Callable[[], Any], event: str = "restart") -> None:
        """Stop calling a callback. Does nothing for one that was not added."""
        self._restart_callbacks.remove(callback, event)


@contextlib.contextmanager
def http_errors() -> Iterator[None]:
    """Raise our errors as jupyter_server's, with their reasons, and those of jupyter_client as they are."""
    try:
        yield
    except FPSKernelsError as exc:
        if exc.__cause__ is not None and type(exc.__cause__).__module__.startswith("jupyter_client."):
            raise exc.__cause__ from None
        raise KernelError(exc) from exc


def escaped(message: str) -> str:
    """The message as tornado wants it, which takes % for the place of an argument."""
    return message.replace("%", "%%")
