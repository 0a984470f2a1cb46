"""The page of kernels: what it is told, and who is told it. The same tests are for a stock Jupyter Server."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fps_kernels.kernels_page.kernel_feed import MAX_WATCHERS

from ..support.client import Client
from ..support.externals import ExternalKernel
from ..support.page_events import EVENTS, watching
from ..support.servers import Launch, Server, options
from ..support.users import UserClient, server_of
from ..support.waits import until

SLEEP = "import time; stream('on')\nwhile True: time.sleep(0.05)"


async def test_a_kernel_comes_and_goes_while_the_page_is_open(client: Client) -> None:
    async with watching(client) as page:
        await page.until(lambda one: one.samples)
        kernel_id = await client.start()
        shown = await page.until_kernel(kernel_id, lambda model: model["state"] == "idle")
        assert (shown["name"], shown["display_name"]) == ("tiny_plain", "Tiny (plain)")
        assert shown["actions"] == ["interrupt", "restart", "shutdown"]
        assert (shown["outlives"], shown["external"]) == ("no", False)
        await client.http.delete(f"/api/kernels/{kernel_id}")
        await page.until(lambda one: kernel_id not in one.kernels)


async def test_what_a_kernel_does_is_shown(client: Client) -> None:
    session = await client.start_session("folder/a.ipynb")
    kernel_id = session["kernel"]["id"]
    async with watching(client) as page, await client.connect(kernel_id) as socket:
        await page.until_kernel(kernel_id, lambda model: model["clients"] == 1)
        assert page.sessions[kernel_id] == [{"path": "folder/a.ipynb", "name": session["name"], "type": "notebook"}]
        await socket.execute(SLEEP)
        await page.until_kernel(kernel_id, lambda model: model["state"] == "busy")
        await client.http.post(f"/api/kernels/{kernel_id}/interrupt")
        idle = await page.until_kernel(kernel_id, lambda model: model["state"] == "idle")
        assert min(idle["last_activity"], idle["since"]) > idle["started"]
        request = await socket.execute("for i in range(100): stream('x')")
        await page.until_kernel(kernel_id, lambda model: model["messages_per_s"] > 0)
        await socket.answers(request)


async def test_a_death_is_shown_with_its_reason_and_a_restart_ends_that(client: Client) -> None:
    kernel_id = await client.start("tiny_plain")
    async with watching(client) as page, await client.connect(kernel_id) as socket:
        first = await page.until_kernel(kernel_id, lambda model: model["pid"])
        await socket.execute("import os; os.kill(os.getpid(), 9)")
        await page.until_kernel(kernel_id, lambda model: model["pid"] not in (None, first["pid"]))
        again = await page.until_kernel(kernel_id, lambda model: model["state"] == "idle")
        assert again["reason"] == ""


async def test_memory_and_cpu_are_those_of_the_kernels_processes(client: Client, server: Server) -> None:
    kernel_id = await client.start()
    async with watching(client) as page, await client.connect(kernel_id) as socket:
        await page.until_kernel(kernel_id, lambda model: model["memory_bytes"])
        child = "[sys.executable, '-c', 'x = bytearray(80_000_000); input()']"
        await socket.execute(f"import subprocess, sys; subprocess.Popen({child}, stdin=subprocess.PIPE)")
        await page.until_kernel(kernel_id, lambda model: model["memory_bytes"] > 80_000_000)
        shown = page.kernels[kernel_id]
        assert (shown["processes"], shown["pid"]) == (2, server.process_of(kernel_id).pid)
        await socket.execute("while True: pass")
        shown = await page.until_kernel(kernel_id, lambda model: (model["cpu_percent"] or 0) > 1)
        assert shown["usage_note"] == ""
        await client.http.post(f"/api/kernels/{kernel_id}/interrupt")


async def test_the_page_says_whose_it_is(client: Client, server: Server) -> None:
    async with watching(client) as page:
        await page.until(lambda one: one.server)
        assert page.response.headers["content-type"].startswith("text/event-stream")
        assert page.response.headers["cache-control"] == "no-store"
        assert (page.server["pid"], page.server["keeps"]) == (server.process.pid, "never")
        assert page.server["may_write"] is True


async def test_the_page_and_its_files_are_served(client: Client) -> None:
    page = await client.http.get("/kernels")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert policy.count("default-src") == 1
    assert page.headers["referrer-policy"] == "no-referrer"
    script = await client.http.get("/kernels/static/page.js")
    assert (script.status_code, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert script.headers["x-content-type-options"] == "nosniff"
    for path in ("/kernels/static/x.js", "/kernels/static/..%2Fpage_files.py", "/kernels/nothing"):
        assert (await client.http.get(path)).status_code == 404, path


@pytest.mark.parametrize("path", ["/kernels", "/kernels/static/page.css"])
async def test_a_browser_asks_whether_a_file_has_changed(client: Client, path: str) -> None:
    first = await client.http.get(path)
    assert first.headers["cache-control"] == "no-cache"
    again = await client.http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_there_is_a_bound_on_streams_and_room_again_when_one_ends(client: Client) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(MAX_WATCHERS - 1):
            await stack.enter_async_context(watching(client))
        async with watching(client) as last:
            await last.until(lambda one: one.samples)
            refused = await client.http.get(EVENTS)
            assert refused.status_code == 503
            assert str(MAX_WATCHERS) in refused.json()["message"]
            await last.until(lambda one: one.samples > 1)

        async def has_room() -> bool:
            async with watching(client) as page:
                return page.response.status_code == 200

        await until(has_room)


async def test_who_asks_for_the_headers_only_gets_them(client: Client) -> None:
    for path in ("/kernels", EVENTS):
        answer = await client.http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.fixture(params=[signal.SIGTERM, signal.SIGINT])
def signum(request: pytest.FixtureRequest) -> signal.Signals:
    """What ends a server without a question."""
    found: signal.Signals = request.param
    return found


async def test_the_end_of_the_server_ends_open_streams(launch: Launch, signum: signal.Signals) -> None:
    server = launch()
    async with Client(server.url) as client, watching(client) as page, watching(client) as other:
        await client.start()
        await page.until(lambda one: one.kernels)
        await other.until(lambda one: one.kernels)
        server.process.send_signal(signum)
        for one in (page, other):
            await one.until_ended()
        server.wait_end()
    assert "exceeded" not in server.log.read_text()
    assert "Traceback" not in server.log.read_text()
    assert server.kernel_processes() == []


# --- kernels whose processes are not ours ---------------------------------------------------------


@pytest.fixture
def external(tmp_path: Path) -> Iterator[ExternalKernel]:
    kernel = ExternalKernel(tmp_path)
    yield kernel
    kernel.stop()


async def test_an_external_kernel_has_a_reason_in_the_place_of_numbers(
    launch: Launch, tmp_path: Path, external: ExternalKernel
) -> None:
    folder = tmp_path / "external"
    folder.mkdir(mode=0o700)
    server = launch(*options(allow_external_kernels=True, external_connection_dir=str(folder)))
    external.show(folder)
    async with Client(server.url) as client:
        [model] = await client.until(lambda kernels: kernels and kernels[0]["execution_state"] == "idle")
        async with watching(client) as page:
            shown = await page.until_kernel(model["id"], lambda one: one["state"] == "idle")
    assert (shown["memory_bytes"], shown["cpu_percent"], shown["pid"]) == (None, None, None)
    assert "elsewhere" in shown["usage_note"]
    assert (shown["external"], shown["actions"]) == (True, ["interrupt"])


# --- who may see it -------------------------------------------------------------------------------

USERS = {
    "owner": {"kernels": ["read", "write", "execute"], "sessions": ["read", "write"]},
    "watcher": {"kernels": ["read"], "sessions": ["read"]},
    "runner": {"kernels": ["read", "execute"]},
    "clerk": {"sessions": ["read", "write"]},
}


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = server_of(tmp_path_factory.mktemp("users"), USERS)
    yield server
    server.stop()


async def test_who_may_read_kernels_sees_them_and_who_may_write_has_buttons(users: Server) -> None:
    async with UserClient(users.url, "owner") as owner:
        session = await owner.start_session("secret.ipynb")
        kernel_id = session["kernel"]["id"]
        for user, may_write, sessions in (("owner", True, 1), ("watcher", False, 1), ("runner", False, 0)):
            async with UserClient(users.url, user) as client, watching(client) as page:
                await page.until_kernel(kernel_id, lambda model: True)
                assert (page.server["may_write"], len(page.sessions.get(kernel_id, []))) == (may_write, sessions), user
                assert (await client.http.get("/kernels")).status_code == 200
        await owner.http.delete(f"/api/sessions/{session['id']}")


async def test_who_may_not_read_kernels_gets_what_the_api_answers(users: Server) -> None:
    for user in ("clerk", "nobody"):
        async with UserClient(users.url, user) as client:
            expected = (await client.http.get("/api/kernels")).status_code
            assert expected in (401, 403)
            for path in ("/kernels", EVENTS):
                assert (await client.http.get(path)).status_code == expected, (user, path)


# --- whether it counts as use ---------------------------------------------------------------------


async def test_an_idle_kernel_is_culled_though_its_page_is_open(launch: Launch) -> None:
    server = launch(*options(cull_idle_timeout_s=2, cull_interval_s=0.2))
    async with Client(server.url) as client, watching(client) as page:
        kernel_id = await client.start()
        await page.until_kernel(kernel_id, lambda model: True)
        await page.until(lambda one: kernel_id not in one.kernels)
    assert "is culled" in server.log.read_text()


# --- kernels that outlive the server --------------------------------------------------------------


async def test_what_a_kernel_survives_is_shown(launch: Launch, tmp_path: Path) -> None:
    server = launch(*options(keep_kernels="crash", state_dir=str(tmp_path / "state")))
    async with Client(server.url) as client, watching(client) as page:
        kernel_id = await client.start()
        shown = await page.until_kernel(kernel_id, lambda model: model["memory_bytes"])
        assert shown["outlives"] == "crash"
        assert page.server["keeps"] == "crash"
        os.kill(page.server["keeper_pid"], 0)  # it is there
