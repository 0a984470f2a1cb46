"""The page of kernels in a real browser, at the gateway, at `fps-kernels lab` and on a stock Jupyter Server.

To renew the pictures of the documentation:
KERNELS_PAGE_SCREENSHOTS=docs/images pytest tests/browser/test_kernels_page.py -k picture
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, expect

from ..support.gateways import Gateway
from ..support.kernels_page import (
    HOSTS,
    HostServer,
    KernelsPage,
    TokenClient,
    axe_source,
    begin_host,
    token_client,
    violations,
    wait_host,
)
from ..support.kernelspecs import KERNEL, add_kernelspec
from ..support.messages import is_status
from ..support.servers import Server, options
from ..support.stock import StockServer
from ..support.users import UserClient, server_of
from ..support.waits import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE_MAX_BYTES = 150 * 1024
EMPTY_NOTEBOOK = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
FOREVER = "import time; stream('on')\nwhile True: time.sleep(0.05)"
HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZES = {1280: 620, 820: 1000, 390: 844}
"""The widths of the pictures, and their heights."""


@pytest.fixture(scope="module", params=HOSTS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    server = begin_host(request.param, tmp_path_factory.mktemp("host"))
    wait_host(server)
    share = server.base / "share" if isinstance(server, Gateway) else server.share
    argv = [sys.executable, str(KERNEL), "plain", "{connection_file}"]
    add_kernelspec(share, "hostile", {"argv": argv, "display_name": HOSTILE, "language": "python"})
    yield server
    server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def client(host: HostServer) -> AsyncIterator[TokenClient]:
    async with token_client(host) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def tab(host: HostServer, context: BrowserContext, tmp_path: Path) -> AsyncIterator[KernelsPage]:
    """The page, loaded. Nothing may have gone wrong in it at the end."""
    tab = KernelsPage(await context.new_page(), host.url)
    await tab.load()
    yield tab
    await tab.page.screenshot(path=tmp_path / "end.png")
    await tab.page.close()
    assert tab.problems == []


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe_source(tmp_path_factory.mktemp("axe"))


# --- one kernel -----------------------------------------------------------------------------------


async def test_the_token_is_not_in_the_address(tab: KernelsPage) -> None:
    assert "token" not in tab.page.url
    await tab.load("/kernels")  # the browser has its cookie
    await expect(tab.page.locator("#empty")).to_contain_text("No kernels are running")


async def test_an_interrupt_ends_what_runs(tab: KernelsPage, client: TokenClient) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        request = await socket.execute(FOREVER)
        await tab.shows(kernel_id, "busy")
        await tab.button(kernel_id, "Interrupt").click()
        await expect(tab.dialog).to_contain_text("Interrupt this kernel?")
        await tab.confirm("Interrupt")
        replies = [one for one in await socket.answers(request) if one["msg_type"] == "execute_reply"]
        assert [one["content"]["status"] for one in replies] == ["error"]
    await expect(tab.results).to_contain_text("Interrupted")
    await tab.shows(kernel_id, "idle")
    await expect(tab.button(kernel_id, "Interrupt")).to_be_focused()


async def test_a_restart_is_another_process_with_the_same_row(
    tab: KernelsPage, client: TokenClient, host: HostServer
) -> None:
    kernel_id = await client.start()
    await tab.shows(kernel_id, "idle")
    await tab.row(kernel_id).evaluate("row => { row.mark = 1 }")
    before = host.process_of(kernel_id).pid
    await tab.button(kernel_id, "Restart").click()
    await tab.confirm("Restart")
    await expect(tab.results).to_contain_text("Restarted")
    await tab.shows(kernel_id, "idle")
    assert host.process_of(kernel_id).pid != before
    assert await tab.row(kernel_id).evaluate("row => row.mark") == 1
    await expect(tab.button(kernel_id, "Restart")).to_be_focused()


async def test_a_kernel_that_is_shut_down_leaves_the_page(tab: KernelsPage, client: TokenClient) -> None:
    kernel_id, other = await client.start(), await client.start()
    await tab.button(kernel_id, "Shut down").click()
    await tab.confirm("Shut down")
    await expect(tab.row(kernel_id)).to_have_count(0)
    await expect(tab.results).to_contain_text("Shut down")
    assert [model["id"] for model in await client.kernels()] == [other]
    await tab.shows(other, "idle")


async def test_nothing_is_done_without_the_word_of_the_user(tab: KernelsPage, client: TokenClient) -> None:
    kernel_id = await client.start()
    button = tab.button(kernel_id, "Shut down")
    for leave in (
        lambda: tab.page.keyboard.press("Escape"),
        lambda: tab.page.keyboard.press("Enter"),  # Cancel has the focus
        lambda: tab.page.mouse.click(5, 5),
    ):
        await button.click()
        await expect(tab.dialog.get_by_role("button", name="Cancel")).to_be_focused()
        await leave()
        await expect(tab.dialog).to_be_hidden()
        await expect(button).to_be_focused()
    assert [model["id"] for model in await client.kernels()] == [kernel_id]
    await expect(tab.page.locator("#results")).to_be_hidden()


async def test_the_keyboard_is_enough(tab: KernelsPage, client: TokenClient) -> None:
    kernel_id = await client.start()
    await tab.shows(kernel_id, "idle")
    await tab.button(kernel_id, "Interrupt").focus()
    await tab.page.keyboard.press("Tab")
    await tab.page.keyboard.press("Tab")
    await expect(tab.button(kernel_id, "Shut down")).to_be_focused()
    await tab.page.keyboard.press("Enter")
    await expect(tab.dialog).to_be_visible()
    await tab.page.keyboard.press("Tab")
    await tab.page.keyboard.press("Enter")
    await expect(tab.row(kernel_id)).to_have_count(0)
    await expect(tab.page.locator(":focus")).to_have_count(1)  # it is not lost with the row


# --- several --------------------------------------------------------------------------------------


async def test_several_are_shut_down_at_once_though_one_vanishes_meanwhile(
    tab: KernelsPage, client: TokenClient
) -> None:
    one, vanishing, other, kept = [await client.start() for _ in range(4)]
    await tab.select(one, vanishing, other)
    await expect(tab.page.locator("#selected")).to_have_text("3 selected")
    await tab.act_on_selected("Shut down")
    await expect(tab.dialog).to_contain_text("Shut down 3 kernels?")
    await client.http.delete(f"/api/kernels/{vanishing}")
    await expect(tab.dialog.locator("li.gone")).to_contain_text("has ended")
    await tab.confirm("Shut down")
    await expect(tab.title).to_have_text("Shut down: 2 of 3 kernels")
    await expect(tab.results).to_have_count(3)
    await expect(tab.results.filter(has_text="Not there any more")).to_have_count(1)
    await expect(tab.rows).to_have_count(1)
    await tab.shows(kept, "idle")
    assert [model["id"] for model in await client.kernels()] == [kept]
    tab.problems = [problem for problem in tab.problems if "404" not in problem]  # Chromium tells of each


async def test_all_are_restarted_at_once(tab: KernelsPage, client: TokenClient, host: HostServer) -> None:
    kernels = [await client.start() for _ in range(3)]
    before = {host.process_of(one).pid for one in kernels}
    await expect(tab.rows).to_have_count(3)
    await tab.page.get_by_label("Select all").check()
    await tab.act_on_selected("Restart")
    await tab.confirm("Restart")
    await expect(tab.title).to_have_text("Restarted: 3 kernels")
    for one in kernels:
        await tab.shows(one, "idle")
    assert not before & {host.process_of(one).pid for one in kernels}


async def test_the_filter_and_the_order_are_the_users(tab: KernelsPage, client: TokenClient) -> None:
    first = (await client.start_session("b.ipynb"))["kernel"]["id"]
    second = (await client.start_session("a.ipynb", name="tiny_subshells"))["kernel"]["id"]

    async def order() -> list[str]:
        return await tab.rows.evaluate_all("rows => rows.map(row => row.dataset.kernel)")

    await expect(tab.rows).to_have_count(2)
    assert await order() == [first, second]
    notebook = tab.page.get_by_role("columnheader", name="Notebook")
    await notebook.get_by_role("button").click()
    assert await order() == [second, first]
    await expect(notebook).to_have_attribute("aria-sort", "ascending")
    await notebook.get_by_role("button").click()
    assert await order() == [first, second]
    await tab.page.get_by_label("Filter kernels").fill("SUBSHELLS")
    await expect(tab.row(first)).to_be_hidden()
    await expect(tab.row(second)).to_be_visible()
    await tab.page.get_by_label("Select all").check()
    await expect(tab.page.locator("#selected")).to_have_text("1 selected")  # what is hidden is not meant


# --- a page that stays open -----------------------------------------------------------------------


async def test_focus_and_places_stay_while_kernels_come_and_go(tab: KernelsPage, client: TokenClient) -> None:
    first, second, third = [await client.start() for _ in range(3)]
    await tab.shows(third, "idle")
    await tab.button(second, "Restart").focus()
    await client.http.delete(f"/api/kernels/{first}")
    await expect(tab.row(first)).to_have_count(0)
    new = await client.start()
    await tab.shows(new, "idle")
    await expect(tab.button(second, "Restart")).to_be_focused()
    await client.http.delete(f"/api/kernels/{second}")
    await expect(tab.row(second)).to_have_count(0)
    await expect(tab.row(third).get_by_role("checkbox")).to_be_focused()


@pytest.mark.parametrize("name", HOSTS)
async def test_a_server_that_comes_back_is_shown_again(name: str, context: BrowserContext, tmp_path: Path) -> None:
    env = {"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}  # where the key of the cookies is
    server = begin_host(name, tmp_path / "first", env=env)
    try:
        wait_host(server)
        tab = KernelsPage(await context.new_page(), server.url)
        await tab.load()
        async with TokenClient(server.url) as client:
            kernel_id = await client.start()
        await tab.shows(kernel_id, "idle")
        server.process.kill()
        await expect(tab.connection).to_contain_text("The server does not answer. Trying again… What you see is of")
        await expect(tab.connection).to_have_attribute("role", "status")
        await expect(tab.page.locator("body.stale")).to_have_count(1)
        await expect(tab.row(kernel_id)).to_be_visible()  # as it was
        await tab.button(kernel_id, "Interrupt").click()
        await tab.confirm("Interrupt")
        await expect(tab.results).to_contain_text("The server could not be reached")
    finally:
        server.wait_end()
    again = begin_host(name, tmp_path / "second", port=server.port, env=env)
    try:
        wait_host(again)
        await expect(tab.connection).to_have_text("Live")
        await expect(tab.page.locator("body.stale")).to_have_count(0)
        await expect(tab.row(kernel_id)).to_have_count(0)
        async with token_client(again) as client:
            await tab.shows(await client.start(), "idle")
        assert tab.problems == []
    finally:
        await tab.page.close()
        again.stop()
        for process in server.kernel_processes():
            process.kill()


@pytest.mark.parametrize("name", HOSTS)
async def test_a_login_that_has_ended_is_said(name: str, context: BrowserContext, tmp_path: Path) -> None:
    """The server comes back with another key, with which the cookie is worthless."""
    server = begin_host(name, tmp_path / "first")
    try:
        wait_host(server)
        tab = KernelsPage(await context.new_page(), server.url)
        await tab.load()
    finally:
        server.stop()
    again = begin_host(name, tmp_path / "second", port=server.port)
    try:
        wait_host(again)
        await expect(tab.connection).to_contain_text("You may not see this any more")
        await expect(tab.page.locator("body.stale")).to_have_count(1)
        await tab.connection.get_by_role("link", name="Log in again").click()
        await expect(tab.page).to_have_url(re.compile("/login"))
        await tab.load()
    finally:
        await tab.page.close()
        again.stop()


# --- names and paths of others --------------------------------------------------------------------


async def test_a_notebooks_name_opens_it(tab: KernelsPage, client: TokenClient, host: HostServer) -> None:
    notebook = "Übung 1.ipynb"
    if not isinstance(host, Gateway):
        await client.http.put(f"/api/contents/{notebook}", json={"type": "notebook", "content": EMPTY_NOTEBOOK})
    kernel_id = (await client.start_session(notebook))["kernel"]["id"]
    await tab.shows(kernel_id, "idle")
    link = tab.row(kernel_id).get_by_role("link", name=notebook)
    if isinstance(host, Gateway):  # there is no page of notebooks
        await expect(link).to_have_count(0)
        return
    async with tab.page.expect_popup() as popup:
        await link.click()
    page = await popup.value
    await expect(page.locator(".jp-Notebook")).to_be_visible()
    await expect(page).to_have_title(re.compile("Übung"))
    await page.close()


async def test_names_and_paths_are_text(tab: KernelsPage, client: TokenClient, host: HostServer) -> None:
    paths = [f"{HOSTILE}.ipynb", "javascript:window.hit=1", "a b/ü?#%41.ipynb", "%2e%2e/%2e%2e/x.ipynb"]
    if not isinstance(host, StockServer):  # which refuses such a path
        paths.append('"><svg onload=window.hit=1>/../../x.ipynb')
    kernels = [(await client.start_session(path, name="hostile"))["kernel"]["id"] for path in paths]
    for kernel_id, path in zip(kernels, paths, strict=True):
        await tab.shows(kernel_id, "idle")
        await expect(tab.row(kernel_id).locator("[data-part=name]")).to_have_text(HOSTILE)
        await expect(tab.row(kernel_id).locator("[data-part=sessions]")).to_have_text(path)
    for link in await tab.page.locator("#rows a").all():
        target = await link.evaluate("link => link.href")
        assert target.startswith((f"{tab.url}/lab/tree/", f"{tab.url}/notebooks/")), target
    await tab.page.get_by_label("Select all").check()
    await tab.act_on_selected("Restart")
    await expect(tab.dialog.locator("li")).to_have_count(len(paths))
    await tab.confirm("Restart")
    await expect(tab.title).to_have_text(f"Restarted: {len(paths)} kernels")
    assert await tab.page.evaluate("window.hit") is None


# --- who may not write ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    rights = {
        "owner": {"kernels": ["read", "write", "execute"], "sessions": ["read", "write"]},
        "watcher": {"kernels": ["read"]},
    }
    server = server_of(tmp_path_factory.mktemp("users"), rights)
    yield server
    server.stop()


async def test_who_may_only_watch_has_no_buttons(users: Server, context: BrowserContext, axe: str) -> None:
    page = await context.new_page()
    await page.set_extra_http_headers({"X-User": "watcher"})
    tab = KernelsPage(page, users.url)
    async with UserClient(users.url, "owner") as owner:
        session = await owner.start_session("secret.ipynb")
        await tab.load("/kernels")
        await tab.shows(session["kernel"]["id"], "idle")
        await expect(page.get_by_role("button", name=re.compile("Interrupt|Restart|Shut down"))).to_have_count(0)
        await expect(page.get_by_role("checkbox")).to_have_count(0)
        await expect(page.locator("#read-only")).to_be_visible()
        await expect(page.locator("body")).not_to_contain_text("secret.ipynb")
        assert await violations(page, axe) == []
        await owner.http.delete(f"/api/sessions/{session['id']}")
    await page.close()
    assert tab.problems == []


# --- for everybody's eyes and ears ----------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", SIZES)
async def test_axe_finds_nothing(tab: KernelsPage, client: TokenClient, axe: str, scheme: Any, width: int) -> None:
    page = tab.page
    await page.set_viewport_size({"width": width, "height": SIZES[width]})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    assert await violations(page, axe) == []  # without kernels
    busy = (await client.start_session("folder/a.ipynb"))["kernel"]["id"]
    await client.start_session("console-1", type="console")
    idle = await client.start("tiny_plain")
    async with await client.connect(busy) as socket, await client.connect(idle) as other:
        await socket.execute(FOREVER)
        await socket.until(lambda message: is_status(message, "busy"))
        await other.run("stream('x')")
        await tab.shows(busy, "busy")
        await expect(tab.rows).to_have_count(3)
        await tab.select(busy)
        assert await violations(page, axe) == []
        await tab.act_on_selected("Restart")
        await expect(tab.dialog).to_be_visible()
        assert await violations(page, axe) == []
        await tab.confirm("Restart")
        await expect(tab.title).to_have_text("Restarted: 1 kernel")
        assert await violations(page, axe) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


# --- pictures -------------------------------------------------------------------------------------

LOSSES = """import math, random, time
data = bytearray(150_000_000)
epoch = 0
while True:
    epoch += 1
    for step in range(1 + int(9 * (1 + math.sin(epoch / 3))) + random.randint(0, 4)):
        print(f"epoch {epoch}: loss {random.random():.3f}", flush=True)
        time.sleep(0.01)
    end = time.time() + 0.3
    while time.time() < end: math.sqrt(2)
    time.sleep(0.3)"""
WORKERS = """import multiprocessing, time
def work():
    part = bytearray(40_000_000)
    while True:
        sum(range(40_000)); time.sleep(0.04)
workers = [multiprocessing.get_context("fork").Process(target=work) for _ in range(3)]
for worker in workers: worker.start()
print("started", flush=True)
for worker in workers: worker.join()"""
IPYKERNEL = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
BASH = ["python", "-m", "bash_kernel", "-f", "{connection_file}"]
KERNELSPECS: dict[str, dict[str, Any]] = {
    "python3": {"argv": IPYKERNEL, "display_name": "Python 3 (ipykernel)", "language": "python"},
    "geo": {"argv": IPYKERNEL, "display_name": "Geodata", "language": "python"},
    "bash": {"argv": BASH, "display_name": "Bash", "language": "bash"},
}
CHARTED = 45
"""Samples that the charts of the pictures have."""


async def test_the_picture_for_the_documentation(context: BrowserContext, tmp_path: Path) -> None:
    folder = Path(os.environ.get("KERNELS_PAGE_SCREENSHOTS", tmp_path))
    keeping = options(keep_kernels="always", state_dir=str(tmp_path / "state"), restart_limit=0, prewarm=0)
    server = Server(tmp_path / "server", *keeping, full=True)
    shutil.rmtree(server.share / "kernels")
    for name, spec in KERNELSPECS.items():
        add_kernelspec(server.share, name, spec)
    server.wait_ready()
    tab = KernelsPage(await context.new_page(), server.url)
    try:
        async with token_client(server) as client:
            await picture(tab, client, folder)
    finally:
        await tab.page.close()
        server.stop()
        for process in server.kernel_processes():
            process.kill()
    assert tab.problems == []


async def picture(tab: KernelsPage, client: TokenClient, folder: Path) -> None:
    notebooks = [
        ("forecast/demand-2026-q4.ipynb", "python3", LOSSES),
        ("geo/rivers.ipynb", "geo", "print('ready')"),
        ("ops/backups.ipynb", "bash", "for i in $(seq 10000); do echo $i; sleep 0.$((RANDOM % 5 + 2)); done"),
        ("sketches/untitled.ipynb", "python3", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
        ("training/long-run.ipynb", "python3", WORKERS),
    ]
    kernels = [(await client.start_session(path, name))["kernel"]["id"] for path, name, _ in notebooks]
    await client.until(lambda models: all(model["execution_state"] == "idle" for model in models))
    sockets = [await client.connect(kernel_id) for kernel_id in (*kernels, kernels[0])]
    reading = [asyncio.create_task(read_on(socket)) for socket in sockets]
    await tab.load()
    for socket, (_, _, code) in zip(sockets, notebooks, strict=False):
        await socket.execute(code)
    await tab.page.emulate_media(color_scheme="light", reduced_motion="reduce")
    charted = "document.querySelector('[data-part=line]').getAttribute('d').split('L').length"
    await until(lambda: tab.page.evaluate(f"{charted} >= {CHARTED}"), 180)
    for kernel_id, state in zip(kernels, ("busy", "idle", "busy", "dead", "busy"), strict=True):
        await tab.shows(kernel_id, state)
    for width, height in SIZES.items():
        for scheme in SCHEMES:
            await tab.page.set_viewport_size({"width": width, "height": height})
            await tab.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            data = await tab.page.screenshot()
            if (scheme == "light") == (width != 820):  # one of the three shows the dark theme
                (folder / f"kernels-{width}.png").write_bytes(data)
            assert len(data) < PICTURE_MAX_BYTES, (width, scheme)
    for socket in sockets:
        await socket.ws.close()
    await asyncio.gather(*reading)


async def read_on(socket: Any) -> None:
    async for _ in socket.ws:
        pass
