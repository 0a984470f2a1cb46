"""A day's work with files in `jupyter lab` and `fps-kernels lab` side by side: the same is seen and kept."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from ..support.lab import TIMEOUT_MS, browser_context
from ..support.menus import EXPOSE
from ..support.side_by_side import LabHost, side_by_side
from ..support.waits import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = b"\x00\x01\x02\xff\xfe\xfd\n\r"
BIG_BYTES = 40 * 1024 * 1024
V3 = '{"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": []}]}'
IN_FRONT = "jupyterapp.shell.currentWidget"


class Desk:
    """One of the two servers, and a page of it in which somebody works."""

    def __init__(self, host: LabHost, page: Page) -> None:
        self.root = host.root
        self.page = page
        self.dialog = page.locator(".jp-Dialog").last
        self._host = host

    async def begin(self) -> None:
        """Have the page anew, and in the folder also what some servers stumble over."""
        self._host.reset()
        for link, target in (("dangling", "nothing"), ("loop", "loop"), ("folder/dangling", "nothing")):
            (self.root / link).symlink_to(target)
        await self.page.goto(f"{self._host.url}/lab?reset")
        await self.page.wait_for_function("window.jupyterapp && jupyterapp.restored")
        await self.item("text.txt").wait_for()

    def item(self, name: str) -> Locator:
        return self.page.locator(".jp-DirListing-item").filter(has=self.page.get_by_text(name, exact=True))

    async def choose(self, name: str, label: str) -> None:
        """From the context menu of a file."""
        await self.item(name).click(button="right")
        await self.page.locator(".lm-Menu-itemLabel").get_by_text(label, exact=True).click()

    async def asked(self, button: str) -> str:
        """The text of a dialog, once there is one, which is answered by a button."""
        await expect(self.dialog.locator(".jp-Dialog-header")).not_to_be_empty()
        text = await self.dialog.locator(".jp-Dialog-content").inner_text()
        handle = await self.dialog.element_handle()
        await self.dialog.locator(".jp-Dialog-button").get_by_text(button, exact=True).click()
        await self.page.wait_for_function("dialog => !dialog.isConnected", arg=handle)  # another one may come
        return text.replace(f"{self.root}{os.sep}", "")  # which a stock server tells

    async def open(self, name: str) -> None:
        await self.page.evaluate("path => void jupyterapp.commands.execute('docmanager:open', {path})", name)


Step = Callable[[Desk], Awaitable[Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desks(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Desk, Desk]]:
    with side_by_side(tmp_path_factory.mktemp("day")) as hosts:
        async with contextlib.AsyncExitStack() as stack:
            found = []
            for host in hosts:
                context = await stack.enter_async_context(browser_context(chromium, EXPOSE))
                page = await context.new_page()
                page.set_default_timeout(TIMEOUT_MS)
                found.append(Desk(host, page))
            yield found[0], found[1]


@pytest.fixture
def both(desks: tuple[Desk, Desk], tmp_path: Path) -> Callable[[Step], Awaitable[Any]]:
    """Do the same at both, and return what is the same of it; there is a picture of each at the end."""

    async def do(step: Step) -> Any:
        async def one(desk: Desk, name: str) -> Any:
            await desk.begin()
            try:
                return await step(desk)
            finally:
                await desk.page.screenshot(path=tmp_path / f"{name}.png")

        stock, ours = await asyncio.gather(one(desks[0], "stock"), one(desks[1], "ours"))
        assert stock == ours
        return ours

    return do


Both = Callable[[Step], Awaitable[Any]]


def sources(path: Path) -> list[list[str]]:
    """Those of the cells in a file; none while it is being written."""
    try:
        return [cell["source"] for cell in json.loads(path.read_text())["cells"]]
    except ValueError:
        return []


async def test_uploads_arrive_byte_for_byte(both: Both, tmp_path: Path) -> None:
    big = os.urandom(BIG_BYTES)
    (tmp_path / "eight.bin").write_bytes(SMALL)
    (tmp_path / "big.bin").write_bytes(big)

    async def upload(desk: Desk) -> Any:
        async with desk.page.expect_file_chooser() as chooser:
            await desk.page.locator("[data-command='filebrowser:upload'], jp-button[title*='Upload']").first.click()
        await (await chooser.value).set_files([tmp_path / "eight.bin", tmp_path / "big.bin"])
        asked = await desk.asked("Upload")
        await expect(desk.page.locator(".Toastify__toast")).to_contain_text("Upload complete (2 files)")
        assert (desk.root / "eight.bin").read_bytes() == SMALL
        assert (desk.root / "big.bin").read_bytes() == big
        return asked

    assert "The file size is 40 MB" in await both(upload)


async def test_a_rename_onto_another_file_asks_first(both: Both) -> None:
    async def rename(desk: Desk) -> Any:
        await desk.item("text.txt").click()
        await desk.page.keyboard.press("F2")
        await desk.page.locator(".jp-DirListing-editor").fill("data.csv")
        await desk.page.keyboard.press("Enter")
        asked = await desk.asked("Cancel")
        return asked, (desk.root / "data.csv").read_text(), (desk.root / "text.txt").read_text()

    asked, *kept = await both(rename)
    assert '"data.csv" already exists, overwrite?' in asked
    assert kept == ["a,b\n1,2\n", "text\n"]


async def test_a_file_is_downloaded_and_duplicated(both: Both) -> None:
    async def work(desk: Desk) -> Any:
        async with desk.page.expect_download() as downloading:
            await desk.choose("picture.png", "Download")
        download = await downloading.value
        saved = desk.root / "saved.png"
        await download.save_as(saved)
        assert saved.read_bytes() == (desk.root / "picture.png").read_bytes()
        await desk.choose("picture.png", "Duplicate")
        await desk.item("picture-Copy1.png").wait_for()
        assert (desk.root / "picture-Copy1.png").read_bytes() == (desk.root / "picture.png").read_bytes()
        return download.suggested_filename

    assert await both(work) == "picture.png"


async def test_a_picture_in_markdown_is_shown(both: Both) -> None:
    async def show(desk: Desk) -> Any:
        (desk.root / "page.md").write_text("![one](picture.png)")
        await desk.page.evaluate(
            "void jupyterapp.commands.execute('docmanager:open', {path: 'page.md', factory: 'Markdown Preview'})"
        )
        await expect(desk.page.locator(".jp-RenderedMarkdown img")).to_have_js_property("naturalWidth", 1)

    await both(show)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Unreadable Notebook: odd.ipynb NotJSONError"),
        (
            '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}',
            "missing an expected",
        ),
        (V3, "converted from an older notebook format (v3)"),
    ],
)
async def test_a_notebook_that_is_invalid_or_old_is_explained(both: Both, text: str, said: str) -> None:
    async def look(desk: Desk) -> Any:
        (desk.root / "odd.ipynb").write_text(text)
        await desk.open("odd.ipynb")
        return await desk.asked("Ok" if "older" in said else "Close")

    assert said in await both(look)


async def test_a_save_changes_what_was_changed_and_a_checkpoint_brings_it_back(both: Both) -> None:
    async def work(desk: Desk) -> Any:
        path = desk.root / "b.ipynb"
        before = path.read_text()
        await desk.open("b.ipynb")
        cell = desk.page.locator(".jp-Notebook .jp-CodeCell").first
        await cell.wait_for()
        await desk.page.wait_for_function(f"{IN_FRONT}.sessionContext.session?.kernel?.info.then(() => true)")
        for text in ("2", "3"):
            await desk.page.evaluate(
                f"async text => {{ const {{context, content}} = {IN_FRONT}; await context.ready;"
                "content.model.cells.get(1).sharedModel.setSource(text); await context.save();"
                "if (text === '2') await context.createCheckpoint(); }",
                text,
            )
        lines = [*difflib.unified_diff(before.splitlines(), path.read_text().splitlines(), lineterm="", n=0)]
        changed = [line for line in lines if re.match(r"[-+] ", line)]
        await desk.page.evaluate("void jupyterapp.commands.execute('docmanager:restore-checkpoint')")
        asked = await desk.asked("Revert")
        await until(lambda: sources(path)[1:2] == [["2"]])
        return changed, asked.partition("The checkpoint")[0]

    changed, asked = await both(work)
    assert changed[:2] == ['-    "1 + 1"', '+    "3"']
    assert "Are you sure you want to revert" in asked


async def test_what_is_not_there_is_said_and_the_page_goes_on(both: Both) -> None:
    async def work(desk: Desk) -> Any:
        await desk.page.goto(f"{desk.page.url.partition('/lab')[0]}/lab/tree/nothing.ipynb")
        said = await desk.asked("Close")
        await desk.item("text.txt").wait_for()
        return said

    assert "Could not find path: nothing.ipynb" in await both(work)
