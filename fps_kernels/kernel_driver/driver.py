"""One kernel's life: start, ready, interrupt, restart, shutdown, and what to do when it dies."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import zmq

from ..errors import (
    Conflict,
    FPSKernelsError,
    KernelDied,
    KernelFailure,
    KernelNotConnected,
    KernelRestarted,
    KernelStartFailed,
    KernelTimeout,
    QueueFull,
)
from .client import KernelClient
from .heartbeat import HeartbeatOptions
from .kernelspec import Kernelspecs
from .process import ExitStatus, KernelProcess, LaunchOptions
from .reaper import Reaper
from .request_log import Request
from .state import ExecutionState

logger = logging.getLogger(__name__)

Prepare = Callable[[str, KernelClient], Awaitable[None]]
"""prepare(kernel_name, client): see StartPolicy.prepare."""
PORT_RETRIES = 3
"""Launches, when another process took a port between its choice and its use."""
PORT_TAKEN = ("Address already in use", "EADDRINUSE", "address in use")


@dataclass(frozen=True, slots=True)
class LifecycleOptions:
    """Bounds on the waits of a kernel's life, and how often it is restarted by itself.

    startup_timeout_s: from the launch to the first answer.
    shutdown_wait_time_s: for the polite ways to end, before SIGKILL.
    restart_limit: deaths within restart_window_s after which the kernel stays dead; 0: at the first.
    """

    startup_timeout_s: float = 60.0
    shutdown_wait_time_s: float = 5.0
    restart_limit: int = 5
    restart_window_s: float = 60.0
    restart_backoff_s: float = 0.5
    kill_timeout_s: float = 5.0


class LifecycleObserver:
    """What the web side hears of a kernel's life. The methods are called on the loop, in order."""

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        """These will not be answered by the kernel."""

    def on_interrupt(self) -> None:
        """A user wants the kernel to stop what it is doing."""

    def on_user_restart(self) -> None:
        """A user wants a new process; what the old one said is of no interest any more."""

    def on_restarting(self, reason: str) -> None:
        """The kernel died, and is being restarted without anybody asking."""

    def on_dead(self, reason: str) -> None:
        """The kernel is dead, and stays so until somebody restarts it."""


class Observers(LifecycleObserver):
    """Several observers as one; told in the order in which they were added."""

    def __init__(self, *observers: LifecycleObserver) -> None:
        self._observers = observers

    def add(self, observer: LifecycleObserver) -> None:
        self._observers = (*self._observers, observer)

    def __len__(self) -> int:
        return len(self._observers)

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        for observer in self._observers:
            observer.on_requests_failed(requests, error)

    def on_interrupt(self) -> None:
        for observer in self._observers:
            observer.on_interrupt()

    def on_user_restart(self) -> None:
        for observer in self._observers:
            observer.on_user_restart()

    def on_restarting(self, reason: str) -> None:
        for observer in self._observers:
            observer.on_restarting(reason)

    def on_dead(self, reason: str) -> None:
        for observer in self._observers:
            observer.on_dead(reason)


class _DiedAtStart(KernelStartFailed):
    """The process ended by itself before it answered."""

    @property
    def ename(self) -> str:
        return KernelStartFailed.__name__  # the difference is nobody else's business


class ProcessSource(Protocol):
    """Where a driver gets a process from that need not be launched, such as WarmKernels."""

    async def take(self, kernel_id: str, options: LaunchOptions) -> KernelProcess | None: ...
    def started(self, kernel_name: str) -> None: ...


class KernelDriver:
    """A kernel whose process is ours.

    client: the shared connection; stays the same over restarts. `client.state` has the state.
    source: asked for a process before one is launched.
    """

    def __init__(
        self,
        kernel_id: str,
        options: LaunchOptions,
        lifecycle: LifecycleOptions,
        specs: Kernelspecs,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        verify: bool = True,
        heartbeat: HeartbeatOptions | None = None,
        reaper: Reaper | None = None,
        prepare: Prepare | None = None,
        source: ProcessSource | None = None,
    ) -> None:
        self.kernel_id = kernel_id
        self.client = KernelClient(kernel_id, context, verify=verify, heartbeat=heartbeat)
        self.observer = LifecycleObserver()
        self._reaper = reaper
        self._prepare = prepare
        self._source = source
        self._options = options
        self._lifecycle = lifecycle
        self._specs = specs
        self._process: KernelProcess | None = None
        self._busy_with = asyncio.Lock()  # start, restart, shutdown: one at a time
        self._operation: asyncio.Task[None] | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._deaths: deque[float] = deque(maxlen=100)
        self._closing = self._closed = False
        self._preparing = False

    @property
    def name(self) -> str:
        """The name of the kernelspec."""
        return self._options.kernel_name

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def reason(self) -> str | None:
        return self.client.state.reason

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The kernelspec's metadata."""
        return self._process.metadata if self._process else {}

    @property
    def kernelspec(self) -> Mapping[str, Any]:
        """What its process was launched by, see kernelspec.spec_dict; empty while there is none."""
        return self._process.kernelspec if self._process else {}

    @property
    def command(self) -> Sequence[str]:
        """Of its process; empty while there is none."""
        return self._process.command if self._process else ()

    def resolve_path(self, path: str) -> str | None:
        return self._process.resolve_path(path) if self._process else None

    def set_environment(self, **names: str) -> None:
        """Environment variables for the next process, as after a rename of the notebook."""
        self._options = replace(self._options, extra_env={**self._options.extra_env, **names})

    # --- start -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Launch the process and return when it answers.

        Raises KernelStartFailed when it does not; nothing is left behind then. Raises Conflict when
        the kernel is shut down meanwhile.
        """
        await self._run(self._first_start(), f"start {self.kernel_id}")

    async def _first_start(self) -> None:
        try:
            await self._start()
        except FPSKernelsError as exc:
            self._become_dead(exc.message)
            raise
        except asyncio.CancelledError:
            self._give_up("The start of the kernel was cancelled")
            raise

    async def _run(self, operation: Coroutine[Any, Any, None], name: str) -> None:
        """Start and restart exclude each other; a shutdown does not wait for them, it ends them."""
        async with self._busy_with:
            if self._closing:
                operation.close()
                raise Conflict("The kernel is being shut down")
            task = self._operation = asyncio.create_task(operation, name=name)
            try:
                await task
            except asyncio.CancelledError:
                if self._closing and task.cancelled():
                    raise Conflict("The kernel was shut down before it was ready") from None
                raise
            finally:
                self._operation = None

    async def _start(self) -> None:
        if self._source is not None:
            process = await self._source.take(self.kernel_id, self._options)
            if process is not None and await self._run_taken(process):
                return
        for attempt in range(1, PORT_RETRIES + 1):
            process = await KernelProcess.launch(self.kernel_id, self._options, self._specs)
            self._have_reaped(process)
            logger.info("kernel %s (%s) launched, pid %s", self.kernel_id, self.name, process.pid)
            try:
                await self._become_ready(process)
            except KernelStartFailed:
                status = process.exited.result() if process.exited.done() else None
                if _port_taken(status) and attempt < PORT_RETRIES:
                    logger.warning("kernel %s: a port was taken, trying others", self.kernel_id)
                    continue
                raise
            if self._source is not None:
                self._source.started(self.name)
            return

    async def _run_taken(self, process: KernelProcess) -> bool:
        """False when it died just now, as it was handed over: no reason not to launch another."""
        self._preparing = False
        try:
            await self._become_ready(process)
        except _DiedAtStart:
            if self._preparing:  # what is done to prepare a kernel may have ended it, and is done once
                raise
            return False
        return True

    async def _become_ready(self, process: KernelProcess) -> None:
        """Have the process for ours once it answers; it is ended when it does not."""
        self._process = process
        try:
            await self._handshake(process)
        except BaseException:
            self._process = None
            await self._stop_process(process, now=True)
            raise
        self._watchdog = asyncio.create_task(self._watch(process), name=f"watchdog {self.kernel_id}")
        logger.info("kernel %s is ready", self.kernel_id)

    async def release(self, kernel_id: str, connection_file: Path, cwd: str) -> KernelProcess:
        """Give the process away as it runs, to another kernel; there is nothing to shut down here then.

        See KernelProcess.become. Raises KernelDied when there is none, OSError when its connection file cannot be
        moved; it is this driver's as before then, and can only be shut down.
        """
        async with self._busy_with:
            process = self._process
            if process is None or process.exited.done():
                raise KernelDied("The kernel is dead")
            watchdog, self._watchdog = self._watchdog, None
            if watchdog is not None:
                watchdog.cancel()
                await asyncio.gather(watchdog, return_exceptions=True)
            await self.client.close()
            process.become(kernel_id, connection_file, cwd)
            self._process = None  # nothing is awaited from here on: it is always somebody's
            self._closing = self._closed = True
            return process

    def _have_reaped(self, process: KernelProcess) -> None:
        reaper, pid = self._reaper, process.pid
        if reaper is not None and pid is not None:
            reaper.watch(pid)
            process.exited.add_done_callback(lambda _: reaper.forget(pid))

    async def _handshake(self, process: KernelProcess) -> None:
        try:
            self.client.connect(process.connection)
        except KernelNotConnected as exc:
            raise KernelStartFailed(exc.message) from exc
        answer = asyncio.create_task(
            self.client.handshake(self._lifecycle.startup_timeout_s, prepare=self._prepared),
            name=f"handshake {self.kernel_id}",
        )
        try:
            waiting: set[asyncio.Future[Any]] = {answer, process.exited}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answer.result()
                return
        except KernelTimeout as exc:
            raise KernelStartFailed(f"Kernel {self.name} did not start: {exc.message}") from exc
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
        raise _DiedAtStart(f"Kernel {self.name} died at start: {process.exited.result().reason}")

    async def _prepared(self) -> None:
        if self._prepare is not None:
            self._preparing = True
            await self._prepare(self.name, self.client)

    # --- watchdog --------------------------------------------------------------------------------

    async def _watch(self, process: KernelProcess) -> None:
        status = await asyncio.shield(process.exited)
        async with self._busy_with:
            if process is not self._process or self._closing:
                return
            await self._revive(process, status)

    async def _revive(self, process: KernelProcess, status: ExitStatus) -> None:
        """The process is gone though nobody asked for it: restart it, or give up."""
        reason = f"The kernel died: {status.reason}"
        while True:
            logger.warning("kernel %s: %s", self.kernel_id, reason)
            self._process = None
            if not self._may_restart():
                await self._let_go(process)
                self._become_dead(reason)
                return
            self._fail_requests(KernelDied(reason))
            self.client.change_state(ExecutionState.RESTARTING, reason)
            self.observer.on_restarting(reason)
            await self._let_go(process)
            await asyncio.sleep(self._backoff())
            if self._closing:
                return
            try:
                await self._start()
                return
            except FPSKernelsError as exc:
                reason = exc.message

    def _may_restart(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._deaths.append(now)
        while now - self._deaths[0] > self._lifecycle.restart_window_s:
            self._deaths.popleft()
        return len(self._deaths) <= self._lifecycle.restart_limit

    def _backoff(self) -> float:
        """Nothing at the first death, then ever longer."""
        recent = len(self._deaths) - 1
        return 0.0 if recent <= 0 else min(self._lifecycle.restart_backoff_s * 2 ** (recent - 1), 10.0)

    def _become_dead(self, reason: str) -> None:
        self._fail_requests(KernelDied(reason))
        self.client.disconnect()
        self.client.change_state(ExecutionState.DEAD, reason)
        self.observer.on_dead(reason)

    def _give_up(self, reason: str) -> None:
        """Whoever waited for a start has gone. After a shutdown, that says itself what happened."""
        if not self._closing:
            self._become_dead(reason)

    def _fail_requests(self, error: FPSKernelsError) -> None:
        requests = self.client.fail_requests(error)
        if requests:
            self.observer.on_requests_failed(requests, error)

    # --- what users ask for ----------------------------------------------------------------------

    async def interrupt(self) -> None:
        """Interrupt what the kernel is doing, by signal or by message as its kernelspec says.

        Raises Conflict while it is not ready.
        """
        state = self.client.execution_state
        if state is ExecutionState.DEAD:
            raise Conflict(f"The kernel is dead: {self.reason}")
        process = self._process
        if not self.client.state.ready or process is None:
            raise Conflict(f"The kernel is {state.value}: it cannot be interrupted now")
        self.observer.on_interrupt()
        if process.interrupt_mode == "message":
            self.client.ask_now("control", "interrupt_request")
        else:
            await process.signal(signal.SIGINT)

    async def restart(self) -> None:
        """A new process under the same id; returns when it answers.

        The old one is shut down first. Listeners stay; requests in flight fail with
        KernelRestarted. Raises KernelStartFailed; the kernel is dead then, and can be restarted again.
        """
        await self._run(self._restart(), f"restart {self.kernel_id}")

    async def _restart(self) -> None:
        process = self._process
        self._process = None  # from here on its end is no surprise to the watchdog
        self.client.change_state(ExecutionState.RESTARTING)
        self.client.mute()
        self.observer.on_user_restart()
        self._fail_requests(KernelRestarted("The kernel was restarted"))
        self._deaths.clear()
        try:
            if process is not None:
                await self._stop_process(process, now=False)
            await self._start()
        except FPSKernelsError as exc:
            self._become_dead(exc.message)
            raise
        except asyncio.CancelledError:
            self._give_up("The restart of the kernel was cancelled")
            raise

    async def shutdown(self, *, now: bool = False) -> None:
        """End the process, in steps and in bounded time, and close everything. May be called twice.

        now: without asking it first.
        """
        self._closing = True
        for task in (self._operation, self._watchdog):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        async with self._busy_with:
            if self._closed:
                return
            self._closed = True
            process, self._process = self._process, None
            self.client.change_state(ExecutionState.TERMINATING)
            if process is not None:
                await self._stop_process(process, now=now)
            self._become_dead("The kernel was shut down")
            await self.client.close()

    # --- the end of a process --------------------------------------------------------------------

    async def _stop_process(self, process: KernelProcess, *, now: bool) -> None:
        """Ask, SIGTERM, SIGKILL, each with its share of the time; then clean up."""
        wait_s = self._lifecycle.shutdown_wait_time_s / 2
        try:
            if now or process.exited.done() or not await self._ask_to_stop(process, wait_s):
                if not now:
                    await process.terminate()
                    await process.wait(wait_s)
                await self._kill(process)
        except asyncio.CancelledError:  # nobody else knows the process any more
            await self._kill(process)
            raise
        finally:
            try:
                self.client.disconnect()
            finally:
                await process.clean_up()

    async def _kill(self, process: KernelProcess) -> None:
        await process.kill()
        if not await process.wait(self._lifecycle.kill_timeout_s):
            logger.error("kernel %s: process %s does not end", self.kernel_id, process.pid)

    async def _ask_to_stop(self, process: KernelProcess, wait_s: float) -> bool:
        try:
            if self.client.execution_state is not ExecutionState.STARTING and process.interrupt_mode == "signal":
                # A cell that runs keeps many kernels from shutting down.
                await process.signal(signal.SIGINT)
            self.client.ask_now("control", "shutdown_request", {"restart": False})
            await process.shutdown_requested()
        except (KernelFailure, QueueFull, OSError) as exc:
            logger.debug("kernel %s cannot be asked to stop: %s", self.kernel_id, exc)
            return False
        return await process.wait(wait_s)

    async def _let_go(self, process: KernelProcess) -> None:
        self.client.disconnect()
        await process.clean_up()


def _port_taken(status: ExitStatus | None) -> bool:
    return status is not None and any(sign in line for line in status.stderr for sign in PORT_TAKEN)
