"""Kernels that are started elsewhere: they come and go with their connection files in a folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import zmq

from ..errors import FPSKernelsError
from ..kernel_driver.connection_file import (
    CHANNEL_NAMES,
    MAX_SOCKET_PATH_BYTES,
    ConnectionInfo,
    IncompleteConnection,
    InvalidConnection,
)
from ..kernel_driver.external import LISTENS_TIMEOUT_S
from ..kernel_driver.peer_watch import listens
from ..kernel_driver.state import ExecutionState
from ..log_text import printable
from ..options import KernelsOptions
from ..private_files import folder_problem
from ..tasks import TaskSet
from .kernel import Kernel
from .registry import KernelRegistry

logger = logging.getLogger(__name__)

NAMESPACE = uuid.UUID("6c1b5d0e-6a0f-5d7a-9d3e-0b5f1d2c7a41")
"""The namespace of external kernels' ids: the same file has the same id in every run of the server."""

DEBOUNCE_MS = 100
"""How long changes are collected before the folder is scanned."""

RESCAN_MS = 2_000
"""The longest time between two scans: a file may appear after the first scan and before watching has begun."""

HALF_WRITTEN_S = 5.0
"""How long a kernel is kept whose file is not whole any more: it may be being written again."""

LEFT_S = 30.0
"""How long a kernel is listed as dead that has never answered."""
SEARCH_S, MAX_SEARCH_S = 1.0, 300.0
"""Shortest and longest time between two looks for a kernel that is dead."""
MAX_SEARCHES = 20
"""Kernels that are looked for at the same time."""

INCOMPLETE = "is not valid JSON"
"""Why a file is refused that is, perhaps, being written."""
MAX_NAME_CHARS = 255
"""The longest name of a kernel that is shown."""


@dataclass(frozen=True, slots=True)
class ExternalPolicy:
    """Which kernels are connected to.

    allow_remote: whether those that do not listen on a loopback address of this machine are.
    allow_unsigned: whether those whose messages are not signed are.
    max_kernels: how many there may be at the same time.
    """

    allow_remote: bool = False
    allow_unsigned: bool = False
    max_kernels: int = 100

    @classmethod
    def of(cls, options: KernelsOptions) -> Self:
        return cls(options.external_allow_remote, options.external_allow_unsigned, options.external_max_kernels)

    def problem(self, info: ConnectionInfo) -> str | None:
        """Why a kernel is not connected to, in words; None if it is. Blocks: the folder of ipc sockets is looked at."""
        if not info.key and not self.allow_unsigned:
            return "has no key: anybody on this machine could be that kernel (external_allow_unsigned)"
        if info.curve_publickey and not zmq.has("curve"):
            return "is for an encrypted connection, and this libzmq was built without CURVE"
        if info.transport == "ipc":
            return self._ipc_problem(info)
        if not self.allow_remote and not _is_loopback(info.ip):
            return f"is for a kernel at {info.ip}, which is not on this machine (external_allow_remote)"
        return None

    @staticmethod
    def _ipc_problem(info: ConnectionInfo) -> str | None:
        if not os.path.isabs(info.ip):  # abstract sockets begin with @, and have no permissions
            return "has sockets without an absolute path"
        size = max(len(os.fsencode(f"{info.ip}-{port}")) for port in info.ports.values())
        if size > MAX_SOCKET_PATH_BYTES:
            return f"has sockets whose paths have {size} bytes, more than the {MAX_SOCKET_PATH_BYTES} that are possible"
        if problem := folder_problem(Path(info.ip).parent):
            return f"has sockets in a folder that {problem}"
        for channel in CHANNEL_NAMES:
            try:
                status = os.lstat(f"{info.ip}-{info.ports[channel]}")
            except OSError:  # the kernel has not made it yet, and nobody else can
                continue
            if not stat.S_ISSOCK(status.st_mode):
                return "has a path of a socket at which there is none"
        return None


def _is_loopback(ip: str) -> bool:
    try:
        return ip_address(ip).is_loopback
    except ValueError:
        return ip == "localhost"


@dataclass(frozen=True, slots=True)
class _File:
    """A connection file. stamp: differs when the file was written again, even with the same content."""

    info: ConnectionInfo
    stamp: tuple[int, int]


class ExternalKernels:
    """A watcher that keeps the registry's external kernels in step with a folder of connection files.

    A file that is not, or not yet, a complete connection file is ignored until it changes, as is one that others can
    write to or whose kernel is refused. When a file changes, it describes another kernel under the same id. As long as
    others can write to the folder, nothing in it is believed.

    A kernel that is dead is looked for again, as it may only have been stopped. One that has never answered, as a file
    of another day, is not listed for long. One that a client has removed comes back when its file is written again, and
    dead ones make room for others.
    """

    def __init__(self, registry: KernelRegistry, folder: Path, policy: ExternalPolicy | None = None) -> None:
        self._registry = registry
        self._folder = folder
        self._policy = policy or ExternalPolicy()
        self._known: dict[Path, _File] = {}
        self._broken: dict[Path, float] = {}  # since when known files are half written
        self._refused: dict[Path, str] = {}  # with the reason, which has been logged
        self._left: set[Path] = set()  # known files whose kernels have never answered, and are not listed any more
        self._searches = TaskSet()
        self._search_at: dict[Path, tuple[float, float]] = {}  # when dead kernels are next looked for, after what pause
        self._stop = asyncio.Event()

    @staticmethod
    def default_folder() -> Path:
        """Return the folder that is watched unless the configuration names another."""
        from jupyter_core.paths import jupyter_runtime_dir

        return Path(jupyter_runtime_dir()) / "external_kernels"

    def stop(self) -> None:
        """Make `watch` return."""
        self._stop.set()

    async def watch(self) -> None:
        """Take in the files that exist, then all changes, until `stop` is called."""
        try:
            await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            logger.error("No external kernels are connected to: %s: %s", self._folder, exc.strerror)
            return
        try:
            await self._look()
            async for _ in self._changes():
                await self._look()
        finally:
            await self._searches.close()

    async def _changes(self) -> AsyncIterator[None]:
        """Yields when the folder may have changed, until `stop` is called."""
        told = ""
        while not self._stop.is_set():
            try:
                from watchfiles import awatch

                async for _ in awatch(
                    self._folder,
                    stop_event=self._stop,
                    debounce=DEBOUNCE_MS,
                    step=50,
                    rust_timeout=RESCAN_MS,
                    yield_on_timeout=True,
                    recursive=False,
                ):
                    yield
            except Exception as exc:  # it is not there, or no watch is left, or a name is not UTF-8: it does not say
                if told != (told := type(exc).__name__):
                    every_s = RESCAN_MS / 1000
                    logger.warning("%s cannot be watched (%s): looking at it every %g s", self._folder, exc, every_s)
                yield
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RESCAN_MS / 1000):
                        await self._stop.wait()

    async def _look(self) -> None:
        """Scan the folder; a failure is logged, and ends nothing."""
        try:
            await self._scan()
        except Exception:  # a fault of ours must not keep other kernels from coming
            logger.exception("looking for external kernels failed")

    async def _scan(self) -> None:
        """Compare the folder with the known files, which is simpler than relying on the order of events."""
        found, refused = await asyncio.to_thread(self._read_all)
        self._keep_half_written(found, refused)
        for path in self._known.keys() - found.keys():
            await self._forget(path)
        for path, file in found.items():
            known = self._known.get(path)
            if known is not None and known.info == file.info:
                if known.stamp == file.stamp or self._kernel(path) is not None:
                    continue
            elif known is not None:
                await self._forget(path)
            if self._registry.stopping:  # nothing would disconnect from it any more
                return
            if reason := await self._add(path, file):
                refused[path] = reason
        for path, reason in refused.items():
            if self._refused.get(path) != reason:
                logger.warning(
                    "ignoring %s: it %s", path if path == self._folder else printable(path.name, MAX_NAME_CHARS), reason
                )
        self._refused = refused
        await self._search()

    def _keep_half_written(self, found: dict[Path, _File], refused: dict[Path, str]) -> None:
        """Have files that are known, and just being written again, as they were."""
        now = asyncio.get_running_loop().time()
        half = {path for path in self._known if refused.get(path) == INCOMPLETE}
        self._broken = {path: self._broken.get(path, now) for path in half}
        for path, since in self._broken.items():
            if now - since < HALF_WRITTEN_S:
                found[path] = self._known[path]
                del refused[path]

    async def _add(self, path: Path, file: _File) -> str | None:
        """Connect to the kernel of a file; returns why not."""
        kernel_id = self._kernel_id(path)
        if not await self._make_room():
            return f"is one more than {self._policy.max_kernels} (external_max_kernels)"
        if kernel_id in self._registry:  # a client has chosen it
            return "would have the id of another kernel"
        self._known[path] = file
        self._left.discard(path)
        self._search_at.pop(path, None)
        logger.info("external kernel %s: %s", kernel_id, printable(path.name, MAX_NAME_CHARS))
        self._registry.add_external(kernel_id, printable(file.info.kernel_name or path.stem, MAX_NAME_CHARS), file.info)
        return None

    async def _make_room(self) -> bool:
        """Whether there may be one more kernel; a dead one is forgotten for it."""
        attached = [path for path in self._known if self._kernel(path) is not None]
        if len(attached) < self._policy.max_kernels:
            return True
        dead = next((path for path in attached if self._is_dead(path)), None)
        if dead is not None:
            await self._registry.remove_external(self._kernel_id(dead))
        return dead is not None

    async def _forget(self, path: Path) -> None:
        del self._known[path]
        self._left.discard(path)
        self._search_at.pop(path, None)
        await self._registry.remove_external(self._kernel_id(path))

    def _kernel(self, path: Path) -> Kernel | None:
        """The kernel of a known file, unless a client has removed it."""
        kernel_id = self._kernel_id(path)
        kernel = self._registry.get(kernel_id) if kernel_id in self._registry else None
        return kernel if kernel is not None and kernel.external else None

    def _is_dead(self, path: Path) -> bool:
        kernel = self._kernel(path)
        return kernel is not None and kernel.execution_state is ExecutionState.DEAD

    async def _search(self) -> None:
        """Look for dead kernels, each in the background and less and less often if it listens but does not answer."""
        now = asyncio.get_running_loop().time()
        for path, file in list(self._known.items()):
            kernel = self._kernel(path)
            if kernel is not None and _was_left(kernel):
                logger.warning("external kernel %s (%s) has never answered: not listed", kernel.id, kernel.driver.name)
                self._left.add(path)
                await self._registry.remove_external(kernel.id)
                kernel = None
            if not self._is_dead(path) and path not in self._left:
                continue
            at, pause_s = self._search_at.get(path, (0.0, SEARCH_S))
            if now >= at and len(self._searches) < MAX_SEARCHES:
                self._search_at[path] = now + pause_s, pause_s
                search = self._reconnect(path, kernel) if kernel is not None else self._take_back(path, file)
                self._searches.start(search, name=f"search for {self._kernel_id(path)}")

    async def _take_back(self, path: Path, file: _File) -> None:
        """List a kernel again that never answered, if it listens now."""
        if (
            not await listens(self._registry.factory.runtime.context, file.info, LISTENS_TIMEOUT_S)
            or path not in self._left
            or self._registry.stopping
        ):
            return
        pause_s = min(self._search_at[path][1] * 2, MAX_SEARCH_S)  # another kernel may have its ports
        if await self._add(path, file) is None:
            self._search_at[path] = asyncio.get_running_loop().time() + pause_s, pause_s

    async def _reconnect(self, path: Path, kernel: Kernel) -> None:
        pause_s = SEARCH_S
        try:
            if await kernel.driver.reconnect():
                logger.info("external kernel %s is back", kernel.id)
        except FPSKernelsError as exc:
            pause_s = min(self._search_at[path][1] * 2, MAX_SEARCH_S) if path in self._search_at else SEARCH_S
            logger.warning("external kernel %s listens, but is not back: %s", kernel.id, exc.message)
        if path in self._known:
            self._search_at[path] = asyncio.get_running_loop().time() + pause_s, pause_s

    @staticmethod
    def _kernel_id(path: Path) -> str:
        return str(uuid.uuid5(NAMESPACE, str(path.resolve()).encode("utf-8", "backslashreplace").decode()))

    def _read_all(self) -> tuple[dict[Path, _File], dict[Path, str]]:
        """All files that may be believed, and why the others may not. Blocks."""
        found: dict[Path, _File] = {}
        refused: dict[Path, str] = {}
        if problem := folder_problem(self._folder):
            return found, {self._folder: problem}
        for path in sorted(self._folder.glob("*.json")):
            try:
                status = path.lstat()
                info = ConnectionInfo.from_file(path)
            except FileNotFoundError:  # it was there a moment ago
                continue
            except IncompleteConnection:
                refused[path] = INCOMPLETE
                continue
            except InvalidConnection as exc:
                refused[path] = exc.message
                continue
            except (OSError, ValueError) as exc:
                refused[path] = f"cannot be looked at: {exc}"
                continue
            if problem := self._policy.problem(info):
                refused[path] = problem
            else:
                found[path] = _File(info, (status.st_mtime_ns, status.st_ino))
        return found, refused


def _was_left(kernel: Kernel) -> bool:
    """Whether a kernel is only a file that somebody left behind: it has never answered, and nobody waits for it."""
    state = kernel.client.state
    if state.execution_state is not ExecutionState.DEAD or kernel.client.kernel_info or kernel.server.connections:
        return False
    return (datetime.now(UTC) - state.last_change).total_seconds() >= LEFT_S
