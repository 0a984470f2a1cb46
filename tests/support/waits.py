"""Waiting for what has no events."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], timeout_s: float = 60, *, every_s: float = 0.01) -> Any:
    """Ask until the condition is true, and return what it is then. Raises TimeoutError.

    condition: a function or a coroutine function. every_s: seconds between two questions; 0: in each turn of the loop.
    """
    async with asyncio.timeout(timeout_s):
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(every_s)
