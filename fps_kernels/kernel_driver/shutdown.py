"""The end of a kernel's process, in steps and in bounded time."""

from __future__ import annotations

import logging
import signal

from ..errors import KernelFailure, QueueFull
from .client import KernelClient
from .process import Process
from .state import ExecutionState

logger = logging.getLogger(__name__)


async def end_process(
    process: Process, client: KernelClient, *, now: bool, wait_s: float, kill_timeout_s: float
) -> None:
    """Ask the kernel to shut down, then SIGTERM, then SIGKILL. The process is gone when this returns, or is cancelled.

    client: the connection to the process.
    now: whether to begin with SIGKILL.
    wait_s: seconds that the process has for each of the polite ways.
    kill_timeout_s: seconds to wait after SIGKILL.
    """
    try:
        if not now and not process.exited.done():
            if await _ask(process, client) and await process.wait(wait_s):
                return
            await process.terminate()
            await process.wait(wait_s)
    finally:  # also when this is cancelled: nothing else knows the process any more
        await process.kill()
        if not await process.wait(kill_timeout_s):
            logger.error("kernel %s: process %s does not end", client.kernel_id, process.pid)


async def _ask(process: Process, client: KernelClient) -> bool:
    """Send the kernel a shutdown_request; returns whether that was possible."""
    try:
        if client.execution_state is not ExecutionState.STARTING and process.interrupt_mode == "signal":
            await process.signal(signal.SIGINT)  # a cell that runs keeps many kernels from shutting down
        client.ask_now("control", "shutdown_request", {"restart": False})
        await process.shutdown_requested()
    except (KernelFailure, QueueFull, OSError) as exc:
        logger.debug("kernel %s cannot be asked to stop: %s", client.kernel_id, exc)
        return False
    return True
