"""Kernels that are driven in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.driver import KernelDriver

from ..support.drivers import Drivers


@pytest.fixture
async def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Drivers]:
    """Makes drivers; nothing of their kernels may be left at the end."""
    async with Drivers(tmp_path, monkeypatch) as drivers:
        yield drivers


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    """Everything here must end by itself, long before this."""
    async with asyncio.timeout(60):
        yield


@pytest.fixture
async def driver(kernels: Drivers) -> KernelDriver:
    """The driver of a kernel that is ready."""
    return await kernels.start()


@pytest.fixture
async def client(driver: KernelDriver) -> KernelClient:
    """The client of a kernel that is ready."""
    return driver.client
