"""A real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, async_playwright, expect

from ..support.lab import ARGUMENTS, CHANGE_CONFIG, TIMEOUT_MS
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
    expect.set_options(timeout=TIMEOUT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        context = await browser.new_context(viewport={"width": 1200, "height": 800})
        await context.add_init_script(CHANGE_CONFIG)
        yield context
        await browser.close()
