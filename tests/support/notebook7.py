"""Notebook 7 in a real browser: each notebook is a page of its own, made of JupyterLab's parts."""

from __future__ import annotations

import itertools
import re
from typing import Any

import httpx
from playwright.async_api import Page, expect

from .lab import AUTHORIZATION, PYTHON, Lab
from .notebooks import notebook
from .servers import TOKEN

NAMES = (f"Notebook{number}.ipynb" for number in itertools.count())


class Notebook7(Lab):
    """A browser tab with a notebook in it."""

    def __init__(self, page: Page, url: str) -> None:
        super().__init__(page, url)
        self._status = page.locator(".jp-NotebookPanel-toolbar .jp-Notebook-ExecutionIndicator")
        self._kernel = page.locator(".jp-NotebookPanel-toolbar .jp-KernelName")

    async def prepare(self) -> None:
        """Nothing: a notebook is loaded by its URL."""

    async def load(self) -> None:
        """Load the page that lists the files."""
        await self.page.goto(f"{self.url}/tree?token={TOKEN}")
        await self.page.locator(".jp-DirListing-content").wait_for()

    async def close_tabs(self) -> None:
        await self.page.goto("about:blank")

    async def shows(self, state: str, kernel: str = PYTHON) -> None:
        await expect(self._kernel).to_have_text(kernel)
        await expect(self._status).to_have_attribute("data-status", state.lower())

    async def shows_no_kernel(self) -> None:
        await expect(self._kernel).to_have_text("No Kernel")

    async def connected(self) -> None:
        await expect(self._kernel).to_have_text(PYTHON)
        await expect(self._status).to_have_attribute("data-status", re.compile("idle|busy"))

    async def new_notebook(self, kernel: str = PYTHON) -> None:
        assert kernel == PYTHON
        name = next(NAMES)
        model: dict[str, Any] = {"type": "notebook", "format": "json", "content": notebook("", kernel="python3")}
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, headers=AUTHORIZATION) as client:
            (await client.put(f"/api/contents/{name}", json=model)).raise_for_status()
        await self.open_file(name)

    async def open_file(self, name: str) -> None:
        await self.page.goto(f"{self.url}/notebooks/{name}?token={TOKEN}")
        await self.idle()

    async def save_as(self, name: str) -> None:
        """Give the notebook another name, and save it, in the order in which JupyterLab's test does it.

        A page that still saves under the old name when the file is renamed says that there is no such file.
        """
        await self.menu("File", "Rename…")
        await self.dialog.locator("input").fill(name)
        async with self.page.expect_response(lambda r: f'"path":"{name}"' in (r.request.post_data or "")):
            await self.answer("Rename File", "Rename")
        await expect(self.page).to_have_url(re.compile(re.escape(name)))
        await self.save(name)
