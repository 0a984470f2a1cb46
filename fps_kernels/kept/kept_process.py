"""A kernel's process whose parent is a keeper: it outlives this server."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import zmq

from ..errors import FPSKernelsError, KernelStartFailed
from ..keeper.keeper_wire import Batch
from ..kernel_driver.channels import Channels, OnBatch, OpenChannels, ZMQChannels
from ..kernel_driver.connection_file import ConnectionInfo
from ..kernel_driver.exit_status import ExitStatus
from ..kernel_driver.own_connection_file import manager_class
from ..kernel_driver.process import LaunchedProcess
from ..kernel_driver.stderr import StderrLog
from .keeper_client import RUN_TIMEOUT_S, KeeperClient, RefusedByKeeper
from .keeper_start import KeeperUnavailable
from .kept_channels import KeptChannels, RecordListener
from .terminal_note import without_note

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

logger = logging.getLogger(__name__)

MakeManager = Callable[..., "AsyncKernelManager"]


def _own_manager(**options: Any) -> AsyncKernelManager:
    return manager_class()(**options)


@dataclass(frozen=True, slots=True)
class KeptInfo(ConnectionInfo):
    """Where a kernel listens to which a keeper connects.

    process: its process.
    """

    process: KeptProcess | None = field(default=None, repr=False, compare=False)


def open_channels(
    context: zmq.Context[zmq.Socket[bytes]], info: ConnectionInfo, identity: bytes, on_batch: OnBatch
) -> Channels:
    """Open channels by way of the keeper if the process is kept, else of our own."""
    return kept_or(ZMQChannels)(context, info, identity, on_batch)


def kept_or(other: OpenChannels) -> OpenChannels:
    """Open channels by way of the keeper if the process is kept, else by `other`."""

    def open_either(
        context: zmq.Context[zmq.Socket[bytes]], info: ConnectionInfo, identity: bytes, on_batch: OnBatch
    ) -> Channels:
        if isinstance(info, KeptInfo) and info.process is not None:
            return info.process.open(identity, on_batch)
        return other(context, info, identity, on_batch)

    return open_either


# Large: what a driver wants of a process, and what a keeper tells of one, come together here.
class KeptProcess(LaunchedProcess):
    """A process that a keeper runs, launched by this server or by one before.

    keeper: the connection to the keeper.
    summary: what the keeper says of the kernel.

    generation: the number of the process at the keeper.
    listener: told of the record; to be set before the kernel is connected to.
    from_seq: where in the record the first connection begins, of a process that is connected already.
    """

    kept = True

    def __init__(
        self,
        keeper: KeeperClient,
        kernel_id: str,
        manager: AsyncKernelManager,
        info: ConnectionInfo,
        summary: Mapping[str, Any],
        cwd: str,
    ) -> None:
        assert manager.provisioner is not None
        kept_info = KeptInfo(**{one.name: getattr(info, one.name) for one in fields(info)}, process=self)
        super().__init__(kernel_id, manager, manager.provisioner, kept_info, None)
        manager.provisioner.cwd = cwd  # type: ignore[attr-defined]  # of the local one, for resolve_path
        self.keeper = keeper
        self.generation = int(summary["generation"])
        self.listener = RecordListener()
        self.from_seq: int | None = None
        self._cwd = cwd
        self._handle = int(summary["handle"])
        self._pid = summary.get("pid")
        self._start_time = summary.get("start_time", "")
        self._channels: KeptChannels | None = None
        self._told = asyncio.Event()
        self._log = StderrLog(kernel_id)
        self._orphan = False  # whether its keeper was lost, and no other watches over it
        self._old_id = ""  # which kernel's it was, while the keeper does not know yet whose it is
        keeper.add(kernel_id, self)
        keeper.note_handle(self._handle, kernel_id)

    @classmethod
    async def run(
        cls,
        keeper: KeeperClient,
        kernel_id: str,
        manager: AsyncKernelManager,
        command: list[str],
        kwargs: dict[str, Any],
    ) -> Self:
        """Have the process that a manager has prepared started by the keeper.

        Raises OSError when it cannot be started, KeeperUnavailable.
        """
        cwd = str(kwargs.get("cwd") or Path.cwd())
        abandoned = False
        answered: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()

        def on_answer(answer: Mapping[str, Any]) -> None:
            if not abandoned:
                answered.set_result(answer)
            elif "generation" in answer:
                name = {"kernel": kernel_id, "generation": answer["generation"]}
                keeper.tell("signal", signum=int(signal.SIGKILL), **name)

        files = [manager.connection_file]
        more = {"env": kwargs["env"], "cwd": cwd, "files": files, "bounds": keeper.bounds}
        keeper.ask("run", on_answer, kernel=kernel_id, argv=command, **more)
        try:
            async with asyncio.timeout(RUN_TIMEOUT_S):
                answer = await asyncio.shield(answered)
        except TimeoutError as exc:
            raise KeeperUnavailable("The process that keeps kernels does not answer") from exc
        finally:
            abandoned = not answered.done()
        if answer.get("lost"):
            raise KeeperUnavailable("The process that keeps kernels was lost")
        if "error" in answer:
            if "errno" in answer:
                raise OSError(answer["errno"], answer["strerror"], answer["filename"])
            raise RefusedByKeeper(answer)
        if getattr(manager, "ledger", None) is not None:
            manager.ledger.remove(Path(manager.connection_file))  # type: ignore[attr-defined]  # our class
            manager.ledger = None  # type: ignore[attr-defined]  # the file is to outlive this server
        manager.outlives = True  # type: ignore[attr-defined]
        info = ConnectionInfo.from_dict(dict(manager.get_connection_info()))
        process = cls(keeper, kernel_id, manager, info, answer, cwd)
        process.command = tuple(command)
        process._tell_facts()
        return process

    @classmethod
    async def adopt(
        cls,
        keeper: KeeperClient,
        summary: Mapping[str, Any],
        from_seq: int | None = None,
        *,
        make_manager: MakeManager = _own_manager,
    ) -> Self:
        """The process of a kernel that the keeper holds, which another server has launched.

        summary: what the keeper says of the kernel. from_seq: where in the record this server begins; None for now.
        make_manager: make_manager(kernel_name=…, connection_file=…) makes its manager, in a thread.
        Raises KernelStartFailed when too little is known of it.
        """
        kernel_id = str(summary["kernel"])
        try:
            facts = summary["facts"]["process"]
            manager, info = await asyncio.to_thread(_restored, kernel_id, facts, make_manager)
            process = cls(keeper, kernel_id, manager, info, summary, facts["cwd"])
            process.command = tuple(facts["command"])
        except (OSError, LookupError, ValueError, TypeError, FPSKernelsError) as exc:
            raise KernelStartFailed(f"What is known of kernel {kernel_id} is not enough to go on with it") from exc
        process.may_be_busy = True
        if summary["connected"]:
            process.from_seq = int(summary["next_seq"]) if from_seq is None else from_seq
        if summary.get("exited"):
            process.on_event({"event": "exited", **summary})
        elif not summary.get("running"):
            process.exited.set_result(ExitStatus(None))
        return process

    @property
    def pid(self) -> int | None:
        """The process id."""
        return self._pid

    def open(self, identity: bytes, on_batch: OnBatch) -> Channels:
        """Connect to the process. Raises KernelNotConnected, QueueFull."""
        from_seq, self.from_seq = self.from_seq, None
        self._channels = KeptChannels(
            self.keeper,
            self.kernel_id,
            self.generation,
            self._handle,
            self.connection,
            identity,
            on_batch,
            self.listener,
            from_seq,
        )
        return self._channels

    @property
    def channels(self) -> KeptChannels | None:
        """The channels that were opened last."""
        return self._channels

    def on_batch(self, batch: Batch) -> None:
        """What has passed between the kernel and its servers."""
        if self._channels is not None:
            self._channels.take(batch)
            self._told.set()

    async def read_until(self, seq: int) -> None:
        """Return when all of the record before the number `seq` has been told. Unbounded: use a timeout."""
        while self._channels is not None and not self._channels.closed and self._channels.next_seq < seq:
            self._told.clear()
            await self._told.wait()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """What has happened to the process, or to the connections."""
        if event.get("generation", self.generation) != self.generation:
            return
        if event.get("event") == "stderr":
            lines = [line.encode("utf-8", "replace") for line in event["lines"]]
            self._log.write(without_note(lines))
            self.port_watch.look_at(lines)
        elif event.get("event") != "exited":
            if self._channels is not None:
                self._channels.on_event(event)
        elif not self.exited.done():
            report = event["exited"]
            self.exited.set_result(ExitStatus(report["code"], tuple(report["stderr"]), report["out_of_memory"]))

    async def on_reconnected(self, *, same: bool) -> None:
        """The connection has come back: to the same keeper, or to a new one, which knows nothing."""
        if self.exited.done():
            return
        self._orphan = self._orphan or not same
        if self._orphan:
            await self._be_adopted()
            same, self._orphan, self._old_id = False, False, ""
        elif self._old_id:
            self._rename()
        if self._channels is not None and not self.exited.done():
            self._channels.resume(self._handle, same=same)

    async def _be_adopted(self) -> None:
        """Have a new keeper watch over the process."""
        next_seq = self._channels.next_seq if self._channels is not None else 0
        try:
            summary = await self.keeper.call(
                "adopt",
                kernel=self.kernel_id,
                pid=self._pid,
                start_time=self._start_time,
                of_generation=self.generation,
                next_seq=next_seq,
                files=[self._manager.connection_file],
                bounds=self.keeper.bounds,
            )
        except RefusedByKeeper as exc:
            logger.warning("kernel %s has not outlived its keeper: %s", self.kernel_id, exc.message)
            said = "ended together with the process that kept it"
            if not self.exited.done():
                self.exited.set_result(ExitStatus(None, said=said))
            return
        self._handle = int(summary["handle"])
        self.keeper.note_handle(self._handle, self.kernel_id)
        self._tell_facts()
        self.listener.on_gap(None)

    def _tell_facts(self) -> None:
        """Have the keeper keep what another server must know of the process."""
        facts = {
            "kernel_name": self._manager.kernel_name,
            "connection_file": self._manager.connection_file,
            "cwd": self._cwd,
            "command": list(self.command),
            "spec": dict(self.kernelspec),
        }
        self.keeper.tell("facts", kernel=self.kernel_id, generation=self.generation, facts={"process": facts})

    def become(self, kernel_id: str, connection_file: Path, cwd: str, session_name: str = "") -> None:
        """Make this the process of another kernel, see LaunchedProcess.become. Raises OSError."""
        old = self.kernel_id
        super().become(kernel_id, connection_file, cwd, session_name)
        self._cwd = cwd
        self._log.kernel_id = kernel_id
        self.keeper.remove(old, self)
        self.keeper.add(kernel_id, self)
        self.keeper.note_handle(self._handle, kernel_id)
        self._old_id = old
        self._rename()
        self._tell_facts()

    def _rename(self) -> None:
        """Have the keeper take this for a process of the kernel that it has become."""
        if not self.keeper.left:
            files = [self._manager.connection_file]
            call = {"kernel": self._old_id, "generation": self.generation, "to": self.kernel_id, "files": files}
            self.keeper.ask("rename", self._on_renamed, **call)

    def _on_renamed(self, answer: Mapping[str, Any]) -> None:
        if answer.get("lost"):  # it is asked again when the connection is back
            return
        self._old_id = ""
        if answer.get("status") == HTTPStatus.NOT_FOUND:  # it was renamed when the connection was lost
            return
        if "error" in answer:
            logger.error("process %s is not kernel %s's: %s", self._pid, self.kernel_id, answer["error"])
            if not self.exited.done():
                self.exited.set_result(ExitStatus(None, said="was lost by the process that keeps it"))
            return
        self.keeper.note_handle(int(answer["handle"]), self.kernel_id)
        if answer["exited"] is not None:  # before the keeper knew whose it is
            self.on_event({"event": "exited", "exited": answer["exited"]})

    async def signal(self, signum: int) -> None:
        """Send a signal to the kernel's process group. Raises KeeperUnavailable, RefusedByKeeper."""
        if not self.exited.done():
            await self.keeper.call("signal", kernel=self.kernel_id, generation=self.generation, signum=int(signum))

    async def shutdown_requested(self) -> None:
        """The kernel was asked to shut down: that is nothing to a keeper."""

    async def terminate(self) -> None:
        """Send SIGTERM."""
        self._tell_signal(signal.SIGTERM)

    async def kill(self) -> None:
        """Send SIGKILL."""
        self._tell_signal(signal.SIGKILL)

    async def wait(self, timeout_s: float) -> bool:
        """Return True when the process is gone, or was left to its keeper; False if it is not within that time."""
        return self.keeper.left or await super().wait(timeout_s)

    def _tell_signal(self, signum: int) -> None:
        if not self.exited.done():
            self.keeper.tell("signal", kernel=self.kernel_id, generation=self.generation, signum=int(signum))

    async def clean_up(self) -> None:
        """Give back what the process used. May be called twice; does nothing after `KeeperClient.leave`."""
        self.keeper.remove(self.kernel_id, self)
        self._log.close()
        self.port_watch.end()
        if not self.keeper.left:
            self.keeper.tell("exited_seen", kernel=self.kernel_id, generation=self.generation)
            await self._give_back()


def _restored(
    kernel_id: str, facts: Mapping[str, Any], make_manager: MakeManager
) -> tuple[AsyncKernelManager, ConnectionInfo]:
    """A manager as it was after the launch of a process, and where that listens. May block.

    Raises OSError, ValueError, LookupError, InvalidConnection.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.provisioning.local_provisioner import LocalProvisioner

    info = ConnectionInfo.from_file(Path(facts["connection_file"]))
    manager = make_manager(kernel_name=facts["kernel_name"], connection_file=facts["connection_file"])
    manager.kernel_id = kernel_id
    manager._kernel_spec = KernelSpec(**facts["spec"])
    manager.load_connection_file()
    manager._connection_file_written = True
    manager.outlives = True  # type: ignore[attr-defined]  # our class
    manager.provisioner = LocalProvisioner(kernel_id=kernel_id, kernel_spec=manager._kernel_spec, parent=manager)
    return manager, info


def forget(keeper: KeeperClient, kernel_id: str) -> None:
    """Have the keeper forget a kernel that is gone for good, with all that it has said."""
    keeper.tell("forget", kernel=kernel_id)
