"""The numbers of server-side execution, as Prometheus' families."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ..execution.service import ExecutionService
from .families import counter, gauge


class ExecutionMetrics(Collector):
    """A collector of what is known of the cells that a server executes in shared documents."""

    def __init__(self, executions: ExecutionService) -> None:
        self._executions = executions

    def collect(self) -> Iterator[Metric]:
        now = self._executions.statistics()
        numbers = {("waiting",): now.waiting, ("running",): now.running, ("asking",): now.asking}
        yield gauge("cells", "Cells that the server executes; asking: they wait for input.", numbers, ["state"])
        ended = {(state.value,): number for state, number in self._executions.ended.items()}
        yield counter("cells_executed", "Cells that the server has executed, by how they ended.", ended, ["status"])
