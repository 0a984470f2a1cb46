"""Waiting for what has no events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], timeout_s: float = 30) -> Any:
    """Ask until the condition is true, for what has no events, such as files; returns what it is."""
    async with asyncio.timeout(timeout_s):
        while not (value := condition()):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    return value
