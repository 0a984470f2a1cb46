"""`/metrics`: what a server does, as numbers for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from ..kernels.registry import KernelRegistry
from ..metrics.scrape import Scrape

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from ..execution.service import ExecutionService


class MetricsEndpoint:
    """The endpoint.

    executions: what runs cells of shared documents; None where there are none.

    scrape: what it answers with; a personality may add numbers of its own.
    """

    def __init__(self, registry: KernelRegistry, executions: ExecutionService | None) -> None:
        self._registry = registry
        self._executions = executions
        self.scrape = Scrape()
        self.scrape.add(self._kernels)
        if executions is not None:
            self.scrape.add(self._cells)

    def _kernels(self) -> Collector:
        from ..metrics.kernel_metrics import KernelMetrics

        factory = self._registry.factory
        return KernelMetrics(factory.runtime.counts, self._registry.prewarmed, factory.keepsake.keeper)

    def _cells(self) -> Collector:
        from ..metrics.execution_metrics import ExecutionMetrics

        assert self._executions is not None
        return ExecutionMetrics(self._executions)

    async def all(self, request: Request) -> Response:
        numbers, content_type = self.scrape.answer(request.headers.get("accept", ""))
        return Response(numbers, headers={"Content-Type": content_type, "Cache-Control": "no-store"})
