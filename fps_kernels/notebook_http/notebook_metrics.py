"""The numbers of a notebook that answers requests, as Prometheus' families."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ..metrics.families import ALONE, counter, gauge, histogram
from .pipeline import Pipeline
from .pool import KernelPool


class NotebookMetrics(Collector):
    """A collector of what is known of the requests and kernels of a notebook."""

    def __init__(self, pool: KernelPool, pipeline: Pipeline) -> None:
        self._pool = pool
        self._pipeline = pipeline

    def collect(self) -> Iterator[Metric]:
        pool, counts = self._pool.statistics(), self._pipeline.counts
        kernels = {("idle",): pool.idle, ("running",): pool.running, ("lost",): pool.lost}
        yield gauge("http_kernels", "Kernels that answer HTTP requests; lost: being replaced.", kernels, ["state"])
        yield gauge("http_requests_waiting", "HTTP requests that wait for a kernel.", {ALONE: pool.waiting})
        labels = ["method", "endpoint", "status"]
        yield counter("http_requests", "HTTP requests to the notebook that were answered.", counts.answered, labels)
        yield histogram("http_request_seconds", "Seconds until they were.", counts.seconds, ["method", "endpoint"])
        yield histogram("http_wait_seconds", "Seconds that they waited for a kernel.", {ALONE: counts.waits})
