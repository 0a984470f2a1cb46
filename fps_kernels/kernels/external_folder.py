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
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import zmq

from ..kernel_driver.connection_file import CHANNEL_NAMES, MAX_SOCKET_PATH_BYTES, ConnectionInfo, InvalidConnection
from ..options import KernelsOptions
from ..private_files import folder_problem
from .registry import KernelRegistry

logger = logging.getLogger(__name__)

NAMESPACE = uuid.UUID("6c1b5d0e-6a0f-5d7a-9d3e-0b5f1d2c7a41")
"""The namespace of external kernels' ids: the same file has the same id in every run of the server."""

DEBOUNCE_MS = 100
"""How long changes are collected before the folder is scanned."""

RESCAN_MS = 2_000
"""The longest time between two scans: a file may appear after the first scan and before watching has begun."""


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


class ExternalKernels:
    """A watcher that keeps the registry's external kernels in step with a folder of connection files.

    A file that is not, or not yet, a complete connection file is ignored until it changes, as is one that others can
    write to or whose kernel is refused. When a file changes, it describes another kernel under the same id. As long as
    others can write to the folder, nothing in it is believed.
    """

    def __init__(self, registry: KernelRegistry, folder: Path, policy: ExternalPolicy | None = None) -> None:
        self._registry = registry
        self._folder = folder
        self._policy = policy or ExternalPolicy()
        self._known: dict[Path, ConnectionInfo] = {}
        self._refused: dict[Path, str] = {}  # with the reason, which has been logged
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
        await self._scan()
        async for _ in self._changes():
            await self._scan()

    async def _changes(self) -> AsyncIterator[None]:
        """Yields when the folder may have changed, until `stop` is called."""
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
        except (ImportError, OSError) as exc:  # OSError: the user has no more watches, say
            logger.warning("%s cannot be watched (%s): looking at it every %g s", self._folder, exc, RESCAN_MS / 1000)
        while not self._stop.is_set():
            yield
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESCAN_MS / 1000):
                    await self._stop.wait()

    async def _scan(self) -> None:
        """Compare the folder with the known files, which is simpler than relying on the order of events."""
        found, refused = await asyncio.to_thread(self._read_all)
        for path in self._known.keys() - found.keys():
            await self._forget(path)
        for path, info in found.items():
            if self._known.get(path) == info:
                continue
            if path in self._known:
                await self._forget(path)
            if self._registry.stopping:  # nothing would disconnect from it any more
                return
            kernel_id = self._kernel_id(path)
            if len(self._known) >= self._policy.max_kernels:
                refused[path] = f"is one more than {self._policy.max_kernels} (external_max_kernels)"
            elif kernel_id in self._registry:  # a client has chosen it
                refused[path] = "would have the id of another kernel"
            else:
                self._known[path] = info
                logger.info("external kernel %s: %s", kernel_id, path.name)
                self._registry.add_external(kernel_id, info.kernel_name or path.stem, info)
        for path, reason in refused.items():
            if self._refused.get(path) != reason:
                logger.warning("ignoring %s: it %s", path if path == self._folder else path.name, reason)
        self._refused = refused

    async def _forget(self, path: Path) -> None:
        del self._known[path]
        await self._registry.remove_external(self._kernel_id(path))

    @staticmethod
    def _kernel_id(path: Path) -> str:
        return str(uuid.uuid5(NAMESPACE, str(path.resolve())))

    def _read_all(self) -> tuple[dict[Path, ConnectionInfo], dict[Path, str]]:
        """All files that may be believed, and why the others may not. Blocks."""
        found: dict[Path, ConnectionInfo] = {}
        refused: dict[Path, str] = {}
        if problem := folder_problem(self._folder):
            return found, {self._folder: problem}
        for path in sorted(self._folder.glob("*.json")):
            try:
                info = ConnectionInfo.from_file(path)
            except InvalidConnection as exc:
                refused[path] = exc.message
                continue
            if problem := self._policy.problem(info):
                refused[path] = problem
            else:
                found[path] = info
        return found, refused
