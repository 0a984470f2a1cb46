"""The page of kernels in a real browser, and the servers that have one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import ConsoleMessage, Error, Locator, Page, expect

from .client import Client, Socket
from .gateways import Gateway, option
from .programs import need
from .servers import TOKEN, Server, options
from .stock import StockServer

HostServer = Gateway | Server | StockServer
HOSTS = ("gateway", "lab", "stock")
AXE = "axe-core@4.14.1"
UNREACHABLE = re.compile(
    r"net::ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|EMPTY_RESPONSE|NETWORK_IO_SUSPENDED)"
)
"""What Chromium says of a server that is gone, whatever the page makes of it."""


def begin_host(name: str, base: Path, *, port: int | None = None, env: dict[str, str] | None = None) -> HostServer:
    """One of HOSTS, which asks for the token; the two that can have a base URL have one. It is not waited for."""
    if name == "gateway":
        token, base_url = option("auth_token", TOKEN), option("base_url", "/gate/way")
        return Gateway(base, "--JupyterWebsocketPersonality.list_kernels=True", token, base_url, port=port, env=env)
    if name == "lab":
        return Server(base, *options(prewarm=0), full=True, port=port, env=env)
    token, base_url = f"--IdentityProvider.token={TOKEN}", "--ServerApp.base_url=/user/ada/"
    return StockServer(base, token, base_url, port=port, env=env)


def wait_host(server: HostServer) -> None:
    """Wait until it answers, and have its URL end with its base URL."""
    server.wait_ready()
    if isinstance(server, StockServer):
        server.url += "/user/ada"


class TokenClient(Client):
    """Talks to a server with the token."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.http.headers["Authorization"] = f"token {TOKEN}"

    async def connect(self, kernel_id: str, *, v1: bool = True, session: str | None = None, **options: Any) -> Socket:
        options.setdefault("additional_headers", {"Authorization": f"token {TOKEN}"})
        return await super().connect(kernel_id, v1=v1, session=session, **options)


@asynccontextmanager
async def token_client(server: HostServer) -> AsyncIterator[TokenClient]:
    """A client of a server that is shared; nothing that it starts is left."""
    async with TokenClient(server.url) as client:
        yield client
        for kind in ("sessions", "kernels"):
            for model in (await client.http.get(f"/api/{kind}")).json():
                await client.http.delete(f"/api/{kind}/{model['id']}")


class KernelsPage:
    """A browser tab with the page.

    problems: what the browser's console says is wrong, such as a violation of the page's policy.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        self.connection = page.locator("#connection")
        self.dialog = page.locator("dialog")
        self.results = page.locator("#results-list li")
        self.title = page.locator("#results-title")
        self.rows = page.locator("#rows tr")
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not UNREACHABLE.search(message.text):
            self._note(f"{message.type}: {message.text}")

    def _on_error(self, error: Error) -> None:
        self._note(f"uncaught: {error}")

    def _note(self, problem: str) -> None:
        print(problem)  # pytest shows it when a test fails
        self.problems.append(problem)

    async def load(self, path: str = f"/kernels?token={TOKEN}") -> None:
        await self.page.goto(self.url + path)
        await expect(self.connection).to_have_text("Live")

    def row(self, kernel_id: str) -> Locator:
        return self.page.locator(f'tr[data-kernel="{kernel_id}"]')

    def button(self, kernel_id: str, action: str) -> Locator:
        return self.row(kernel_id).get_by_role("button", name=action)

    async def shows(self, kernel_id: str, state: str) -> None:
        await expect(self.row(kernel_id)).to_have_attribute("data-state", state)

    async def select(self, *kernel_ids: str) -> None:
        for kernel_id in kernel_ids:
            await self.row(kernel_id).get_by_role("checkbox").check()

    async def act_on_selected(self, action: str) -> None:
        await self.page.get_by_role("group", name="All selected kernels").get_by_role("button", name=action).click()

    async def confirm(self, button: str) -> None:
        await self.dialog.get_by_role("button", name=button).click()
        await expect(self.dialog).to_be_hidden()


def axe_source(folder: Path) -> str:
    """The script of axe-core, which npm installs into a folder."""
    command = [need("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), AXE]
    done = subprocess.run(command, timeout=200, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


async def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds wrong with a page as it is now: the rule, and where."""
    await page.evaluate(axe)
    found = await page.evaluate("axe.run(document).then(results => results.violations)")
    return [f"{one['id']}: {node['html']} {node['failureSummary']}" for one in found for node in one["nodes"]]
