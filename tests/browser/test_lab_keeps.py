"""What JupyterLab of `fps-kernels lab` keeps, opens and exports, in a real browser."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import pytest_asyncio
from nbformat.v4 import new_markdown_cell, new_notebook
from playwright.async_api import BrowserContext, Page, expect

from ..support.gateways import Gateway, environment
from ..support.lab import TIMEOUT_MS, Lab, browser_context
from ..support.ports import free_port
from ..support.servers import TOKEN
from ..support.venvs import install_beside

pytestmark = pytest.mark.asyncio(loop_scope="module")

OFF = ("@jupyter/collaboration-extension", "@jupyter/docprovider-extension")
"""The extra `collaboration`, which another part of the server belongs to."""


KERNEL = {"name": "tiny_plain", "display_name": "Tiny", "language": "python"}


class User:
    """Somebody with a folder, in which a server may be begun again and again, on the same port."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.port = free_port()
        self.server: Gateway | None = None
        labconfig = base / "config" / "labconfig"
        labconfig.mkdir(parents=True)
        chosen = {"disabledExtensions": dict.fromkeys(OFF, True), "exposeAppInBrowser": True}
        (labconfig / "page_config.json").write_text(json.dumps(chosen))
        for name in ("a", "b"):
            document = new_notebook(cells=[new_markdown_cell(f"# Title of {name}")], metadata={"kernelspec": KERNEL})
            nbformat.write(document, base / f"{name}.ipynb")

    def begin(self, **env: str) -> str:
        """Begin the server, once more if it was there; returns its URL."""
        self.end()
        options = ("--port", str(self.port), "--port-retries", "0", "--token", TOKEN)
        self.server = Gateway(self.base, "lab", *options, env={"SHELL": "/bin/sh"} | env)
        self.server.wait_ready()
        return self.server.url

    def end(self) -> None:
        if self.server is not None:
            self.server.stop()


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    user = User(tmp_path)
    yield user
    user.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def context(chromium: str) -> AsyncIterator[BrowserContext]:
    async with browser_context(chromium) as context:
        yield context


@pytest_asyncio.fixture(loop_scope="module")
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    page = await context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    yield page
    await page.close()


async def open_lab(page: Page, url: str, path: str = "/lab") -> Lab:
    await page.goto(f"{url}{path}{'&' if '?' in path else '?'}token={TOKEN}")
    await page.wait_for_function("window.jupyterapp && jupyterapp.restored")
    await page.evaluate("jupyterapp.restored.then(() => true)")
    return Lab(page, url)


def open_paths(page: Page) -> Any:
    return page.evaluate("[...jupyterapp.shell.widgets('main')].map(tab => tab.context?.path ?? tab.id)")


async def test_the_theme_stays_over_a_restart_of_the_server(user: User, page: Page) -> None:
    lab = await open_lab(page, user.begin())
    await expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "true")
    async with page.expect_response(lambda response: response.request.method == "PUT" and "themes" in response.url):
        await page.locator(".lm-MenuBar-itemLabel").get_by_text("Settings", exact=True).click()
        await page.locator(".lm-Menu-itemLabel").get_by_text("Theme", exact=True).hover()
        await page.locator(".lm-Menu-itemLabel").get_by_text("JupyterLab Dark", exact=True).click()
    await expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    kept = user.base / "config/lab/user-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings"
    assert '"theme": "JupyterLab Dark"' in kept.read_text()
    await page.goto("about:blank")
    await open_lab(page, user.begin())
    await expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    background = "getComputedStyle(document.body).getPropertyValue('--jp-layout-color0').trim()"
    assert await page.evaluate(background) not in ("", "#fff", "white")
    lab.check()


async def test_a_language_that_is_chosen_stays_over_a_restart_of_the_server(
    user: User, page: Page, tmp_path: Path
) -> None:
    env = install_beside(tmp_path / "packs", "jupyterlab-language-pack-fr-FR")
    await open_lab(page, user.begin(**env))
    await page.locator(".lm-MenuBar-itemLabel").get_by_text("Settings", exact=True).click()
    await page.locator(".lm-Menu-itemLabel").get_by_text("Language", exact=True).hover()
    await page.locator(".lm-Menu-itemLabel").get_by_text("French (France) - Français (France)", exact=True).click()
    async with page.expect_navigation():  # in the other language
        await page.locator(".jp-Dialog-button.jp-mod-accept").click()
    menus = page.locator(".lm-MenuBar-itemLabel")
    await expect(menus.first).to_have_text("Fichier")
    await page.goto("about:blank")
    lab = await open_lab(page, user.begin(**env))
    await expect(menus.first).to_have_text("Fichier")
    await page.screenshot(path=tmp_path / "french.png")
    lab.check()


async def test_a_plugin_that_is_disabled_is_not_there(user: User, page: Page) -> None:
    url = user.begin()
    await open_lab(page, url)
    has_about = "jupyterapp.commands.hasCommand('help:about')"
    assert await page.evaluate(has_about)
    about = "@jupyterlab/help-extension:about"
    for command, expected in (("disable", False), ("enable", True)):
        arguments = ["-m", "jupyterlab.labextensions", command, "--level=user", about]
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment(user.base))
        assert await asyncio.wait_for(process.wait(), 60) == 0
        await open_lab(page, url)  # no restart is needed
        assert await page.evaluate(has_about) is expected


async def test_a_url_opens_its_file(user: User, page: Page) -> None:
    url = user.begin()
    await open_lab(page, url, "/lab/tree/a.ipynb")
    title = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-RenderedMarkdown h1")
    await expect(title).to_contain_text("Title of a")
    assert await page.evaluate("jupyterapp.shell.mode") == "multiple-document"
    await open_lab(page, url, "/doc/tree/b.ipynb")
    await expect(title).to_contain_text("Title of b")
    assert await page.evaluate("jupyterapp.shell.mode") == "single-document"


async def test_a_workspace_keeps_its_tabs_over_a_restart_of_the_server(user: User, page: Page) -> None:
    url = user.begin()

    def saved(response: Any) -> bool:
        request = response.request
        return request.method == "PUT" and "/lab/api/workspaces/mine" in response.url and "b.ipynb" in request.post_data

    async with page.expect_response(saved):
        await open_lab(page, url, "/lab/workspaces/mine/tree/b.ipynb")
    await open_lab(page, user.begin(), "/lab/workspaces/mine")
    assert "b.ipynb" in await open_paths(page)
    await open_lab(page, url, "/lab")
    assert "b.ipynb" not in await open_paths(page)
    await open_lab(page, url, "/lab/workspaces/copy?clone=mine")
    assert "b.ipynb" in await open_paths(page)
    await open_lab(page, url, "/lab/workspaces/mine?reset")
    assert "b.ipynb" not in await open_paths(page)


async def test_a_terminal_shows_its_content_again_after_a_reload(user: User, page: Page) -> None:
    async with page.expect_response(
        lambda response: response.request.method == "PUT" and "terminal:" in (response.request.post_data or "")
    ):
        await open_lab(page, user.begin())
        await page.evaluate("jupyterapp.commands.execute('terminal:create-new').then(() => true)")
        terminal = page.locator(".jp-Terminal .xterm")
        await terminal.click()
        await page.keyboard.type("echo $((6 * 7))000\n")
        await page.wait_for_function(SHOWS_ANSWER)
    await page.reload()
    await page.wait_for_function(SHOWS_ANSWER)


SHOWS_ANSWER = """() => {
  const tabs = window.jupyterapp ? [...jupyterapp.shell.widgets("main")] : [];
  return tabs.some(tab => {
    const buffer = tab.content?._term?.buffer?.active;
    const rows = buffer ? [...Array(buffer.length).keys()] : [];
    return rows.some(row => buffer.getLine(row).translateToString().startsWith("42000"));
  });
}"""
"""Whether a line of a terminal is what the command has printed. The terminal draws on a canvas, which has no text."""


async def test_an_export_is_saved_under_the_name_of_the_notebook(user: User, page: Page) -> None:
    await open_lab(page, user.begin(), "/lab/tree/a.ipynb")
    await expect(page.locator(".jp-RenderedMarkdown h1")).to_contain_text("Title of a")
    exported = page.context.expect_event("response", lambda answer: "/nbconvert/html/a.ipynb" in answer.url)
    async with exported as event:
        # What File > Save and Export Notebook As > HTML runs. It asks whether to sanitize.
        await page.evaluate("void jupyterapp.commands.execute('notebook:export-to-format', {format: 'html'})")
        await page.locator(".jp-Dialog-button.jp-mod-accept").click()
    answer = await event.value
    assert answer.status == 200
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a.html"
