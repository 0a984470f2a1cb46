"""Whether a kernel's process still responds, asked on its heartbeat channel.

A thread of the kernel answers there, also while a cell runs. A kernel that does not answer is marked as unresponsive
until it does; it is never killed for that.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import zmq

from ..descriptors import add_reader, remove_reader
from .channels import open_socket
from .connection_file import ConnectionInfo
from .state import KernelState

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HeartbeatOptions:
    """How often a kernel is asked for a heartbeat.

    interval_s: seconds between two beats; 0 for no heartbeat.
    timeout_s: seconds of silence after which a kernel is unresponsive.
    """

    interval_s: float = 15.0
    timeout_s: float = 30.0


class Heartbeat:
    """A check of one kernel at intervals, over a socket that lives for one beat: idle kernels cost no descriptor."""

    def __init__(
        self,
        kernel_id: str,
        state: KernelState,
        context: zmq.Context[zmq.Socket[bytes]],
        info: ConnectionInfo,
        options: HeartbeatOptions,
    ) -> None:
        self._kernel_id = kernel_id
        self._state = state
        self._context = context
        self._info = info
        self._options = options

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(self._options.interval_s)
            if not self._state.ready:
                continue
            try:
                await self._beat()
            except zmq.ZMQError as exc:  # no descriptor left, say: that is not the kernel's fault
                logger.warning("no heartbeat of kernel %s: %s", self._kernel_id, exc.strerror)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        answered = asyncio.Event()
        socket = open_socket(self._context, self._info, "hb", zmq.DEALER)

        def look() -> None:
            while int(socket.EVENTS) & zmq.POLLIN:
                socket.recv_multipart(zmq.NOBLOCK)
                answered.set()

        add_reader(loop, socket.FD, look)
        try:
            socket.send_multipart([b"", b"ping"], zmq.NOBLOCK)  # the empty frame is what REQ would send
            look()
            try:
                async with asyncio.timeout(self._options.timeout_s):
                    await answered.wait()
            except TimeoutError:
                reason = f"The kernel has not answered its heartbeat for {self._options.timeout_s:g} s"
                self._state.unresponsive = reason
                logger.warning("kernel %s: %s", self._kernel_id, reason)
                await answered.wait()
                logger.info("kernel %s answers its heartbeat again", self._kernel_id)
            self._state.unresponsive = None
        finally:
            remove_reader(loop, socket.FD)
            socket.close(0)
