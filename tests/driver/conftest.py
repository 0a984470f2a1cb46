"""A registry of kernels in the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fps_kernels.hosts.asphalt.config import KernelsConfig
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernels.registry import KernelRegistry

from ..support.kernelspecs import install_kernelspecs


@pytest.fixture
async def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KernelRegistry]:
    """A registry without prewarmed kernels, which is stopped after the test."""
    install_kernelspecs(tmp_path / "share")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    folders = {"root_dir": str(tmp_path), "connection_dir": str(tmp_path / "runtime")}
    registry = KernelRegistry(KernelsConfig(**folders, prewarm=0, shutdown_wait_time_s=0.5), Kernelspecs())
    yield registry
    await registry.stop()
