"""Kernels that are started elsewhere: they come and go with their connection files in a folder."""

from __future__ import annotations

import asyncio
import logging
import uuid
from pathlib import Path

from ..kernel_driver.connection_file import ConnectionInfo, InvalidConnection
from .registry import KernelRegistry

logger = logging.getLogger(__name__)

NAMESPACE = uuid.UUID("6c1b5d0e-6a0f-5d7a-9d3e-0b5f1d2c7a41")
"""The namespace of external kernels' ids: the same file has the same id in every run of the server."""

DEBOUNCE_MS = 100
"""How long changes are collected before the folder is scanned."""

RESCAN_MS = 2_000
"""The longest time between two scans: a file may appear after the first scan and before watching has begun."""


class ExternalKernels:
    """A watcher that keeps the registry's external kernels in step with a folder of connection files.

    A file that is not, or not yet, a complete connection file is ignored until it changes. When a file changes, it
    describes another kernel under the same id.
    """

    def __init__(self, registry: KernelRegistry, folder: Path) -> None:
        self._registry = registry
        self._folder = folder
        self._known: dict[Path, ConnectionInfo] = {}
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
        from watchfiles import awatch

        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        changes = awatch(
            self._folder,
            stop_event=self._stop,
            debounce=DEBOUNCE_MS,
            step=50,
            rust_timeout=RESCAN_MS,
            yield_on_timeout=True,
            recursive=False,
        )
        await self._scan()
        async for _ in changes:
            await self._scan()

    async def _scan(self) -> None:
        """Compare the folder with the known files, which is simpler than relying on the order of events."""
        found = await asyncio.to_thread(self._read_all)
        for path in self._known.keys() - found.keys():
            await self._forget(path)
        for path, info in found.items():
            if self._known.get(path) == info:
                continue
            if path in self._known:
                await self._forget(path)
            if self._registry.stopping:  # nothing would disconnect from it any more
                return
            self._known[path] = info
            kernel_id = self._kernel_id(path)
            logger.info("external kernel %s: %s", kernel_id, path.name)
            self._registry.add_external(kernel_id, info.kernel_name or path.stem, info)

    async def _forget(self, path: Path) -> None:
        del self._known[path]
        await self._registry.remove_external(self._kernel_id(path))

    @staticmethod
    def _kernel_id(path: Path) -> str:
        return str(uuid.uuid5(NAMESPACE, str(path.resolve())))

    def _read_all(self) -> dict[Path, ConnectionInfo]:
        found = {}
        for path in sorted(self._folder.glob("*.json")):
            try:
                found[path] = ConnectionInfo.from_file(path)
            except InvalidConnection as exc:
                logger.info("ignoring %s, which is not a complete connection file: it %s", path.name, exc.message)
        return found
