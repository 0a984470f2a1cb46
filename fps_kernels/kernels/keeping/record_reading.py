"""What a server makes of the records of its kernels, which the keeper has: web sides that go on with each client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import FPSKernelsError
from ...kept.client_sockets import ClientSockets
from ...kept.cursor_file import Cursor, CursorFile, dead_files, read_cursors
from ...kept.kept_journal import kernel_of, start_number
from ...kept.kept_kernel_server import KeptKernelServer
from ...kept.kept_process import KeptProcess
from ...kernel_driver.client import KernelClient
from ...kernel_server.server import KernelServer, ServerLimits

if TYPE_CHECKING:
    from ..kernel import Kernel

logger = logging.getLogger(__name__)


class RecordReading:
    """The one place that says how kernels' web sides read records; KernelKeeper calls it.

    folder: where the files are that say how far each client has come.
    sockets: hands the sockets of clients to the keeper.
    """

    def __init__(self, folder: Path, sockets: ClientSockets) -> None:
        self._folder = folder
        self._sockets = sockets
        self._file: CursorFile | None = None
        self._dead: dict[Path, dict[str, Cursor]] = {}
        self._cursors: dict[str, Cursor] = {}
        self._restored: set[str] = set()

    def open(self) -> None:
        """Get ready, before anything else is called. May block. Raises OSError."""
        self._file = CursorFile(self._folder)
        for path in dead_files(self._folder):
            with contextlib.suppress(OSError):  # another server has removed it
                self._dead[path] = read_cursors(path)
                self._cursors |= self._dead[path]

    def make_server(self, client: KernelClient, limits: ServerLimits) -> KernelServer:
        """Make the web side of a kernel whose processes may be kept."""
        assert self._file is not None
        return KeptKernelServer(client, self._file, self._sockets, limits)

    def last_number(self, kernel_id: str) -> int:
        """The last number in the record of a kernel that is known of, if the record itself is lost."""
        return max((cursor.seq for key, cursor in self._cursors.items() if kernel_of(key) == kernel_id), default=0)

    def start_number(self, summary: Mapping[str, Any]) -> int:
        """Where in the record of a kernel of a server before this one begins.

        summary: what the keeper says of the kernel.
        """
        return start_number(summary, self._cursors)

    def restore(self, kernel: Kernel, summary: Mapping[str, Any]) -> None:
        """A kernel of a server before has been made, and is not connected to yet."""
        self._restored.add(kernel.id)
        if isinstance(kernel.server, KeptKernelServer):
            kernel.server.kept.restore(summary, self._cursors)

    def restored(self, held: Collection[str]) -> None:
        """All kernels of servers before have been made. May block.

        held: those that the keeper has, of which some may be for another server.
        """
        theirs = set(held) - self._restored
        for path, cursors in self._dead.items():
            if theirs.isdisjoint(map(kernel_of, cursors)):
                with contextlib.suppress(OSError):  # it is found again by the next server
                    path.unlink(missing_ok=True)
        self._dead.clear()
        self._cursors.clear()

    def watcher(self, kernel: Kernel) -> Callable[[KeptProcess], None]:
        """What is called with each process of a kernel, before that is connected to."""
        assert isinstance(kernel.server, KeptKernelServer)
        kept = kernel.server.kept
        kept.on_new_keeper = partial(_introduce_soon, kernel)
        return kept.watch

    def forget(self, kernel: Kernel) -> None:
        """A kernel is gone for good."""
        if isinstance(kernel.server, KeptKernelServer):
            kernel.server.kept.close()

    def close(self, *, keep: bool) -> None:
        """Write no more. keep: whether kernels go on, for the next server. May block. May be called twice."""
        if self._file is not None:
            self._file.close(keep=keep)


def _introduce_soon(kernel: Kernel) -> None:
    """Ask a kernel something as soon as another keeper has it, which is asked to connect before.

    The new keeper has the routing id of the one that died: a kernel answers there only once it has heard of it. What it
    publishes with the answer says whether it is still busy, too.
    """
    asyncio.get_running_loop().call_soon(_introduce, kernel)


def _introduce(kernel: Kernel) -> None:
    for channel in ("shell", "control"):
        try:
            kernel.client.ask_now(channel, "kernel_info_request")
        except FPSKernelsError as exc:
            logger.debug("kernel %s cannot be asked: %s", kernel.id, exc)
