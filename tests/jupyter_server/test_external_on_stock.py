"""The tests of kernels that others start, on a stock Jupyter Server."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..server import test_external
from ..server.test_external import *  # noqa: F403
from ..server.test_external import Run, appeared
from ..support.client import Client
from ..support.servers import options
from ..support.stock import BeginStock, StockServer

ELSEWHERE = [
    # Which files are connection files, the ids, and what becomes of a file that changes, are jupyter_server's.
    "test_a_busy_external_kernel_is_attached",
    "test_a_file_that_changes_is_another_kernel_under_the_same_id",
    "test_a_file_that_comes_back_has_its_id_back",
    "test_files_and_kernels_with_odd_names",
    "test_files_that_are_no_connection_files_are_ignored",
    "test_the_same_file_has_the_same_id_in_another_run",
    # Each wants a server of its own, whose start is told below.
    "test_a_kernel_that_is_there_before_the_server_is_found",
    "test_the_end_of_the_server_leaves_an_external_kernel_running",
    # What is shut down is not listed any more, as without us: see below.
    "test_a_dead_kernel_can_be_removed_and_comes_back_with_its_file",
    "test_an_external_kernel_is_not_ours_to_end",
    "test_an_external_kernel_outlives_its_sessions",
]
for name in ELSEWHERE:
    del globals()[name]


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("external")


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def host(begin_shared: BeginStock, watched: Path) -> StockServer:
    return begin_shared(*test_external.arguments(watched), *options(max_kernels=0))


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def hasty(begin_shared: BeginStock) -> StockServer:
    folder = "../watched"  # beside the server's log, where the tests put their files
    server = begin_shared(*test_external.arguments(Path(folder)), *options(external_heartbeat_timeout_s=5))
    (server.log.parent / "watched").mkdir()
    return server


@pytest.mark.parametrize("kind", ["kernels", "sessions"])
async def test_an_external_kernel_that_is_shut_down_is_listed_no_more_and_goes_on(
    visitor: Client, watched: Path, run: Run, kind: str
) -> None:
    kernel = run()
    shown = kernel.show(watched)
    model = await appeared(visitor)
    session = await visitor.start_session(kernel={"id": model["id"]})
    async with await visitor.connect(model["id"]) as socket:
        await socket.run("x = 'kept'")
        path = f"/api/{kind}/{model['id'] if kind == 'kernels' else session['id']}"
        assert (await visitor.http.delete(path)).status_code == 204
        assert (await socket.closed())[0] == 1000
    assert await visitor.kernels() == []
    assert kernel.process.poll() is None
    shown.unlink()
    response = await visitor.http.get("/api/kernels")
    assert (response.status_code, response.json()) == (200, [])
    kernel.show(watched)  # with its file it comes back
    again = await appeared(visitor)
    assert again["id"] != model["id"]
    assert await visitor.evaluate(again["id"], "x") == "kept"


async def test_an_external_kernel_is_not_restarted(visitor: Client, watched: Path, run: Run) -> None:
    kernel = run()
    kernel.show(watched)
    model = await appeared(visitor)
    assert (await visitor.http.post(f"/api/kernels/{model['id']}/restart")).status_code == 500
    assert await visitor.evaluate(model["id"], "os.getpid()") == str(kernel.process.pid)


async def test_connections_are_counted(visitor: Client, watched: Path, run: Run) -> None:
    run().show(watched)
    model = await appeared(visitor)
    async with await visitor.connect(model["id"]):
        await visitor.until_kernel(model["id"], lambda model: model["connections"] == 1)
    await visitor.until_kernel(model["id"], lambda model: model["connections"] == 0)


async def test_what_a_client_misses_while_it_is_away(visitor: Client, watched: Path, run: Run) -> None:
    run().show(watched)
    model = await appeared(visitor)
    async with await visitor.connect(model["id"], session="mine") as socket:
        msg_id = await socket.execute("import time; stream('a'); time.sleep(0.5); stream('b')")
        await socket.until(lambda m: m["header"]["msg_type"] == "stream")
    await visitor.until_kernel(model["id"], lambda model: model["execution_state"] == "idle")
    async with await visitor.connect(model["id"], session="mine") as socket:
        await socket.until(lambda m: m["header"]["msg_type"] == "stream" and m["content"]["text"] == "b")
        await socket.until(lambda m: m["parent_header"].get("msg_id") == msg_id)


async def test_an_external_kernel_is_neither_culled_nor_ended_with_the_server(
    begin: BeginStock, tmp_path: Path, run: Run
) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    kernel = run()
    shown = kernel.show(folder)
    culling = ("--MappingKernelManager.cull_idle_timeout=1", "--MappingKernelManager.cull_interval=1")
    server = begin(*test_external.arguments(folder), *culling)
    async with Client(server.url) as client:
        model = await appeared(client)
        await client.start()
        await client.until(lambda kernels: kernels == [model])  # the other one is culled
    assert server.stop() == 0
    assert shown.exists()
    assert kernel.process.poll() is None
    assert "Traceback" not in server.log.read_text()
