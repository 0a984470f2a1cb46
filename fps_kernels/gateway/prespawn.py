"""Kernels that are started with the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import BadOption, FPSKernelsError, ServerStopping
from ..kernels.kernel import Kernel

if TYPE_CHECKING:
    from .config.gateway_options import KernelGatewayApp


async def start_pool(app: KernelGatewayApp, count: int | None = None) -> list[Kernel]:
    """Start `prespawn_count` kernels, or `count`, of the seed's kernelspec; returns when all are ready.

    Raises BadOption when one does not start; the others are left to whoever ends the server.
    """
    count = app.settings.prespawn_count if count is None else count
    starts = [app.kernels.registry.start(app.seed.kernel_name if app.seed else None) for _ in range(count)]
    try:
        kernels = await asyncio.gather(*starts)
        for kernel in kernels:
            if kernel.starting is not None:  # a slow one: `start` waits only as long as a client would
                await asyncio.shield(kernel.starting)
    except ServerStopping:
        raise
    except FPSKernelsError as exc:
        raise BadOption(f"prespawn_count={count}: {exc.message}") from exc
    return kernels
