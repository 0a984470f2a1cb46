"""A real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from ..support.lab import CHANGE_CONFIG, browser_context
from ..support.programs import need, need_extension


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Debian's chromium."""
    return need("chromium")


@pytest.fixture(scope="session")
def extension() -> None:
    """Our extension of JupyterLab is there."""
    need_extension()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def context(chromium: str) -> AsyncIterator[BrowserContext]:
    """A browser's window."""
    async with browser_context(chromium, CHANGE_CONFIG) as context:
        yield context
