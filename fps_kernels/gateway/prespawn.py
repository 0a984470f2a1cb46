"""Kernels that are started with the server."""

from __future__ import annotations

import asyncio
from functools import partial

from ..errors import BadOption, FPSKernelsError, KernelTimeout, ServerStopping
from ..kernels.kernel import Kernel
from ..store.model import Purpose
from .context import GatewayContext


async def prespawn(context: GatewayContext, count: int) -> list[Kernel]:
    """Start kernels of the seed's kernelspec; return when all are ready.

    Raises BadOption if one does not start. The others end with the server.
    """
    kernel_name = context.seed.kernel_name if context.seed else None
    try:
        start = partial(context.kernels.registry.start, kernel_name, purpose=Purpose.WARM)
        kernels = await asyncio.gather(*(start() for _ in range(count)))
        for kernel in kernels:
            # `start` waits only as long as a client would.
            if not await kernel.wait_started(None):
                raise KernelTimeout(f"{kernel.model().get('reason')}")
            if kernel.starting is not None:
                kernel.starting.result()
    except ServerStopping:
        raise
    except FPSKernelsError as exc:
        raise BadOption(f"prespawn_count={count}: {exc.message}") from exc
    return kernels
