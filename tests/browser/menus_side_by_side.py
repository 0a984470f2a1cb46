"""Each item of JupyterLab's menus does in `fps-kernels lab` what it does in `jupyter lab`, side by side.

What has to be the same of an item is whether it is there and enabled, the dialogs and tabs that it opens, the requests
that fail, errors of the page, downloads, and answers to what is opened in other windows.

Takes eight minutes, and JupyterLab's own messages may come between: not collected by itself, see CONTRIBUTING.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import asdict
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from ..support.lab import TIMEOUT_MS, browser_context
from ..support.menus import EXPOSE, Item, MenuPage
from ..support.side_by_side import LabHost, side_by_side

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

MENUS = ["File", "Edit", "View", "Run", "Kernel", "Tabs", "Settings", "Help"]
TARGETS = {
    "a notebook": ".jp-DirListing-item[title*='b.ipynb']",
    "a text": ".jp-DirListing-item[title*='text.txt']",
    "a table": ".jp-DirListing-item[title*='data.csv']",
    "a folder": ".jp-DirListing-item[title*='folder']",
    "a picture": ".jp-DirListing-item[title*='picture.png']",
    "the list of files": ".jp-DirListing-content",
    "a code cell": ".jp-NotebookPanel .jp-CodeCell .jp-InputPrompt",
    "a Markdown cell": ".jp-NotebookPanel .jp-MarkdownCell .jp-InputPrompt",
    "an output": ".jp-NotebookPanel .jp-OutputArea-output",
    "a tab": "#jp-main-dock-panel .lm-TabBar-tab",
}


class Walker:
    """Goes through menus of one of the two."""

    def __init__(self, host: LabHost, page: Page) -> None:
        self._host = host
        self.page = MenuPage(page, host.url, "a.ipynb")

    async def items(self, menu: str) -> list[Item]:
        """The items of one of MENUS, or of the context menu of one of TARGETS."""
        if menu in TARGETS:
            return await self.page.context_menu(TARGETS[menu])
        return [item for item in await self.page.main_menu() if item.name.startswith(f"{menu} > ")]

    async def seen(self, menu: str, only: Collection[str] | None = None) -> dict[str, Any]:
        """What each item of a menu is and does. only: the keys of some."""
        self._host.reset()
        await self.page.open()
        found: dict[str, Any] = {}
        for item in await self.items(menu):
            if only is not None and item.key not in only:
                continue
            found[item.key] = {"enabled": item.enabled, "visible": item.visible}
            if item.enabled and item.visible:
                try:
                    found[item.key] |= await self._effect(menu, item)
                except Exception as exc:
                    exc.add_note(f"{item.key} of {menu} at {self._host.url}")
                    raise
        return found

    async def _effect(self, menu: str, item: Item) -> dict[str, Any]:
        same = {one.key: one for one in await self.items(menu)}
        if item.key not in same:  # such as a tab that was listed
            return {"end": "is gone"}
        effect = await self.page.execute(same[item.key])
        if effect.end == "leaves the page":
            await self.page.open()
        else:
            await self.page.tidy()
            if menu in MENUS:
                same = {one.key: one for one in await self.items(menu)}
                if item.key in same and same[item.key].toggled != item.toggled:
                    await self.page.execute(same[item.key])
                    await self.page.tidy()
        return {name: value for name, value in asdict(effect).items() if value}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def walkers(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Walker, Walker]]:
    with side_by_side(tmp_path_factory.mktemp("menus")) as hosts:
        async with contextlib.AsyncExitStack() as stack:
            found = []
            for host in hosts:  # a browser each: cookies know no ports, and only one page is in front
                context = await stack.enter_async_context(browser_context(chromium, EXPOSE))
                page = await context.new_page()
                page.set_default_timeout(TIMEOUT_MS)
                found.append(Walker(host, page))
            yield found[0], found[1]


@pytest.mark.parametrize("menu", [*MENUS, *TARGETS])
async def test_each_item_does_what_it_does_in_jupyter_lab(walkers: tuple[Walker, Walker], menu: str) -> None:
    found = await differences(walkers, menu)
    for _ in range(2):  # what a dialog or a message does that comes a little later is not there again
        if found:
            again = await differences(walkers, menu, found)
            found = {key: line for key, line in found.items() if key in again}
    assert list(found.values()) == [], "\n".join(found.values())


async def differences(walkers: tuple[Walker, Walker], menu: str, only: Collection[str] | None = None) -> dict[str, str]:
    """What differs, in words, by the keys of items."""
    stock, ours = await asyncio.gather(*(walker.seen(menu, only) for walker in walkers))
    assert only is not None or len(stock) > 3
    return {
        key: f"{key}\n    stock {stock.get(key)}\n    ours  {ours.get(key)}"
        for key in [*stock, *(ours.keys() - stock.keys())]
        if stock.get(key) != ours.get(key)
    }
