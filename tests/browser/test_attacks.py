"""Pages of other origins attack a JupyterLab that the user of the same browser has logged in to."""

from __future__ import annotations

import http.server
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright

from ..support.lab import ARGUMENTS, AUTHORIZATION
from ..support.notebooks import write_notebook
from ..support.servers import TOKEN, Server
from ..support.waits import until

ATTACK = """async ([target, {terminal, kernel, room, file}]) => {
  const done = {};
  const attempt = async (name, work) => {
    try { done[name] = await work(); } catch (error) { done[name] = "failed"; }
  };
  const simple = {method: "POST", mode: "no-cors", credentials: "include"};
  const open = (path, message) => new Promise((resolve, reject) => {
    const socket = new WebSocket(target.replace("http", "ws") + path);
    socket.onopen = () => {
      if (message) socket.send(JSON.stringify(message));
      resolve("opened");
    };
    socket.onerror = () => reject();
  });
  const request = {
    channel: "shell", parent_header: {}, metadata: {}, buffers: [],
    header: {msg_id: "1", session: "1", msg_type: "execute_request", username: "", version: "5.3", date: ""},
    content: {code: `open("${file}-by-kernel", "w")`, silent: false},
  };
  const shown = (tag, path, property) => new Promise((resolve, reject) => {
    const element = document.createElement(tag);
    element[property || "src"] = target + path;
    element.onload = () => resolve("loaded");
    element.onerror = () => reject();
    document.body.append(element);
  });
  const text = body => ({...simple, headers: {"Content-Type": "text/plain"}, body});
  await attempt("terminal", () => fetch(target + "/api/terminals", simple).then(() => "sent"));
  await attempt("kernel", () => fetch(target + "/api/kernels", text("{}")).then(() => "sent"));
  await attempt("session", () => fetch(target + "/api/sessions",
    text('{"path": "x.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}}')).then(() => "sent"));
  await attempt("file", () => fetch(target + "/api/contents", text('{"type": "file"}')).then(() => "sent"));
  await attempt("read", () => fetch(target + "/api/contents", {credentials: "include"}).then(r => r.text()));
  await attempt("put", () => fetch(target + "/api/contents/pwned.txt",
    {method: "PUT", credentials: "include", body: "{}"}).then(() => "sent"));
  await attempt("script", () => shown("script", "/api/contents"));
  await attempt("terminal socket", () => open(
    "/terminals/websocket/" + terminal, ["stdin", `touch "${file}-by-terminal"\\n`]));
  await attempt("document socket", () => open("/api/collaboration/room/" + room));
  await attempt("kernel socket", () => open("/api/kernels/" + kernel + "/channels", request));
  await attempt("logged in", () => fetch(target + "/login", text("secret=x")).then(() => "sent"));
  const frame = document.createElement("iframe");
  frame.name = "frame";
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, {method: "post", enctype: "text/plain", target: "frame", action: target + "/api/terminals"});
  document.body.append(form);
  form.submit();
  await new Promise(resolve => { frame.onload = resolve; });
  return done;
}"""


class Page(http.server.BaseHTTPRequestHandler):
    """A server of somebody else on this machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!DOCTYPE html><title>innocent</title><body>")

    def log_message(self, format: str, *args: object) -> None:
        """Not on stderr."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """The port of a server of somebody else."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module", params=[TOKEN, None], ids=["token", "no-token"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = [] if request.param else ["--no-token"]
    server = Server(tmp_path_factory.mktemp("attacked"), *options, "--set", "kernels.prewarm=0", full=True)
    server.wait_ready()
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # Its own guard against pages that reach for this machine is not what is tested.
        guard = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"
        names = "--host-resolver-rules=MAP evil.example 127.0.0.1"
        browser = await playwright.chromium.launch(executable_path=chromium, args=[*ARGUMENTS, guard, names])
        yield browser
        await browser.close()


async def logged_in(context: BrowserContext, server: Server) -> None:
    page = await context.new_page()
    await page.goto(f"{server.url}/lab?token={TOKEN}")
    await page.locator(".jp-Launcher").wait_for()
    assert "token" not in page.url
    await page.close()


def begin_work(server: Server) -> dict[str, str]:
    """What the user has open: a terminal, a kernel and a document; and a file that is not there."""
    write_notebook(server.root / "work.ipynb", "1")
    with httpx.Client(base_url=server.url, headers=AUTHORIZATION, trust_env=False, timeout=60) as client:
        terminal = client.post("/api/terminals").json()["name"]
        kernel = client.post("/api/kernels", json={"name": "tiny_plain"}).json()["id"]
        body = {"format": "json", "type": "notebook"}
        document = client.put("/api/collaboration/session/work.ipynb", json=body).json()["fileId"]
    room = f"json:notebook:{document}"
    return {"terminal": terminal, "kernel": kernel, "room": room, "file": str(server.root / "pwned")}


def harm(server: Server) -> dict[str, int]:
    with httpx.Client(base_url=server.url, headers=AUTHORIZATION, trust_env=False, timeout=30) as client:
        names = ("terminals", "kernels", "sessions")
        found = {name: len(client.get(f"/api/{name}").json()) for name in names}
        return found | {"files": len(list(server.root.iterdir()))}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
async def test_a_page_of_another_origin_does_no_harm(
    browser: Browser, server: Server, elsewhere: int, host: str
) -> None:
    context = await browser.new_context()
    await logged_in(context, server)
    work = begin_work(server)
    before = harm(server)
    page = await context.new_page()
    await page.goto(f"http://{host}:{elsewhere}/")
    done = await page.evaluate(ATTACK, [server.url, work])
    # What a page may send without asking is "sent"; it learns and causes nothing by that.
    assert {name for name, outcome in done.items() if outcome != "failed"} <= {
        "terminal",
        "kernel",
        "session",
        "file",
        "logged in",
    }
    assert harm(server) == before
    assert list(server.root.glob("pwned*")) == []
    await context.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_attack_is_one(browser: Browser, tmp_path: Path, elsewhere: int) -> None:
    """All of it succeeds where all origins are allowed."""
    options = ["--no-token", "--allow-origin", "*", "--set", "kernels.prewarm=0"]
    server = Server(tmp_path, *options, full=True)
    try:
        server.wait_ready()
        work = begin_work(server)
        before = harm(server)
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"http://localhost:{elsewhere}/")
        done = await page.evaluate(ATTACK, [server.url, work])
        assert {name for name in done if name.endswith("socket")} == {
            name for name, outcome in done.items() if outcome == "opened"
        }
        for by in ("terminal", "kernel"):
            await until((server.root / f"pwned-by-{by}").exists)
        after = harm(server)
        assert all(after[name] > before[name] for name in before), (before, after)
        await context.close()
    finally:
        server.stop()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_that_has_its_own_name_lead_here_gets_nothing(browser: Browser, server: Server) -> None:
    context = await browser.new_context()
    await logged_in(context, server)
    page = await context.new_page()
    answer = await page.goto(f"http://evil.example:{server.port}/lab")
    assert answer is not None
    assert answer.status == 403
    assert "evil.example" in await answer.text()
    outcome = await page.evaluate(
        "fetch('/api/kernels', {method: 'POST'}).then(response => response.status, () => 403)"
    )
    assert outcome == 403
    await context.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_link_of_another_site_leads_a_user_who_is_logged_in_to_jupyterlab(
    browser: Browser, server: Server, elsewhere: int
) -> None:
    context = await browser.new_context()
    await logged_in(context, server)
    page = await context.new_page()
    await page.goto(f"http://evil.example:{elsewhere}/")
    await page.evaluate("target => { location.href = target; }", f"{server.url}/lab")
    await page.locator(".jp-Launcher").wait_for()
    await context.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_no_other_site_shows_jupyterlab_in_a_frame(browser: Browser, server: Server, elsewhere: int) -> None:
    context = await browser.new_context()
    await logged_in(context, server)
    page = await context.new_page()
    await page.goto(f"http://localhost:{elsewhere}/")
    async with page.expect_response(lambda response: response.url.startswith(server.url)) as shown:
        await page.evaluate(
            "target => document.body.insertAdjacentHTML('beforeend', `<iframe src='${target}'></iframe>`)",
            f"{server.url}/lab",
        )
    assert (await shown.value).status == 403
    await context.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_person_logs_in_with_the_form(browser: Browser, server: Server) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{server.url}/lab/tree?x=1")
    if "/login" in page.url:
        await page.get_by_label("Token").fill("wrong")
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("alert").wait_for()
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Log in").click()
    await page.locator(".jp-Launcher, .jp-DirListing").first.wait_for()
    await context.close()
