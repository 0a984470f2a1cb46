"""What a server makes of the records of its kernels, which the keeper has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...errors import FPSKernelsError
from ...kept.kept_channels import RecordListener
from ...kept.kept_process import KeptProcess
from ...kernel_driver.client import KernelClient
from ...kernel_server.server import KernelServer, ServerLimits

if TYPE_CHECKING:
    from ..kernel import Kernel

logger = logging.getLogger(__name__)


class RecordReading:
    """The one place that says how kernels' web sides read records; KernelKeeper calls it.

    This one reads none: a server begins where the record is when it takes a kernel over.
    """

    def open(self) -> None:
        """Get ready, before anything else is called. May block. Raises OSError."""

    def make_server(self, client: KernelClient, limits: ServerLimits) -> KernelServer:
        """Make the web side of a kernel whose processes may be kept."""
        return KernelServer(client, limits)

    def start_number(self, summary: Mapping[str, Any]) -> int | None:
        """Where in the record of a kernel of a server before this one begins; None for where it is now.

        summary: what the keeper says of the kernel.
        """
        return None

    def restore(self, kernel: Kernel, summary: Mapping[str, Any]) -> None:
        """A kernel of a server before has been made, and is not connected to yet."""

    def restored(self) -> None:
        """All kernels of servers before have been made. May block."""

    def watcher(self, kernel: Kernel) -> Callable[[KeptProcess], None]:
        """What is called with each process of a kernel, before that is connected to."""
        introduction = Introduction(kernel)

        def watch(process: KeptProcess) -> None:
            process.listener = introduction

        return watch

    def close(self, *, keep: bool) -> None:
        """Write no more. keep: whether kernels go on, for the next server. May block. May be called twice."""


class Introduction(RecordListener):
    """Asks a kernel something as soon as another keeper has it.

    The new keeper has the routing id of the one that died: a kernel answers there only once it has heard of it. What it
    publishes with the answer says whether it is still busy, too.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def on_gap(self, messages: int | None) -> None:
        if messages is None:
            asyncio.get_running_loop().call_soon(self._ask)  # the new keeper is asked to connect before

    def _ask(self) -> None:
        for channel in ("shell", "control"):
            try:
                self._kernel.client.ask_now(channel, "kernel_info_request")
            except FPSKernelsError as exc:
                logger.debug("kernel %s cannot be asked: %s", self._kernel.id, exc)
