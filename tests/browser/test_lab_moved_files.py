"""Shared documents of `fps-kernels lab` whose files another program renames, moves or deletes while they are open."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, expect

from ..support.gateways import Gateway
from ..support.lab import CHANGE_CONFIG, TIMEOUT_MS, browser_context
from ..support.ports import free_port
from ..support.servers import TOKEN
from ..support.waits import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHARED = ("frontend.collaborative=true", "kernels.require_yjs=true", "jupyterlab.server_side_execution=true")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    base = tmp_path_factory.mktemp("moved")
    options = ("--port", str(free_port()), "--token", TOKEN, "--root-dir", str(base))
    server = Gateway(base / "home", "lab", *options, *(word for one in SHARED for word in ("--set", one)))
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
def folder(server: Gateway, request: pytest.FixtureRequest) -> Path:
    """A folder of the test's own."""
    folder = server.base.parent / re.sub("[^a-z]", "", request.node.name[-30:])
    folder.mkdir()
    (folder / "a.txt").write_text("one\n")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def context(chromium: str) -> AsyncIterator[BrowserContext]:
    async with browser_context(chromium, CHANGE_CONFIG) as context:
        yield context


class Editor:
    """A page with a text that is shared."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._text = page.locator(".jp-FileEditor .cm-content")

    async def open(self, server: Gateway, path: Path) -> None:
        """Open it, and wait until a first change of it is saved."""
        name = path.relative_to(server.base.parent).as_posix()
        await self.page.goto(f"{server.url}/lab/tree/{name}?reset&token={TOKEN}")
        await expect(self._text).to_contain_text("one")
        await self.append("two")
        await until(lambda: path.read_text() == "one\ntwo")
        await self.page.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty")

    async def append(self, text: str) -> None:
        await self._text.evaluate("editor => editor.focus()")  # a click may meet a dialog of the file browser
        await self.page.keyboard.press("Control+End")
        await self.page.keyboard.insert_text(text)

    async def has_path(self, path: str) -> None:
        await self.page.wait_for_function("path => jupyterapp.shell.currentWidget.context.path === path", arg=path)


@pytest_asyncio.fixture(loop_scope="module")
async def editor(context: BrowserContext) -> AsyncIterator[Editor]:
    page = await context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    yield Editor(page)
    await page.close()


@pytest.mark.parametrize("new", ["b.txt", "sub/a.txt"])
async def test_a_text_that_is_moved_is_saved_where_it_is(
    server: Gateway, editor: Editor, folder: Path, new: str
) -> None:
    (folder / "sub").mkdir()
    await editor.open(server, folder / "a.txt")
    (folder / "a.txt").rename(folder / new)
    await editor.append("three")  # at once: it is saved all the same
    await until(lambda: (folder / new).read_text() == "one\ntwothree")
    await editor.has_path(f"{folder.name}/{new}")
    await editor.append("four")
    await editor.page.keyboard.press("Control+s")
    await until(lambda: (folder / new).read_text() == "one\ntwothreefour")
    await expect(editor.page.locator(".jp-Dialog")).to_have_count(0)
    assert not (folder / "a.txt").exists()


async def test_a_text_whose_folder_is_renamed_is_saved_there(server: Gateway, editor: Editor, folder: Path) -> None:
    await editor.open(server, folder / "a.txt")
    os.rename(folder, folder.with_name("other"))
    await editor.append("three")
    await until(lambda: (folder.with_name("other") / "a.txt").read_text() == "one\ntwothree")
    await editor.has_path("other/a.txt")
    assert folder.name not in os.listdir(folder.parent)


async def test_a_text_that_is_deleted_stays_in_the_page_and_is_saved_on_request(
    server: Gateway, editor: Editor, folder: Path
) -> None:
    await editor.open(server, folder / "a.txt")
    (folder / "b.txt").write_text("another\n")
    (folder / "a.txt").unlink()
    await editor.append("three")
    server.wait_log("a.txt has gone while it is open: what is changed in it is not saved")
    assert not (folder / "a.txt").exists()
    assert await editor.page.evaluate("jupyterapp.shell.currentWidget.context.model.dirty")
    await editor.page.keyboard.press("Control+s")
    await until((folder / "a.txt").exists)
    await until(lambda: (folder / "a.txt").read_text() == "one\ntwothree")
    assert (folder / "b.txt").read_text() == "another\n"


async def test_an_editor_that_takes_a_file_away_for_a_moment_has_its_text_shown(
    server: Gateway, editor: Editor, folder: Path
) -> None:
    """As vim does: the old file becomes a~, a new one is written, and a~ is deleted."""
    await editor.open(server, folder / "a.txt")
    (folder / "a.txt").rename(folder / "a.txt~")
    (folder / "a.txt").write_text("new\n")
    (folder / "a.txt~").unlink()
    await expect(editor.page.locator(".jp-FileEditor .cm-content")).to_contain_text("new")
    await editor.append("more")
    await until(lambda: (folder / "a.txt").read_text() == "new\nmore")
    assert not (folder / "a.txt~").exists()
