"""What a kernel makes of the record of its processes, beside the messages that its client hears."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ...errors import FPSKernelsError
from ...kept.kept_channels import RecordListener

if TYPE_CHECKING:
    from ..kernel import Kernel

logger = logging.getLogger(__name__)


def listener_of(kernel: Kernel) -> RecordListener:
    """The listener for all processes of one kernel. This is the one place where listeners are made."""
    return Introduction(kernel)


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
