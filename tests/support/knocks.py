"""Connections to a server, one after the other, while it is replaced by another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx


@contextlib.asynccontextmanager
async def knocking(url: str) -> AsyncIterator[list[httpx.ConnectError]]:
    """Ask for `url` all the time, with a connection for each request. Yields the list of those that were refused."""
    refused: list[httpx.ConnectError] = []

    async def knock() -> None:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            while True:
                try:
                    await client.get(url, headers={"Connection": "close"})
                except httpx.ConnectError as exc:
                    refused.append(exc)
                except httpx.HTTPError:  # one that the server had taken when it was stopped
                    pass

    task = asyncio.create_task(knock())
    try:
        yield refused
    finally:
        task.cancel()
        await asyncio.wait([task])
