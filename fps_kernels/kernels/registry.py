"""All kernels of this server, by id: how they come, go and are found."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NotRequired, Protocol, TypedDict

import zmq

from ..errors import (
    ExternalKernel,
    FPSKernelsError,
    KernelNotFound,
    KernelspecNotFound,
    LimitReached,
    ServerStopping,
)
from ..kernel_driver.client import KernelClient
from ..kernel_driver.connection_file import ConnectionInfo
from ..kernel_driver.driver import KernelDriver, LifecycleObserver, LifecycleOptions, Observers, Prepare
from ..kernel_driver.external import ExternalDriver
from ..kernel_driver.heartbeat import HeartbeatOptions
from ..kernel_driver.kernelspec import Kernelspecs
from ..kernel_driver.process import LaunchOptions
from ..kernel_driver.reaper import Reaper
from ..kernel_driver.state import ExecutionState
from ..kernel_server.connection import CLOSE_NORMAL, CLOSE_RESTART
from ..kernel_server.iopub_log import ReplayLimits
from ..kernel_server.rate_limit import RateLimits
from ..kernel_server.server import KernelServer, ServerLimits
from ..options import KernelsOptions
from ..serving.malloc_trim import release_memory
from .culler import CullPolicy
from .launch_environment import request_environment, session_environment
from .prewarm import FOLDER, WarmKernels
from .start_policy import StartPolicy

logger = logging.getLogger(__name__)

MAX_SOCKETS = 16_384
"""libzmq's own limit of 1,023 sockets would be reached at 250 kernels."""


class KernelModel(TypedDict):
    id: str
    name: str
    last_activity: str
    execution_state: str
    connections: int
    reason: NotRequired[str]


class Driver(Protocol):
    """What KernelDriver and ExternalDriver have in common."""

    kernel_id: str
    client: KernelClient
    observer: LifecycleObserver

    @property
    def name(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    def resolve_path(self, path: str) -> str | None: ...
    def set_environment(self, **names: str) -> None: ...
    async def start(self) -> None: ...
    async def interrupt(self) -> None: ...
    async def restart(self) -> None: ...
    async def shutdown(self, *, now: bool = False) -> None: ...


class Kernel:
    """A kernel of the registry: its driver, its web side, and the tasks that start and stop it."""

    def __init__(self, driver: Driver, limits: ServerLimits, *, external: bool = False) -> None:
        self.driver = driver
        self.external = external
        self.server = KernelServer(driver.client, limits)
        self.observers = Observers(self.server)
        self.stop_callbacks: list[Callable[[], Awaitable[None]]] = []
        self.starting: asyncio.Task[None] | None = None
        self.stopping: asyncio.Task[None] | None = None
        driver.observer = self.observers

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Have `callback()` awaited once, when the kernel's process has ended."""
        self.stop_callbacks.append(callback)

    @property
    def id(self) -> str:
        return self.driver.kernel_id

    @property
    def execution_state(self) -> ExecutionState:
        return self.driver.client.execution_state

    def model(self) -> KernelModel:
        """What the REST API shows."""
        state = self.driver.client.state
        model: KernelModel = {
            "id": self.id,
            "name": self.driver.name,
            "last_activity": format_date(state.last_activity),
            "execution_state": state.execution_state.value,
            "connections": self.server.connections,
        }
        reason = state.reason or state.unwell
        if reason:
            model["reason"] = reason
        return model


def format_date(date: datetime) -> str:
    """UTC with microseconds, always, and Z: GatewayClient's parser fails on anything else."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class KernelRegistry:
    """Starts, finds and stops kernels.

    on_removed: called with a kernel's id once it is gone for good.
    """

    def __init__(self, config: KernelsOptions, specs: Kernelspecs, policy: StartPolicy | None = None) -> None:
        self.specs = specs
        self.policy = policy or StartPolicy()
        self.started = datetime.now(UTC)
        self.stopping = False
        self._last_activity = self.started  # of kernels that are gone
        self.on_removed: Callable[[str], None] = lambda kernel_id: None
        self._watchers: list[Callable[[str], None]] = []
        self._config = config
        self._kernels: dict[str, Kernel] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._reaper = Reaper()
        self._chores: list[asyncio.Task[None]] = []  # from the first kernel on
        self._stop_task: asyncio.Task[None] | None = None
        self._limits = ServerLimits(
            ReplayLimits(config.buffer_max_messages, config.buffer_max_bytes, config.buffer_max_age_s),
            RateLimits(config.iopub_msg_rate_limit, config.iopub_data_rate_limit, config.rate_limit_window_s),
            socket_max_bytes=config.client_max_bytes,
        )
        self._cull_policy = CullPolicy(config.cull_idle_timeout_s, config.cull_connected, config.cull_busy)
        self._lifecycle = LifecycleOptions(
            startup_timeout_s=config.startup_timeout_s,
            shutdown_wait_time_s=config.shutdown_wait_time_s,
            restart_limit=config.restart_limit,
            restart_window_s=config.restart_window_s,
        )
        self.root = Path(config.root_dir or os.getcwd()).expanduser().resolve()
        self._not_prewarmed: set[str] = set()  # kernelspecs that are not there, which has been said
        self.prewarmed = WarmKernels(
            specs,
            wanted=self._wanted_warm,
            launch=self._launch_options,
            make=self._make_warm,
            room=self._room,
            busy=self._is_starting,
        )

    # --- finding ---------------------------------------------------------------------------------

    def __contains__(self, kernel_id: object) -> bool:
        return kernel_id in self._kernels

    def get(self, kernel_id: str) -> Kernel:
        """Raises KernelNotFound."""
        try:
            return self._kernels[kernel_id]
        except KeyError:
            raise KernelNotFound(kernel_id) from None

    def list(self) -> list[Kernel]:
        return list(self._kernels.values())

    def watch(self, callback: Callable[[str], None]) -> None:
        """Have `callback(kernel_id)` called for each kernel that is there, and for each that comes, at its start."""
        self._watchers.append(callback)
        for kernel_id in list(self._kernels):
            _call(callback, kernel_id)

    def unwatch(self, callback: Callable[[str], None]) -> None:
        """Nothing happens when it does not watch."""
        if callback in self._watchers:
            self._watchers.remove(callback)

    def status(self) -> dict[str, Any]:
        """For `GET /api/status`: activity of kernels, not of requests."""
        activity = [self._last_activity, *(kernel.driver.client.last_activity for kernel in self._kernels.values())]
        return {
            "connections": sum(kernel.server.connections for kernel in self._kernels.values()),
            "kernels": len(self._kernels),
            "last_activity": format_date(max(activity)),
            "started": format_date(self.started),
        }

    # --- starting --------------------------------------------------------------------------------

    async def start(
        self,
        name: str | None = None,
        *,
        kernel_id: str | None = None,
        path: str = "",
        env: Mapping[str, str] | None = None,
        session_path: str | None = None,
    ) -> Kernel:
        """Start a kernel; returns when it is ready, or after `start_answer_s` while it is starting.

        kernel_id: that of a kernel which is there already returns that one.
        path: of the notebook or folder it is for, relative to the contents root.
        session_path: of the notebook, for JPY_SESSION_NAME.
        Raises KernelspecNotFound, LimitReached, KernelStartFailed, ServerStopping. A kernel that did
        not start is not in the registry.
        """
        await self.wait_stopped(kernel_id)  # its id is free then
        kernel = self._kernels.get(kernel_id or "") or await self._create(
            name, kernel_id, path, dict(env or {}), session_path
        )
        await self._wait_started(kernel)
        return kernel

    async def _create(
        self, name: str | None, kernel_id: str | None, path: str, env: dict[str, str], session_path: str | None
    ) -> Kernel:
        name = self.policy.kernel_name(name)
        spec, cwd = await asyncio.to_thread(
            lambda: (self.specs.get(name), self.policy.working_directory(self.root, path, env))
        )
        # No await from here to the entry in the dictionary: that makes the limit hold for requests at once.
        if self.stopping:
            raise ServerStopping
        if kernel_id is not None and kernel_id in self._kernels:
            return self._kernels[kernel_id]
        self._admit()
        extra_env = self.policy.request_environment(request_environment(env, self._config.client_env))
        if session_path is not None:
            extra_env |= session_environment(self.root, session_path)
        options = self._options(spec.name, cwd, extra_env)
        driver = KernelDriver(
            kernel_id or str(uuid.uuid4()),
            options,
            self._lifecycle,
            self.specs,
            self.context,
            verify=self._config.verify_signatures,
            heartbeat=HeartbeatOptions(self._config.heartbeat_interval_s, self._config.heartbeat_timeout_s),
            reaper=self._reaper,
            prepare=self.policy.prepare,
            source=self.prewarmed,
        )
        return self._add(Kernel(driver, self._limits))

    def _options(self, name: str, cwd: Path, extra_env: Mapping[str, str]) -> LaunchOptions:
        return LaunchOptions(
            kernel_name=name,
            cwd=str(cwd),
            env=self.policy.environment(),
            extra_env=extra_env,
            connection_dir=self._connection_dir(),
            encryption=self._config.transport_encryption,
        )

    def _admit(self) -> None:
        room = self._room()
        if room is not None and room <= 0:
            raise LimitReached

    def _room(self) -> int | None:
        """How many more kernels there may be; None: no limit."""
        limit = self._config.max_kernels
        return None if limit is None else limit - sum(not kernel.external for kernel in self._kernels.values())

    # --- kernels that wait for somebody ----------------------------------------------------------

    def prewarm(self) -> None:
        """Begin to keep kernels ready, as many as the configuration says."""
        if self._config.prewarm:
            self.prewarmed.start()

    def _wanted_warm(self) -> dict[str, int]:
        """By the kernelspecs' names. Those that are not there are left out."""
        prewarm = self._config.prewarm
        asked = prewarm if isinstance(prewarm, dict) else {"": prewarm or 0}
        found: dict[str, int] = {}
        for name, count in asked.items():
            try:
                spec = self.specs.get(self.policy.kernel_name(name or None))
            except KernelspecNotFound as exc:
                if name not in self._not_prewarmed:
                    logger.warning("prewarm: %s", exc.message)
                self._not_prewarmed.add(name)
            else:
                found[spec.name] = count
        return found

    def _launch_options(self, name: str) -> LaunchOptions:
        """Of a kernel that is started without a word about it, for the pool."""
        cwd = self.policy.working_directory(self.root, "", {})
        options = self._options(name, cwd, self.policy.request_environment({}))
        with contextlib.suppress(OSError):  # the launch says so
            # The launch makes only the last folder private.
            options.connection_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return replace(options, connection_dir=options.connection_dir / FOLDER)

    def _make_warm(self, options: LaunchOptions, prepare: Prepare) -> KernelDriver:
        return KernelDriver(
            str(uuid.uuid4()),
            options,
            replace(self._lifecycle, restart_limit=0),
            self.specs,
            self.context,
            verify=self._config.verify_signatures,
            heartbeat=HeartbeatOptions(interval_s=0),
            reaper=self._reaper,
            prepare=prepare,
        )

    def _is_starting(self) -> bool:
        return any(kernel.starting is not None and not kernel.starting.done() for kernel in self._kernels.values())

    def _add(self, kernel: Kernel) -> Kernel:
        kernel.server.allow_messages(self._config.allowed_message_types)
        kernel.server.greet_as_asked = self.policy.greet_as_asked
        self._kernels[kernel.id] = kernel
        for callback in tuple(self._watchers):
            _call(callback, kernel.id)
        kernel.starting = asyncio.create_task(kernel.driver.start(), name=f"start {kernel.id}")
        kernel.starting.add_done_callback(lambda task: _log_failed_start(kernel, task))
        if not self._chores:
            chores = {"culling": self._cull(), "allocator": release_memory()}
            self._chores = [asyncio.create_task(chore, name=name) for name, chore in chores.items()]
        return kernel

    async def _wait_started(self, kernel: Kernel) -> None:
        starting = kernel.starting
        if starting is None:
            return
        await asyncio.wait([starting], timeout=self._config.start_answer_s)
        if not starting.done():
            return
        error = None if starting.cancelled() else starting.exception()
        if self.stopping and (error is not None or starting.cancelled()):
            raise ServerStopping
        if error is not None and kernel.id in self._kernels:
            await self._remove(kernel)
        if error is not None:
            raise error

    def add_external(self, kernel_id: str, name: str, info: ConnectionInfo) -> Kernel:
        """Connect to a kernel that somebody else started; it is listed at once."""
        driver = ExternalDriver(
            kernel_id,
            name,
            info,
            self._config.startup_timeout_s,
            self.context,
            verify=self._config.verify_signatures,
            heartbeat=HeartbeatOptions(self._config.heartbeat_interval_s, self._config.heartbeat_timeout_s),
        )
        return self._add(Kernel(driver, self._limits, external=True))

    def rename_session(self, kernel: Kernel, session_path: str) -> None:
        """The notebook of a kernel was renamed: its next process is told."""
        kernel.driver.set_environment(**session_environment(self.root, session_path))

    # --- stopping --------------------------------------------------------------------------------

    async def shutdown(self, kernel_id: str) -> None:
        """Stop a kernel and forget it; returns when its process is gone.

        Raises KernelNotFound, ExternalKernel.
        """
        kernel = self.get(kernel_id)
        if kernel.external:
            raise ExternalKernel(kernel_id, "shut down")
        await self._remove(kernel)

    async def wait_stopped(self, kernel_id: str | None) -> None:
        """Return once a kernel that is being shut down is gone; at once for any other, and for none."""
        kernel = self._kernels.get(kernel_id or "")
        if kernel is not None and kernel.stopping is not None:
            await asyncio.wait([kernel.stopping])

    async def remove_external(self, kernel_id: str) -> None:
        """Forget an external kernel, which goes on. Nothing happens when it is not there."""
        kernel = self._kernels.get(kernel_id)
        if kernel is not None and kernel.external:
            await self._remove(kernel)

    async def _remove(self, kernel: Kernel) -> None:
        if kernel.stopping is None:
            kernel.stopping = asyncio.create_task(self._stop(kernel), name=f"stop {kernel.id}")
        # A client that hangs up must not leave a kernel half stopped.
        await asyncio.shield(kernel.stopping)

    async def _stop(self, kernel: Kernel) -> None:
        try:
            await kernel.driver.shutdown()
            if kernel.starting is not None:
                kernel.starting.cancel()
                await asyncio.gather(kernel.starting, return_exceptions=True)
        finally:
            for callback in kernel.stop_callbacks:
                await callback()
            if self._kernels.get(kernel.id) is kernel:
                del self._kernels[kernel.id]
                self.prewarmed.make_room()
                self._last_activity = max(self._last_activity, kernel.driver.client.last_activity)
                self.on_removed(kernel.id)
            code = CLOSE_RESTART if self.stopping else CLOSE_NORMAL
            kernel.server.close(code, "the server is shutting down" if self.stopping else "the kernel is gone")

    async def _cull(self) -> None:
        """Shut down kernels that nobody uses, as long as there is a registry."""
        while True:
            await asyncio.sleep(self._config.cull_interval_s)
            doomed = [kernel for kernel in self.list() if self._is_to_be_culled(kernel)]
            results = await asyncio.gather(*map(self._remove, doomed), return_exceptions=True)
            for kernel, result in zip(doomed, results, strict=True):
                if isinstance(result, Exception):
                    logger.error("kernel %s could not be culled", kernel.id, exc_info=result)

    def _is_to_be_culled(self, kernel: Kernel) -> bool:
        if kernel.external or kernel.stopping is not None:
            return False
        state = kernel.driver.client.state
        policy = self._cull_policy.for_kernelspec(kernel.driver.metadata)
        cull, why = policy.verdict(
            datetime.now(UTC), state.last_activity, state.execution_state, kernel.server.connections
        )
        logger.log(
            logging.INFO if cull else logging.DEBUG,
            "kernel %s (%s) is %s: %s",
            kernel.id,
            kernel.driver.name,
            "culled" if cull else "not culled",
            why,
        )
        return cull

    async def restart(self, kernel_id: str) -> Kernel:
        """Returns when the new process answers. Raises KernelNotFound, KernelStartFailed, ExternalKernel."""
        kernel = self.get(kernel_id)
        await kernel.driver.restart()
        return kernel

    async def interrupt(self, kernel_id: str) -> None:
        """Raises KernelNotFound; Conflict while the kernel is starting."""
        await self.get(kernel_id).driver.interrupt()

    async def stop(self) -> None:
        """Stop all kernels at once, in bounded time, and accept no more.

        May be called again, also while it goes on: each call returns when all is done.
        """
        self.stopping = True
        if self._stop_task is None:
            self._stop_task = asyncio.create_task(self._stop_all(), name="stop all kernels")
        await asyncio.shield(self._stop_task)

    async def _stop_all(self) -> None:
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        for kernel in self._kernels.values():
            kernel.server.close(CLOSE_RESTART, "the server is shutting down")
        removals = (self._remove(kernel) for kernel in self.list())
        await asyncio.gather(self.prewarmed.close(), *removals, return_exceptions=True)
        await self.prewarmed.close()  # of those that a start had taken, and gave back when it was removed
        context, self._context = self._context, None
        if context is not None:
            context.destroy(linger=0)
        await self._reaper.close()

    # --- shared ----------------------------------------------------------------------------------

    @property
    def context(self) -> zmq.Context[zmq.Socket[bytes]]:
        """One ZMQ context, with its one I/O thread, for all kernels."""
        if self._context is None:
            self._context = zmq.Context()
            self._context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        return self._context

    def _connection_dir(self) -> Path:
        if self._config.connection_dir is not None:
            return Path(self._config.connection_dir).expanduser()
        from jupyter_core.paths import jupyter_runtime_dir

        return Path(jupyter_runtime_dir())


def _log_failed_start(kernel: Kernel, task: asyncio.Task[None]) -> None:
    """Also marks the exception as seen: nobody may be waiting for the task any more."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, FPSKernelsError):
        logger.warning("kernel %s (%s) did not start: %s", kernel.id, kernel.driver.name, error.message)
    elif error is not None:
        logger.error("kernel %s (%s) did not start", kernel.id, kernel.driver.name, exc_info=error)


def _call(callback: Callable[[str], None], kernel_id: str) -> None:
    try:
        callback(kernel_id)
    except Exception:  # a plugin's fault must not keep a kernel from starting
        logger.exception("a plugin that watches kernels failed")
