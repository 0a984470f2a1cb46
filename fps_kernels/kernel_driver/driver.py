"""One kernel's life: start, ready, interrupt, restart, shutdown, and what happens when its process dies."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import (
    Conflict,
    ExternalKernel,
    FPSKernelsError,
    KernelDied,
    KernelInterrupted,
    KernelNotConnected,
    KernelRestarted,
    KernelStartFailed,
    KernelTimeout,
)
from ..tasks import TaskSet, cancel_and_wait
from .client import KernelClient
from .launcher import Launcher
from .lifecycle import PORT_RETRIES, LifecycleOptions
from .observer import LifecycleObserver
from .process import LaunchedProcess, Process, lost_port
from .restart_budget import RestartBudget
from .shutdown import end_process
from .state import ExecutionState
from .succession import Succession

logger = logging.getLogger(__name__)

Prepare = Callable[[str, KernelClient], Awaitable[None]]
"""prepare(kernel_name, client): see StartPolicy.prepare."""


# Large: each operation of a kernel's life shares its lock and its process; their parts are in shutdown.py and others.
class KernelDriver:
    """The life of one kernel: gets its processes, and keeps its client connected to the one that runs.

    client: the shared connection. It stays the same over restarts; `client.state` has the kernel's state.
    launcher: where the processes come from, and whether they are ours to stop and to restart.
    lifecycle: bounds on waits and restarts.
    prepare: awaited for each process that answers, before others can ask it anything.

    name: the name of the kernelspec.
    observer: told of what happens to the kernel; set by the owner.
    launched: set once the first process runs.
    overdue: set while the process has not answered within `startup_timeout_s`.
    """

    def __init__(
        self,
        client: KernelClient,
        launcher: Launcher,
        lifecycle: LifecycleOptions | None = None,
        *,
        prepare: Prepare | None = None,
    ) -> None:
        self.kernel_id = client.kernel_id
        self.client = client
        self.name = launcher.kernel_name
        self.observer = LifecycleObserver()
        self._launcher = launcher
        self._lifecycle = lifecycle = lifecycle or LifecycleOptions()
        self._prepare = prepare
        limit = lifecycle.restart_limit if launcher.owned else 0
        self._restarts = RestartBudget(limit, lifecycle.restart_window_s, lifecycle.restart_backoff_s)
        self.launched, self.overdue = asyncio.Event(), asyncio.Event()
        self._process: Process | None = None
        self._lock = asyncio.Lock()  # giving the process away, and shutdown: one at a time
        self._tasks = TaskSet()  # the start or restart, and the watchdog
        self._succession = Succession(self._tasks)
        self._closing = self._closed = False

    @property
    def pid(self) -> int | None:
        """The id of the process; None while there is none on this machine."""
        return self._process.pid if self._process else None

    @property
    def reason(self) -> str | None:
        """Why the kernel is dead, or is being restarted; None otherwise."""
        return self.client.state.reason

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The kernelspec's metadata; empty while there is no process."""
        return self._process.metadata if self._process else {}

    @property
    def kernelspec(self) -> Mapping[str, Any]:
        """The kernelspec that the process was launched by, see kernelspec.spec_dict; empty while there is none."""
        return self._process.kernelspec if self._process else {}

    @property
    def command(self) -> Sequence[str]:
        """The command of the process; empty while there is none."""
        return self._process.command if self._process else ()

    def resolve_path(self, path: str) -> str | None:
        """`path` as the kernel would find it from its working directory, if that exists. May block."""
        return self._process.resolve_path(path) if self._process else None

    def set_environment(self, **names: str) -> None:
        """Set environment variables of the next process, as after a rename of the notebook."""
        self._launcher.set_environment(names)

    async def start(self) -> None:
        """Get a process and return when it answers, however long that takes.

        Raises KernelStartFailed when it dies before; nothing is left behind then. Raises Conflict when the kernel is
        shut down meanwhile. With a kernel that others started, raises KernelTimeout or KernelNotConnected. A caller
        that is cancelled leaves the start alone, and one whose start is replaced by a restart waits for that.
        """
        if self._closing:
            raise Conflict("The kernel is being shut down")
        if not self._succession.running:  # else a restart was asked for before this had its turn
            self._operate(self._launch, "start")
        await self._succession.finish()

    async def restart(self) -> None:
        """Replace the process under the same id, and return when the new one answers.

        The old process is shut down first; one that is still starting is killed. Listeners stay; requests in flight
        fail with KernelRestarted. Two restarts at once are one as long as the old process is ending.
        Raises KernelStartFailed; the kernel is dead then, and can be restarted again. Raises Conflict when the kernel
        is shut down meanwhile, ExternalKernel when the process is not ours. A caller that is cancelled leaves the
        restart alone.
        """
        if not self._launcher.owned:
            raise ExternalKernel(self.kernel_id, "restarted")
        if self._closing:
            raise Conflict("The kernel is being shut down")
        if self._succession.ending:
            await self._succession.finish()
            return
        given_up = self._succession.give_up()  # it ends its process itself
        if given_up is not None:
            self.client.disconnect()
        self._succession.ending = True
        self.client.set_state(ExecutionState.RESTARTING)
        self.client.mute()
        self.observer.on_user_restart()
        self._fail_requests(KernelRestarted("The kernel was restarted"))
        self._restarts.reset()

        async def replace_process() -> None:
            try:
                if given_up is not None:
                    await asyncio.wait([given_up])
                process, self._process = self._process, None
                if process is not None:
                    await self._end(process, now=False)
            finally:
                self._succession.ending = False
            await self._launch()

        self._operate(replace_process, "restart")
        await self._succession.finish()

    async def reconnect(self) -> bool:
        """Connect again to a process that is not ours and was lost; whether it answers.

        Raises KernelStartFailed, KernelTimeout when it listens, but does not answer; Conflict when the kernel is shut
        down meanwhile.
        """
        if self.client.execution_state is not ExecutionState.DEAD or not await self._launcher.listens():
            return False
        if self._closing:
            raise Conflict("The kernel is being shut down")

        async def connect() -> None:
            self.client.set_state(ExecutionState.RESTARTING, "The kernel listens again")
            await self._launch()

        self._operate(connect, "reconnection")
        await self._succession.finish()
        return True

    def _operate(self, operation: Callable[[], Awaitable[None]], name: str) -> None:
        """Begin a start or restart in place of the last one. The kernel is dead if it fails; a shutdown cancels it."""

        async def run() -> None:
            try:
                await operation()
            except FPSKernelsError as exc:
                self._become_dead(exc.message)
                raise
            except Exception:
                logger.exception("the %s of kernel %s failed", name, self.kernel_id)
                self._become_dead(f"The server failed at the {name} of the kernel")
                raise
            finally:
                self.overdue.clear()

        self._succession.begin(run(), f"{name} {self.kernel_id}")

    async def _launch(self) -> None:
        """Get a process, and watch over it once it answers; it is ended when it does not.

        Another process is launched instead of one that was running already and dies as it is taken, and of one that
        cannot have a port. Raises KernelStartFailed.
        """
        process = await self._launcher.take(self.kernel_id)
        taken = process is not None
        launches = 0
        while True:
            if process is None:
                process = await self._launcher.launch(self.kernel_id)
                launches += 1
            self._process = process
            self.launched.set()
            preparing = asyncio.Event()
            try:
                await self._shake_hands(process, preparing, last=launches == PORT_RETRIES)
            except BaseException as exc:
                died, self._process = process.exited.done(), None
                await self._end(process, now=True)
                if taken and not launches:  # what prepares a kernel may have ended it, and is done only once
                    retry = died and not preparing.is_set()
                else:
                    retry = launches < PORT_RETRIES and lost_port(process)
                if not (retry and self._launcher.owned and isinstance(exc, KernelStartFailed)):
                    raise
                logger.warning("kernel %s: %s; launching another process", self.kernel_id, exc.message)
                process = None
                continue
            process.port_watch.end()
            self._tasks.start(self._watch(process), name=f"watchdog {self.kernel_id}")
            self.observer.on_ready("cold" if launches else "found" if process.may_be_busy else "warm")
            if launches:
                self._launcher.on_ready()
            return

    async def _shake_hands(self, process: Process, preparing: asyncio.Event, *, last: bool) -> None:
        """Connect, and return when the process answers and is prepared. Raises KernelStartFailed.

        preparing: set when the preparation begins. last: whether no other process is launched if this one lost a port.
        """

        async def prepare() -> None:
            if self._prepare is not None:
                preparing.set()
                await self._prepare(self.name, self.client)

        try:
            self.client.connect(process.connection)
        except KernelNotConnected as exc:
            raise KernelStartFailed(exc.message) from exc

        async def hear_answer() -> None:
            timeout_s, ask_control = self._lifecycle.startup_timeout_s, process.may_be_busy
            try:
                await self.client.handshake(timeout_s, ask_control=ask_control, prepare=prepare)
            except KernelTimeout as exc:
                if preparing.is_set() or not (self._launcher.owned and self._lifecycle.patient):
                    raise
                logger.warning("kernel %s: %s, but its process lives; waiting for it", self.kernel_id, exc.message)
                self.client.state.unresponsive = f"{exc.message}, but its process lives"
                self.overdue.set()
                await self.client.handshake(math.inf, ask_control=ask_control, prepare=prepare)
                self.client.state.unresponsive = None
                self.overdue.clear()

        answer = asyncio.create_task(hear_answer(), name=f"handshake {self.kernel_id}")
        try:
            waiting: set[asyncio.Future[Any]] = {answer, process.exited}
            if not last:
                waiting.add(process.port_watch.lost)  # it may live on without that channel: with no heartbeat, say
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answer.result()
                return
        except KernelTimeout as exc:
            if not self._launcher.owned:
                raise
            raise KernelStartFailed(f"Kernel {self.name} did not start: {exc.message}") from exc
        finally:
            await cancel_and_wait(answer)
        if not process.exited.done():
            raise KernelStartFailed(f"Kernel {self.name} did not start: another process has one of its ports")
        what = f"Kernel {self.name} died at start" if self._launcher.owned else "The kernel cannot be reached"
        raise KernelStartFailed(f"{what}: {process.exited.result().reason}")

    async def _watch(self, process: Process) -> None:
        """Wait for the end of the process. If that comes unasked, restart the kernel or leave it dead."""
        status = await asyncio.shield(process.exited)
        async with self._lock:
            if process is not self._process or self._closing or self._succession.ending:
                return
            self._process = None

        async def revive() -> None:
            reason = f"The kernel died: {status.reason}"
            self.observer.on_exit(status)
            while True:
                logger.warning("kernel %s: %s", self.kernel_id, reason)
                backoff_s = self._restarts.on_death(asyncio.get_running_loop().time())
                if backoff_s is not None:
                    self._fail_requests(KernelDied(reason))
                    self.client.set_state(ExecutionState.RESTARTING, reason)
                    self.observer.on_restarting(reason)
                self.client.disconnect()
                await process.clean_up()
                if backoff_s is None:
                    raise KernelDied(reason)
                await asyncio.sleep(backoff_s)
                try:
                    await self._launch()
                    return
                except FPSKernelsError as exc:
                    reason = exc.message

        self._operate(revive, "revival")

    async def release(self, kernel_id: str, connection_file: Path, cwd: str, session_name: str = "") -> LaunchedProcess:
        """Give the running process away, to another kernel; there is nothing to shut down here then.

        See LaunchedProcess.become. Raises KernelDied when there is no process, or not one of ours; OSError when its
        connection file cannot be moved. This driver keeps the process then, and can only be shut down.
        """
        async with self._lock:
            process = self._process
            if not isinstance(process, LaunchedProcess) or process.exited.done():
                raise KernelDied("The kernel is dead")
            await self._tasks.close()
            await self.client.close()
            process.become(kernel_id, connection_file, cwd, session_name)
            self._process = None  # nothing is awaited from here on: the process always has an owner
            self._closing = self._closed = True
            return process

    async def interrupt(self) -> None:
        """Interrupt what the kernel is doing, by signal or by message as its kernelspec says.

        While it is starting or restarting, that is what waits for it: the first cell fails as one that runs, and the
        others are not run. The process is left alone, which might die of a signal.
        Raises Conflict when it is dead, or being shut down.
        """
        if (state := self.client.execution_state) is ExecutionState.DEAD:
            raise Conflict(f"The kernel is dead: {self.reason}")
        if state is ExecutionState.TERMINATING or self._closing:
            raise Conflict("The kernel is being shut down")
        self.observer.on_interrupt()
        process = self._process
        if not self.client.state.ready or process is None:
            if dropped := self.client.fail_requests(KernelInterrupted(), only_cells=True):
                self.observer.on_requests_failed(dropped[:1], KernelInterrupted())
                self.observer.on_requests_failed(dropped[1:], KernelRestarted("The kernel was interrupted"))
        elif process.interrupt_mode == "message":
            self.client.ask_now("control", "interrupt_request")
        else:
            await process.signal(signal.SIGINT)

    async def shutdown(self, *, now: bool = False) -> None:
        """End the process, in steps and in bounded time, and close everything. May be called twice.

        now: whether to end the process without asking it first.
        A process that is not ours goes on.
        """
        self._closing = True
        await self._tasks.close()
        async with self._lock:
            if self._closed:
                return
            self._closed = True
            self.client.set_state(ExecutionState.TERMINATING)
            process, self._process = self._process, None
            if process is not None:
                await self._end(process, now=now)
            self._become_dead("The kernel was shut down" if self._launcher.owned else "The external kernel is gone")
            await self.client.close()

    async def _end(self, process: Process, *, now: bool) -> None:
        """End the process if it is ours, disconnect, and clean up."""
        try:
            if self._launcher.owned:
                wait_s, kill_timeout_s = self._lifecycle.shutdown_wait_time_s / 2, self._lifecycle.kill_timeout_s
                await end_process(process, self.client, now=now, wait_s=wait_s, kill_timeout_s=kill_timeout_s)
        finally:
            try:
                self.client.disconnect()
            finally:
                await process.clean_up()

    def _become_dead(self, reason: str) -> None:
        self._fail_requests(KernelDied(reason))
        self.client.disconnect()
        self.client.set_state(ExecutionState.DEAD, reason)
        self.observer.on_dead(reason)

    def _fail_requests(self, error: FPSKernelsError) -> None:
        if requests := self.client.fail_requests(error):
            self.observer.on_requests_failed(requests, error)
