"""JupyterLab in a real browser, for the tests that use it as a person does."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
from playwright.async_api import (
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Request,
    Response,
    WebSocket,
    async_playwright,
    expect,
)

from .servers import TOKEN, Server

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MS = 60_000

OURS = re.compile(r"/(api/)?(kernels|kernelspecs|sessions)\b")
"""URLs that this package answers."""
LACKING = re.compile(r"/api/(me|config|events)\b|/lab/api/workspaces\?|/lsp/status|Invalid response: 404")
"""What JupyterLab asks for and plain jupyverse does not have: noise in every test."""

CHANGE_CONFIG = """
document.addEventListener("readystatechange", () => {
  const element = document.getElementById("jupyter-config-data");
  if (document.readyState !== "interactive" || !element) return;
  const config = JSON.parse(element.textContent);
  config.exposeAppInBrowser = true;
  if (!config.collaborative) {
    config.federated_extensions = config.federated_extensions.filter(one => !one.name.startsWith("@jupyter/"));
    config.disabledExtensions = [];  // they replace some of JupyterLab's own
  }
  element.textContent = JSON.stringify(config);
});
"""
"""Makes JupyterLab's own objects reachable as window.jupyterapp, and leaves the extra `collaboration` to those who
want it: its extensions change how all files are opened and saved. jupyverse has no options for either."""

PYTHON = "Python 3 (ipykernel)"
AUTHORIZATION = {"Authorization": f"token {TOKEN}"}


async def continue_waiting(dialog: Locator) -> None:
    await dialog.get_by_role("button", name="Continue waiting").click()


@contextlib.asynccontextmanager
async def browser_context(chromium: str, *scripts: str) -> AsyncIterator[BrowserContext]:
    """A browser's window. scripts: what each of its pages runs first."""
    expect.set_options(timeout=TIMEOUT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        context = await browser.new_context(viewport={"width": 1200, "height": 800})
        for script in scripts:
            await context.add_init_script(script)
        yield context
        await browser.close()


class Lab:
    """A browser tab with JupyterLab.

    problems: what went wrong between it and our API. reconnects: how often it lost a WebSocket to a
    kernel, which it does only when the kernel is restarted: restarts says how often that was meant.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        self.reconnects = self.restarts = 0
        self._patient = False
        self.status_bar = page.locator("#jp-main-statusbar")
        self.launcher = page.locator(".jp-Launcher")
        self.dialog = page.locator(".jp-Dialog")
        self.cells = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", self._on_console)
        page.on("pageerror", self._on_page_error)
        page.on("response", self._on_response)
        page.on("requestfailed", self._on_request_failed)
        page.on("websocket", self._on_websocket)

    # --- what goes wrong: all is printed, which pytest shows when a test fails ---------------------

    def _note(self, text: str, *, ours: bool) -> None:
        if not LACKING.search(text):
            print(text)
        if ours:
            self.problems.append(text)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            text = f"console {message.type}: {message.text} ({message.location['url']})"
            self._note(text, ours=message.type == "error" and bool(OURS.search(text)))
            self.reconnects += "Connection lost" in text

    def _on_page_error(self, error: Error) -> None:
        self._note(f"uncaught: {error}", ours="kernel" in str(error).lower())

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            text = f"{response.status} {response.request.method} {response.url}"
            self._note(text, ours=bool(OURS.search(text)))

    def _on_request_failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # that is the page which went away
            text = f"{request.failure} {request.method} {request.url}"
            self._note(text, ours=bool(OURS.search(text)))

    def _on_websocket(self, websocket: WebSocket) -> None:
        ours = bool(OURS.search(websocket.url))
        websocket.on("socketerror", lambda error: self._note(f"WebSocket: {error} {websocket.url}", ours=ours))

    # --- the page ----------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Have a page in which notebooks can be made; it is loaded if need be."""
        if not await self.launcher.is_visible():
            await self.load()

    async def load(self) -> None:
        """Load JupyterLab with nothing open but its launcher."""
        if not self._patient:
            self._patient = True
            slow = self.dialog.filter(has_text="is taking some time to load")  # on a busy machine
            await self.page.add_locator_handler(slow, continue_waiting)
        await self.page.goto(f"{self.url}/lab?reset&token={TOKEN}")
        await expect(self.page).to_have_url(re.compile(r"/lab\b(?!.*token)"))
        await self.launcher.wait_for()

    async def close_tabs(self) -> None:
        """Close all without a question; JupyterLab shows its launcher then."""
        await self.page.evaluate("for (const tab of [...jupyterapp.shell.widgets('main')]) tab.dispose()")
        await self.launcher.wait_for()

    async def menu(self, menu: str, item: str) -> None:
        await self.page.locator(".lm-MenuBar-itemLabel").get_by_text(menu, exact=True).click()
        await self.page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()

    async def answer(self, title: str, button: str) -> None:
        """Press a button of the dialog with this title."""
        header = self.page.locator(".jp-Dialog-header").get_by_text(title, exact=True)
        dialog = self.dialog.filter(has=header)  # when it has gone, another may be there at once
        await dialog.locator(".jp-Dialog-button").get_by_text(button, exact=True).click()
        await expect(dialog).to_have_count(0)

    async def shows(self, state: str, kernel: str = PYTHON) -> None:
        """Wait until the page says that the kernel is in this state, such as `Busy`."""
        await expect(self.status_bar).to_contain_text(f"{kernel} | {state}")

    async def shows_no_kernel(self) -> None:
        await expect(self.status_bar).to_contain_text("No Kernel")

    async def idle(self, kernel: str = PYTHON) -> None:
        """Wait until the kernel is idle. JupyterLab loses what is run before the kernel is there."""
        await self.shows("Idle", kernel)

    async def connected(self) -> None:
        """Wait until the notebook in front has its kernel, which may be running a cell."""
        await expect(self.status_bar).to_contain_text(re.compile(r"Python 3 \(ipykernel\) \| (Idle|Busy)"))

    # --- the notebook in front ---------------------------------------------------------------------

    async def new_notebook(self, kernel: str = PYTHON) -> None:
        await self.page.locator(".jp-LauncherCard[data-category=Notebook]").filter(has_text=kernel).click()
        await self.idle(kernel)

    async def open_file(self, name: str) -> None:
        await self.page.locator(".jp-DirListing-item").get_by_text(name, exact=True).dblclick()
        await self.idle()

    async def start(self, code: str) -> Locator:
        """Type code into the last cell and press Shift+Enter; returns the cell at once."""
        count = await self.cells.count()
        await self.cells.last.locator(".cm-content").click()
        await self.page.keyboard.insert_text(code)
        await self.page.keyboard.press("Shift+Enter")
        await expect(self.cells).to_have_count(count + 1)
        return self.cells.nth(count - 1)

    async def run(self, code: str) -> str:
        """Run code to its end; returns the text of its output."""
        cell = await self.start(code)
        await expect_ended(cell)
        return "".join(await outputs(cell).all_inner_texts())

    async def run_forever(self) -> Locator:
        """Start a cell that does not end by itself, and wait until it runs."""
        cell = await self.start("import time\nprint('asleep', flush=True)\nwhile True: time.sleep(0.05)")
        await expect(outputs(cell)).to_have_text("asleep\n")
        return cell

    async def restart(self) -> None:
        self.restarts += 1
        await self.menu("Kernel", "Restart Kernel…")
        await self.answer("Restart Kernel?", "Restart")
        await self.idle()

    def check(self) -> None:
        """Nothing went wrong with our API."""
        assert not self.problems, "\n".join(self.problems)
        assert self.reconnects <= self.restarts

    async def change_kernel(self, kernel: str) -> None:
        await self.menu("Kernel", "Change Kernel…")
        await self.dialog.locator("select").select_option(label=kernel)
        await self.answer("Select Kernel", "Select")

    async def save_as(self, name: str) -> None:
        """Give a notebook another name, and save it; returns once our API knows.

        In this order: after a save the page lists the folder, and a stock server has no folder while it lists one of
        whose files is renamed.
        """
        await self.menu("File", "Rename Notebook…")
        await self.dialog.locator("input").fill(name)
        async with self.page.expect_response(lambda r: f'"path":"{name}"' in (r.request.post_data or "")):
            await self.answer("Rename File", "Rename")
        await self.save(name)
        await expect(self.status_bar).to_contain_text(name)

    async def save(self, name: str) -> None:
        """Save the notebook in front, which has this name; returns once our API knows."""
        async with self.page.expect_response(lambda r: r.request.method == "PUT" and name in r.url):
            await self.menu("File", "Save Notebook")

    # --- our API's view ----------------------------------------------------------------------------

    async def get(self, path: str) -> Any:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, headers=AUTHORIZATION) as client:
            return (await client.get(path)).json()

    async def delete_sessions(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, headers=AUTHORIZATION) as client:
            for session in (await client.get("/api/sessions")).json():
                await client.delete(f"/api/sessions/{session['id']}")


def outputs(cell: Locator) -> Locator:
    return cell.locator(".jp-OutputArea-output")


async def expect_ended(cell: Locator) -> None:
    await expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"))


async def expect_not_run(cell: Locator) -> None:
    await expect(cell.locator(".jp-InputPrompt")).to_have_text("[ ]:")


def print_log(server: Server) -> None:
    """The end of its log, without what JupyterLab loads."""
    lines = server.log.read_text().splitlines()
    print("the server's log:", *[line for line in lines if not re.search('"GET .* 200$', line)][-60:], sep="\n")
