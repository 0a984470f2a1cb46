"""Kernels that are driven in the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ..support.drivers import Drivers


@pytest.fixture
async def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Drivers]:
    """Makes drivers; nothing of them may be left at the end."""
    async with Drivers(tmp_path, monkeypatch) as drivers:
        yield drivers
