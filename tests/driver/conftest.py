"""Kernels, and registries of kernels, that are driven in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fps_kernels.hosts.asphalt.config import KernelsConfig
from fps_kernels.kept.keeper_client import KeeperClient
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernels.registry import KernelRegistry

from ..support.drivers import Drivers
from ..support.keepers import Keepers
from ..support.kernelspecs import install_kernelspecs


@pytest.fixture
async def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Drivers]:
    """Makes drivers; nothing of their kernels may be left at the end."""
    async with Drivers(tmp_path, monkeypatch) as drivers:
        yield drivers


@pytest.fixture
async def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KernelRegistry]:
    """A registry without prewarmed kernels, which is stopped after the test."""
    install_kernelspecs(tmp_path / "share")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    folders: dict[str, Any] = {"root_dir": str(tmp_path), "connection_dir": str(tmp_path / "runtime")}
    config = KernelsConfig(**folders, prewarm=0, shutdown_wait_time_s=0.5, start_answer_s=10)
    registry = KernelRegistry(config.options(), Kernelspecs())
    yield registry
    await registry.stop()


@pytest.fixture
async def bounded() -> AsyncIterator[None]:
    """A test that uses this must end by itself, long before this bound."""
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


@pytest.fixture
async def keepers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Keepers]:
    """Makes connections to one keeper; nothing of it may be left at the end."""
    install_kernelspecs(tmp_path / "share")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    async with Keepers(tmp_path) as made:
        yield made


@pytest.fixture
async def keeper(keepers: Keepers) -> KeeperClient:
    """A server's connection to a keeper."""
    return await keepers.connect()
