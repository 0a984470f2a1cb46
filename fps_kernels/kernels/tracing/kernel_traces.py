"""What the kernels of a process have traced, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .traced_life import TracedLife
from .traced_requests import TracedRequests
from .tracing import Tracing

if TYPE_CHECKING:
    from ..kernel import Kernel


class KernelTraces:
    """Has the kernels of a process traced. Raises BadOption as `Tracing` does."""

    def __init__(self) -> None:
        self._tracing = Tracing()

    def requests(self, kernel_id: str, name: str) -> TracedRequests:
        """What remembers the requests of a kernel. name: its kernelspec."""
        return TracedRequests(self._tracing, _attributes(kernel_id, name))

    def follow(self, kernel: Kernel) -> None:
        """Trace the life of a kernel whose start has not begun."""
        TracedLife.follow(kernel, self._tracing, _attributes(kernel.id, kernel.driver.name))

    async def close(self) -> None:
        """Export what is left, within a few seconds. May be called twice."""
        await self._tracing.close()


def _attributes(kernel_id: str, name: str) -> dict[str, str]:
    return {"jupyter.kernel.id": kernel_id, "jupyter.kernel.name": name}
