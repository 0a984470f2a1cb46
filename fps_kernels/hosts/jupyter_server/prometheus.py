"""Our numbers among those of Jupyter Server, which are the process's own and which it serves as `/metrics`."""

from __future__ import annotations

import logging

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from ...metrics.kernel_metrics import KernelMetrics
from .mapping_manager import FpsMappingKernelManager

logger = logging.getLogger(__name__)


def register_kernels(manager: FpsMappingKernelManager) -> None:
    """Have the numbers of a server's kernels served, until it has shut them down."""
    register(manager, KernelMetrics(manager.runtime.counts, manager.pool, manager.keeping.keepsake.keeper))


def register(manager: FpsMappingKernelManager, collector: Collector) -> None:
    """Have a collector asked, until a server has shut down its kernels."""
    try:
        REGISTRY.register(collector)
    except ValueError:  # another server of this process is faster, as in a notebook that starts one
        logger.info("the metrics of this process are those of another server")
        return

    async def unregister() -> None:
        REGISTRY.unregister(collector)

    manager.on_shutdown(unregister)
