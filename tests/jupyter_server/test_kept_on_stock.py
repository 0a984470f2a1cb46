"""Kernels and sessions that go on although their Jupyter Server ends, and the next one that takes them over."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
import websockets

from fps_kernels.keeper.keeper_folder import KeeperFolder
from fps_kernels.kept.keeper_client import KeeperClient

from ..gateway import test_kept_clients
from ..support.client import Client
from ..support.keepers import is_running
from ..support.kept_servers import is_idle, make
from ..support.kept_stock import KeptStock
from ..support.messages import is_end_of, text_of
from ..support.stock import OURS
from ..support.waits import until


@pytest.fixture
def kept_gateways(kept_stock: KeptStock) -> KeptStock:
    """The servers of the tests that are those of gateways, too."""
    return kept_stock


async def test_kernels_and_sessions_go_on(kept_stock: KeptStock) -> None:
    first = kept_stock.begin()
    async with Client(first.url) as client:
        session = await client.start_session("work/a.ipynb")
        kernel_id = session["kernel"]["id"]
        assert await client.evaluate(kernel_id, "globals().setdefault('x', 41)") == "41"
    process = first.process_of(kernel_id)
    kept_stock.kill(first)
    second = kept_stock.begin()
    async with Client(second.url) as client:
        [again] = (await client.http.get("/api/sessions")).json()
        assert {**again, "kernel": {}} == {**session, "kernel": {}}
        assert again["kernel"]["id"] == kernel_id
        assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
        assert second.process_of(kernel_id) == process
        (await client.http.delete(f"/api/sessions/{session['id']}")).raise_for_status()
    assert not is_running(process)
    assert "0 kernels" in kept_stock.command("keeper", "status")
    assert kept_stock.command("kernels") == "No kernels are kept\n"
    assert not second.connection_files()


PROBE = """
import json
from jupyter_server.base.handlers import APIHandler

class Handler(APIHandler):
    async def get(self, kernel_id):
        manager = self.kernel_manager.get_kernel(kernel_id)
        client = manager.client()
        client.start_channels()
        client.execute("", silent=True, user_expressions={"answer": "x + 1"})
        reply = await client.get_shell_msg(timeout=30)
        client.stop_channels()
        self.finish(json.dumps({
            "ports": manager.ports,
            "connection_file": manager.connection_file,
            "pid": manager.provisioner.pid,
            "alive": await manager.is_alive(),
            "has_kernel": manager.has_kernel,
            "answer": reply["content"]["user_expressions"]["answer"]["data"]["text/plain"],
        }))

def _jupyter_server_extension_points():
    return [{"module": "probe"}]

def _load_jupyter_server_extension(serverapp):
    serverapp.web_app.add_handlers(".*$", [(r"/probe/([^/]+)", Handler)])
"""


async def test_an_ipython_kernel_goes_on_and_its_manager_is_whole(kept_stock: KeptStock, tmp_path: Path) -> None:
    first = kept_stock.begin()
    kernel_id, process = await make(first, "python3")
    [file] = first.connection_files()
    key = json.loads((first.runtime / file).read_text())
    kept_stock.kill(first)
    (tmp_path / "probe.py").write_text(PROBE)
    extensions = "--ServerApp.jpserver_extensions={'probe': True, 'jupyterlab': False}"
    second = kept_stock.begin(extensions, env={"PYTHONPATH": str(tmp_path)})
    async with Client(second.url) as client:
        async with await client.connect(kernel_id) as socket:
            assert text_of(await socket.run("import os; print(os.getpid(), x)")).split() == [str(process.pid), "41"]
        found = (await client.http.get(f"/probe/{kernel_id}")).json()
    assert set(found["ports"]) == {value for name, value in key.items() if name.endswith("_port")}
    assert found["connection_file"] == str(first.runtime / file)
    assert (found["pid"], found["alive"], found["has_kernel"]) == (process.pid, True, True)
    assert found["answer"] == "42"


async def test_a_busy_cell_stays_busy_and_its_end_is_seen(kept_stock: KeptStock, tmp_path: Path) -> None:
    first = kept_stock.begin()
    kernel_id, _ = await make(first)
    until_there = (
        f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.02)\nstream('end')"
    )
    async with Client(first.url) as client, await client.connect(kernel_id, session="s") as socket:
        await socket.execute(until_there)
        await socket.until_status("busy")
        kept_stock.kill(first)
    second = kept_stock.begin()
    async with Client(second.url) as client, await client.connect(kernel_id, session="s") as socket:
        assert [kernel["execution_state"] for kernel in await client.kernels()] == ["busy"]
        (tmp_path / "go").touch()
        said = await socket.until(lambda one: one["msg_type"] == "stream")
        assert text_of(said) == "end"
        await client.until_kernel(kernel_id, is_idle)


test_a_client_hears_each_line_of_a_flood_once = test_kept_clients.test_a_client_hears_each_line_of_a_flood_once
test_a_cell_that_waits_for_input_is_answered = test_kept_clients.test_a_cell_that_waits_for_input_is_answered
test_a_client_that_was_away_hears_what_was_said_with_and_without_a_server = (
    test_kept_clients.test_a_client_that_was_away_hears_what_was_said_with_and_without_a_server
)
test_the_last_words_of_a_kernel_that_died_without_a_server_are_heard = (
    test_kept_clients.test_the_last_words_of_a_kernel_that_died_without_a_server_are_heard
)


async def test_as_much_is_kept_of_a_kernel_as_options_say(kept_stock: KeptStock) -> None:
    size = 10 * 2**20
    server = kept_stock.begin(OURS.format("buffer_max_bytes", size))
    keeper = KeeperClient(KeeperFolder(kept_stock.state))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id, session="away") as socket:
            await socket.run("x = 'x' * 100_000")
        async with await client.connect(kernel_id) as socket:
            for _ in range(3):
                heard = await socket.run(f"for n in range({size // 100_000}): stream(x)")
                assert len(text_of(heard)) == size // 100_000 * 100_000
            await keeper.start()
            try:

                async def settled() -> bool:
                    await socket.run("stream(x)")  # with nobody who lags, what is more than the bound is dropped
                    (summary,) = (await keeper.call("kernels"))["kernels"]
                    return size - 200_000 < summary["bytes"] <= size

                await until(settled)
            finally:
                await keeper.leave()


async def test_sessions_are_as_they_were_changed_last(kept_stock: KeptStock) -> None:
    first = kept_stock.begin()
    async with Client(first.url) as client:
        renamed, moved, deleted = [await client.start_session(name) for name in ("a.ipynb", "b.ipynb", "c.ipynb")]
        url = "/api/sessions/{}".format
        changes = {"path": "work/d.ipynb", "name": "d.ipynb"}
        renamed = (await client.http.patch(url(renamed["id"]), json=changes)).raise_for_status().json()
        kernel = {"kernel": {"name": "tiny_plain"}}
        moved = (await client.http.patch(url(moved["id"]), json=kernel)).raise_for_status().json()
        (await client.http.delete(url(deleted["id"]))).raise_for_status()
    kept_stock.kill(first)
    second = kept_stock.begin()
    async with Client(second.url) as client:
        found = {one["id"]: one for one in (await client.http.get("/api/sessions")).json()}
        assert {key: {**one, "kernel": one["kernel"]["id"]} for key, one in found.items()} == {
            one["id"]: {**one, "kernel": one["kernel"]["id"]} for one in (renamed, moved)
        }
        assert {one["id"] for one in await client.kernels()} == {one["kernel"]["id"] for one in (renamed, moved)}
        kernel_id = renamed["kernel"]["id"]
        (await client.http.post(f"/api/kernels/{kernel_id}/restart")).raise_for_status()
        name = await client.evaluate(kernel_id, "os.environ['JPY_SESSION_NAME']")
        assert name == str(second.root / "d.ipynb")  # as jupyter_server makes it of the name


async def test_a_kernel_can_be_interrupted_and_restarted_by_the_next(kept_stock: KeptStock) -> None:
    first = kept_stock.begin()
    async with Client(first.url) as client:
        (first.root / "work").mkdir()
        session = await client.start_session("work/a.ipynb")
        kernel_id = session["kernel"]["id"]
        async with await client.connect(kernel_id) as socket:
            await socket.run("x = 41")
            await socket.execute("import time\nwhile True: time.sleep(0.02)")
            await socket.until_status("busy")
    process, files = first.process_of(kernel_id), first.connection_files()
    key = (first.runtime / files[0]).read_text()
    kept_stock.kill(first)
    second = kept_stock.begin()
    async with Client(second.url) as client:
        (await client.http.post(f"/api/kernels/{kernel_id}/interrupt")).raise_for_status()
        assert await client.evaluate(kernel_id, "x") == "41"
        (await client.http.post(f"/api/kernels/{kernel_id}/restart")).raise_for_status()
        assert await client.evaluate(kernel_id, "('x' in globals(), os.getcwd())") == f"(False, '{first.root}/work')"
        assert second.process_of(kernel_id) != process
        assert not is_running(process)
        assert second.connection_files() == files
        assert (first.runtime / files[0]).read_text() == key  # others are connected to these ports
        kept_stock.note_processes()
        kept_stock.kill(second)
    third = kept_stock.begin()  # what the second has launched is kept, too
    async with Client(third.url) as client:
        assert await client.evaluate(kernel_id, "os.getpid()") == str(third.process_of(kernel_id).pid)


async def test_a_kernel_that_died_meanwhile_is_explained_and_restarted(kept_stock: KeptStock) -> None:
    first = kept_stock.begin()
    kernel_id, process = await make(first)
    kept_stock.kill(first)
    process.send_signal(signal.SIGSEGV)
    await until(lambda: not is_running(process))
    second = kept_stock.begin()
    async with Client(second.url) as client:
        await client.until_kernel(kernel_id, is_idle)
        assert await client.evaluate(kernel_id, "'x' in globals()") == "False"
    log = second.log.read_text()
    assert f"kernel {kernel_id} (tiny_plain): The kernel died while no server was running" in log
    assert "SIGSEGV" in log


async def test_a_kernel_that_is_gone_is_dead_and_can_be_restarted(kept_stock: KeptStock) -> None:
    first = kept_stock.begin(keep="always")
    async with Client(first.url) as client:
        session = await client.start_session("a.ipynb")
        kernel_id = session["kernel"]["id"]
        await client.until_kernel(kernel_id, is_idle)
    assert first.stop() == 0
    kept_stock.command("keeper", "stop")
    second = kept_stock.begin(keep="always")
    async with Client(second.url) as client:
        [found] = (await client.http.get("/api/sessions")).json()
        assert (found["id"], found["kernel"]["execution_state"]) == (session["id"], "dead")
        assert found["kernel"]["reason"] == "The kernel died while no server was running"
        (await client.http.post(f"/api/kernels/{kernel_id}/restart")).raise_for_status()
        assert await client.evaluate(kernel_id, "1 + 1") == "2"
        kept_stock.note_processes()


async def test_five_kills_in_a_row(kept_stock: KeptStock) -> None:
    server = kept_stock.begin()
    kernel_id, process = await make(server)
    for number in range(5):
        kept_stock.kill(server)
        server = kept_stock.begin()
        async with Client(server.url) as client, await client.connect(kernel_id) as socket:
            assert text_of(await socket.run("x += 1; stream(str(x))")) == str(42 + number)
    assert server.process_of(kernel_id) == process


@pytest.mark.parametrize("ends", ["keeper killed", "keeper and server killed"])
async def test_a_kernel_outlives_its_keeper(kept_stock: KeptStock, ends: str) -> None:
    server = kept_stock.begin()
    kernel_id, process = await make(server)
    keeper = kept_stock.keeper()
    if ends == "keeper and server killed":
        kept_stock.kill(server)
        keeper.kill()
        server = kept_stock.begin()
    else:
        keeper.kill()
        await until(lambda: "the keeper is connected again" in server.log.read_text())
    kept_stock.note_processes()
    async with Client(server.url) as client:
        assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
        (await client.http.delete(f"/api/kernels/{kernel_id}")).raise_for_status()
    assert not is_running(process)


async def test_a_kernel_from_the_pool_goes_on_and_the_pool_does_not(kept_stock: KeptStock) -> None:
    prewarm = OURS.format("prewarm", 1)
    default = "--MultiKernelManager.default_kernel_name=python3"
    first = kept_stock.begin(prewarm, default)
    await until(lambda: "a prewarmed python3 kernel is ready" in first.log.read_text())
    [process] = first.kernel_processes()
    async with Client(first.url) as client:
        kernel_id = (await client.start_session("a.ipynb", kernel={"name": "python3"}))["kernel"]["id"]
        async with await client.connect(kernel_id) as socket:
            await socket.run("x = 41")
    await until(lambda: first.log.read_text().count("a prewarmed python3 kernel is ready") == 2)
    [pooled] = [one for one in first.kernel_processes() if one != process]
    kept_stock.note_processes()
    kept_stock.kill(first)
    assert is_running(pooled)
    second = kept_stock.begin()
    assert not is_running(pooled)
    async with Client(second.url) as client:
        assert [one["id"] for one in await client.kernels()] == [kernel_id]
        async with await client.connect(kernel_id) as socket:
            assert text_of(await socket.run("import os; print(os.getpid(), x)")).split() == [str(process.pid), "41"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_one_that_keeps_over_crashes_ends_its_kernels(kept_stock: KeptStock, signum: int) -> None:
    server = kept_stock.begin(keep="crash")
    async with Client(server.url) as client:
        session = await client.start_session()
    process = server.process_of(session["kernel"]["id"])
    assert server.stop(signum) == 0
    assert not is_running(process)
    assert not server.connection_files()
    assert "0 kernels" in kept_stock.command("keeper", "status")
    assert kept_stock.command("kernels") == "No kernels are kept\n"


@pytest.mark.parametrize("how", ["SIGTERM", "/api/shutdown"])
async def test_one_that_keeps_always_leaves_its_kernels(kept_stock: KeptStock, how: str) -> None:
    first = kept_stock.begin(keep="always")
    async with Client(first.url) as client:
        session = await client.start_session("work/a.ipynb")
        kernel_id = session["kernel"]["id"]
        async with await client.connect(kernel_id, session="page") as socket:
            await socket.run("import time; x = 41")
            msg_id = await socket.execute("for n in range(300): stream(f'{n}\\n'); time.sleep(0.005)")
            heard = await socket.until(lambda one: one["msg_type"] == "stream")
            process = first.process_of(kernel_id)
            if how == "SIGTERM":
                first.process.send_signal(signal.SIGTERM)
            else:
                (await client.http.post("/api/shutdown")).raise_for_status()
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    heard.append(await socket.receive())
    assert first.wait_end() == 0
    assert is_running(process)
    assert [line.split()[:2] for line in kept_stock.command("kernels").splitlines()[1:]] == [[kernel_id, "tiny_plain"]]
    second = kept_stock.begin(keep="always")
    async with Client(second.url) as client:
        [again] = (await client.http.get("/api/sessions")).json()
        assert (again["id"], again["path"], again["kernel"]["id"]) == (session["id"], "work/a.ipynb", kernel_id)
        async with await client.connect(kernel_id, session="page") as socket:
            rest = await socket.until(is_end_of(msg_id))
        assert text_of([*heard, *rest]).splitlines() == [str(n) for n in range(300)]
        assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
        (await client.http.delete(f"/api/kernels/{kernel_id}")).raise_for_status()
    assert not is_running(process)


async def test_an_idle_kernel_is_culled_by_the_next(kept_stock: KeptStock) -> None:
    first = kept_stock.begin()
    kernel_id, process = await make(first)
    kept_stock.kill(first)
    culling = ("--MappingKernelManager.cull_idle_timeout=1", "--MappingKernelManager.cull_interval=1")
    second = kept_stock.begin(*culling)
    await until(lambda: not is_running(process))
    async with Client(second.url) as client:
        assert await client.kernels() == []
    assert f"Culling 'idle' kernel 'tiny_plain' ({kernel_id})" in second.log.read_text()


CLASSES = """
from jupyter_client.manager import AsyncKernelManager

class {name}(AsyncKernelManager):
    async def {method}(self, *args, **options):
        self.log.warning("a manager of a user's own")
        return await super().{method}(*args, **options)
"""


@pytest.mark.parametrize(("method", "is_kept"), [("_async_launch_kernel", False), ("_async_send_kernel_sigterm", True)])
async def test_kernels_of_a_class_that_launches_them_end_with_their_server(
    kept_stock: KeptStock, tmp_path: Path, method: str, is_kept: bool
) -> None:
    (tmp_path / "their_module.py").write_text(CLASSES.format(name="TheirManager", method=method))
    own = "--AsyncMappingKernelManager.kernel_manager_class=their_module.TheirManager"
    path = {"PYTHONPATH": str(tmp_path)}
    first = kept_stock.begin(own, env=path)
    kernel_id, process = await make(first)
    assert (process.ppid() == kept_stock.keeper().pid) is is_kept
    said = f"kernel {kernel_id} ends with this server: TheirManager has its own {method}"
    assert (said in first.log.read_text()) is not is_kept
    kept_stock.kill(first)
    if not is_kept:
        await until(lambda: not is_running(process))
    second = kept_stock.begin(own, env=path)
    async with Client(second.url) as client:
        [found] = await client.kernels()
        assert (found["id"], found["execution_state"] == "dead") == (kernel_id, not is_kept)


async def test_kernels_of_servers_with_another_root_are_left_alone(kept_stock: KeptStock, tmp_path: Path) -> None:
    first = kept_stock.begin()
    kernel_id, process = await make(first)
    kept_stock.kill(first)
    (tmp_path / "elsewhere").mkdir()
    second = kept_stock.begin(f"--ServerApp.root_dir={tmp_path / 'elsewhere'}")
    async with Client(second.url) as client:
        assert await client.kernels() == []
    assert is_running(process)
    assert kernel_id in kept_stock.command("kernels")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder somebody else's")
def test_a_state_folder_of_somebody_else_is_refused(kept_stock: KeptStock) -> None:
    kept_stock.state.mkdir(mode=0o700)
    os.chown(kept_stock.state, 12345, 12345)
    server = kept_stock.begin(ready=False)
    assert server.wait_end() == 1
    [line] = [line for line in server.log.read_text().splitlines() if " C " in line or "[C" in line]
    assert "it belongs to another user (12345)" in line


def test_a_wrong_value_is_refused(kept_stock: KeptStock) -> None:
    server = kept_stock.begin(keep="sometimes", ready=False)
    assert server.wait_end() == 1
    [line] = [line for line in server.log.read_text().splitlines() if "keep_kernels" in line]
    assert "'never', 'crash', 'always'" in line


WINDOWS = """
import sys

def _jupyter_server_extension_points():
    return [{"module": "aaa_windows"}]

def _link_jupyter_server_extension(serverapp):
    sys.platform = "win32"

def _load_jupyter_server_extension(serverapp):
    pass
"""


def test_it_is_refused_on_windows(kept_stock: KeptStock, tmp_path: Path) -> None:
    (tmp_path / "aaa_windows.py").write_text(WINDOWS)
    extensions = "--ServerApp.jpserver_extensions={'aaa_windows': True, 'jupyterlab': False}"
    server = kept_stock.begin(extensions, env={"PYTHONPATH": str(tmp_path)}, ready=False)
    assert server.wait_end() == 1
    assert "keep_kernels=crash: on this system kernels cannot outlive their server" in server.log.read_text()


async def test_without_a_keeper_that_answers_no_server_starts(kept_stock: KeptStock) -> None:
    first = kept_stock.begin()
    first.stop()
    keeper = kept_stock.keeper()
    keeper.suspend()
    second = kept_stock.begin(ready=False)
    assert second.wait_end() == 1
    keeper.resume()
    assert "fps_kernels: The process that keeps kernels does not answer" in second.log.read_text()
