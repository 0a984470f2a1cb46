"""Shuts down kernels that have been idle for too long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime

from ..kernel_driver.state import ExecutionState
from .cull_policy import CullPolicy
from .kernel import Kernel
from .kernel_counts import KernelCounts

logger = logging.getLogger(__name__)


class Culler:
    """A loop that checks all kernels from time to time, and removes those that have been idle for too long.

    policy: the server's policy; a kernelspec's metadata can change it for its own kernels.
    interval_s: seconds between two checks.
    kernels: returns all kernels.
    remove: shuts down and forgets a kernel; its failures are logged where it fails.
    counts: where it is counted.
    """

    def __init__(
        self,
        policy: CullPolicy,
        interval_s: float,
        kernels: Callable[[], Iterable[Kernel]],
        remove: Callable[[Kernel], Awaitable[None]],
        counts: KernelCounts,
    ) -> None:
        self._counts = counts
        self._policy = policy
        self._interval_s = interval_s
        self._kernels = kernels
        self._remove = remove

    async def run(self) -> None:
        """Cull kernels until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            expired = [kernel for kernel in self._kernels() if self._is_expired(kernel)]
            self._counts.culled.update(map(self._counts.name_of, expired))
            await asyncio.gather(*map(self._remove, expired), return_exceptions=True)

    def _is_expired(self, kernel: Kernel) -> bool:
        """Ask the policy about a kernel, and log its answer."""
        if kernel.external or kernel.stopping is not None:
            return False
        client, state = kernel.client, kernel.client.state
        doing = ExecutionState.BUSY if client.executing else state.execution_state
        cull, why = self._policy.for_kernelspec(kernel.driver.metadata).verdict(
            datetime.now(UTC), state.last_activity, doing, kernel.server.connections
        )
        logger.log(
            logging.INFO if cull else logging.DEBUG,
            "kernel %s (%s) is %s: %s",
            kernel.id,
            kernel.driver.name,
            "culled" if cull else "not culled",
            why,
        )
        return cull
