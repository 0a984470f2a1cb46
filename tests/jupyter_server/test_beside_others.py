"""Our kernels beside other extensions of Jupyter Server: each does with them what it is there for."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
import websockets

from ..support.beside import REPLACING, BesideServer, environment_of, others_venv
from ..support.client import Client, tidy_client
from ..support.keepers import is_running
from ..support.messages import Json, text_of
from ..support.notebooks import write_notebook
from ..support.ports import free_port
from ..support.waits import until

pytestmark = pytest.mark.timeout(900)  # the first one installs a hundred packages

SLOW_S = 300
"""Seconds for what others do with a kernel, on a machine that is busy."""
LOADED = (
    "jupyter_lsp",
    "jupyter_mcp_server",
    "jupyter_resource_usage",
    "jupyter_scheduler",
    "jupyter_server_nbmodel",
    "jupyter_server_proxy",
    "jupyter_server_ydoc",
    "jupyterlab",
    "jupyterlab_git",
    "voila.server_extension",
)
SLOW_TO_START = ("jupyter_mcp_server", "jupyter_scheduler", "jupyter_server_proxy", "jupyterlab_git", "nbdime")
COLLABORATION = ("jupyter_server_nbmodel", "jupyter_server_ydoc", "voila.server_extension")
"""Two of which serve the same routes as jupyter_server_documents."""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the commands of the venv are. It is removed at the end, as it is large."""
    folder = tmp_path_factory.mktemp("beside") / "venv"
    try:
        yield others_venv(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def serving(base: Path, commands: Path, **extensions: Any) -> Iterator[BesideServer]:
    server = BesideServer(base, commands, **extensions)
    try:
        server.wait_ready(SLOW_S)
        yield server
    finally:
        server.stop()
    assert server.kernel_processes() == []


@pytest.fixture(scope="module")
def server(commands: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BesideServer]:
    """One with all extensions that leave the classes of the kernels alone."""
    with serving(tmp_path_factory.mktemp("many"), commands, on=["jupyter_server_ydoc"], off=REPLACING) as server:
        yield server


@pytest.fixture
async def client(server: BesideServer) -> AsyncIterator[Client]:
    async with tidy_client(server) as client:
        client.http.timeout = SLOW_S
        yield client


async def check_that_kernels_work(client: Client) -> None:
    kernel_id = await client.start("python3")
    async with await client.connect(kernel_id) as socket:
        assert text_of(await socket.run("print(6 * 7)", SLOW_S)) == "42\n"
    assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
    async with await client.connect(kernel_id) as socket:
        assert text_of(await socket.run("print(6 * 8)", SLOW_S)) == "48\n"
    assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204


async def run_by_nbmodel(client: Client, kernel_id: str, code: str) -> str:
    """What the code has printed."""
    response = await client.http.post(f"/api/kernels/{kernel_id}/execute", json={"code": code})
    assert response.status_code == 202, response.text

    async def answered() -> httpx.Response | None:
        polled = await client.http.get(response.headers["Location"])
        return None if polled.status_code == 202 else polled

    polled = await until(answered, SLOW_S, every_s=0.1)
    assert polled.status_code == 200, polled.text
    return "".join(output["text"] for output in json.loads(polled.json()["outputs"]))


async def call_mcp(client: Client, tool: str, **arguments: Any) -> str:
    """The text that a tool answers."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    response = await client.http.post("/mcp", json=call)
    assert response.status_code == 200, response.text
    return "".join(part["text"] for part in response.json()["result"]["content"])


async def test_all_are_loaded_and_we_run_the_kernels(server: BesideServer, client: Client) -> None:
    log = server.log.read_text()
    assert re.search(r"fps_kernels \S+ runs the kernels", log)
    assert [name for name in LOADED if f"{name} | extension was successfully loaded" not in log] == []
    said = [line.partition("fps_kernels does not ")[2] for line in log.splitlines() if "fps_kernels does not " in line]
    assert said == ["execute cells of shared documents: jupyter_server_nbmodel does"]
    await check_that_kernels_work(client)


async def test_resource_usage_of_a_kernel(client: Client) -> None:
    kernel_id = await client.start("python3")
    async with await client.connect(kernel_id) as socket:
        pid = int(text_of(await socket.run("import os; print(os.getpid())", SLOW_S)))
        usage = (await client.http.get(f"/api/metrics/v1/kernel_usage/get_usage/{kernel_id}")).json()
    assert usage["kernel_id"] == kernel_id
    assert usage["content"]["pid"] == pid
    assert usage["content"]["kernel_memory"] > 1_000_000


async def test_nbmodel_and_an_mcp_server_execute_in_one_kernel_also_over_a_restart(client: Client) -> None:
    kernel_id = await client.start("python3")
    for process in ("first", "second"):
        for known in (False, True):
            code = f"x = 'x' in globals(); print('nbmodel', '{process}', x)"
            assert await run_by_nbmodel(client, kernel_id, code) == f"nbmodel {process} {known}\n"
            for number in range(5):  # so many that nbmodel comes to numbers of messages that these had
                code = f"print('mcp', '{process}', {number}, x)"
                text = await call_mcp(client, "execute_code", code=code, kernel_id=kernel_id)
                assert text == f"mcp {process} {number} {known}\n"
        if process == "first":
            assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200


async def test_an_mcp_server_executes_cells_and_restarts_the_kernel(client: Client) -> None:
    await call_mcp(client, "use_notebook", notebook_name="n", notebook_path="mcp.ipynb", mode="create")
    [kernel] = await client.kernels()
    cell = {"cell_index": 0, "cell_source": "y = 'y' in globals(); print('in a cell', y)"}
    assert await call_mcp(client, "insert_execute_code_cell", **cell) == "in a cell False\n"
    assert "restarted successfully" in await call_mcp(client, "restart_notebook", notebook_name="n")
    assert await call_mcp(client, "insert_execute_code_cell", **cell) == "in a cell False\n"
    assert [model["id"] for model in await client.kernels()] == [kernel["id"]]


async def test_a_scheduled_job_runs(server: BesideServer, client: Client) -> None:
    write_notebook(server.root / "job.ipynb", "print(6 * 7)", kernel="python3")
    [environment] = (await client.http.get("/scheduler/runtime_environments")).json()
    job = {
        "name": "job",
        "input_uri": "job.ipynb",
        "runtime_environment_name": environment["name"],
        "output_formats": ["ipynb"],
    }
    job_id = (await client.http.post("/scheduler/jobs", json=job)).json()["job_id"]

    async def ended() -> Json | None:
        model = (await client.http.get(f"/scheduler/jobs/{job_id}")).json()
        return model if model["status"] in ("COMPLETED", "FAILED") else None

    model = await until(ended, SLOW_S, every_s=0.2)
    assert model["status"] == "COMPLETED", model
    response = await client.http.get(f"/scheduler/jobs/{job_id}/download_files")
    assert response.status_code in (200, 204), response.text

    def results() -> list[str]:  # they are there later, and are empty at first
        files = (server.root / "jobs").glob(f"*{job_id}*/job-*.ipynb")
        return [text for file in files if (text := file.read_text()).rstrip().endswith("}")]

    [result] = await until(results, SLOW_S)
    assert nbformat.reads(result, 4).cells[0].outputs[0].text == "42\n"


async def test_a_language_server_answers_while_a_kernel_runs(server: BesideServer, client: Client) -> None:
    assert "pylsp" in (await client.http.get("/lsp/status")).json()["specs"]
    kernel_id = await client.start("python3")
    url = f"ws{server.url[4:]}/lsp/ws/pylsp"
    async with await client.connect(kernel_id) as socket, websockets.connect(url, proxy=None) as language:
        msg_id = await socket.execute("for n in range(1000): print(n)")
        options: Json = {"processId": None, "rootUri": None, "capabilities": {}}
        await language.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": options}))

        async def answer() -> Json | None:
            message = json.loads(await language.recv())
            return message if message.get("id") == 1 else None

        assert "capabilities" in (await until(answer, SLOW_S))["result"]
        assert text_of(await socket.answers(msg_id, SLOW_S)) == "".join(f"{n}\n" for n in range(1000))


async def test_the_status_of_a_git_repository(server: BesideServer, client: Client) -> None:
    folder = server.root / "repository"
    folder.mkdir()
    (folder / "new.txt").write_text("new")
    await client.http.post("/git/repository/init", json={})  # it cannot commit, as there is no author
    status = (await client.http.post("/git/repository/status", json={})).json()
    assert [file["to"] for file in status["files"]] == ["new.txt"]


async def test_voila_renders_with_a_kernel_of_ours_and_leaves_none(server: BesideServer, client: Client) -> None:
    write_notebook(server.root / "page.ipynb", "print('rendered', 6 * 7)", kernel="python3")
    page = (await client.http.get("/voila/render/page.ipynb")).text
    assert "rendered 42" in page
    [kernel] = await client.kernels()
    assert kernel["id"] in page
    assert f"kernel {kernel['id']} (python3) launched" in server.log.read_text()  # says our launcher
    process = server.process_of(kernel["id"])
    async with await client.connect(kernel["id"]) as socket:  # as its page does, for widgets
        assert text_of(await socket.run("print(1)", SLOW_S)) == "1\n"
    assert (await client.http.post(f"/voila/api/shutdown/{kernel['id']}")).status_code == 204
    assert await client.kernels() == []
    assert not is_running(process)


async def test_a_program_behind_the_proxy_has_http_and_websockets(server: BesideServer, client: Client) -> None:
    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    def page(connection: websockets.ServerConnection, request: websockets.Request) -> websockets.Response | None:
        return connection.respond(200, "a page") if request.path == "/page" else None

    port = free_port()
    kernel_id = await client.start("python3")
    async with (
        websockets.serve(echo, "127.0.0.1", port, process_request=page),
        await client.connect(kernel_id) as socket,
        websockets.connect(f"ws{server.url[4:]}/proxy/{port}/echo", proxy=None) as proxied,
    ):
        assert (await client.http.get(f"/proxy/{port}/page")).text == "a page"
        msg_id = await socket.execute("for n in range(1000): print(n)")
        for number in range(20):
            await proxied.send(f"{number}")
            assert await proxied.recv() == f"{number}"
        assert text_of(await socket.answers(msg_id, SLOW_S)) == "".join(f"{n}\n" for n in range(1000))


@pytest.mark.parametrize(
    "command", [["papermill", "in.ipynb", "in.ipynb"], ["jupyter-execute", "--inplace", "in.ipynb"]]
)
def test_programs_that_run_notebooks_are_not_affected(commands: Path, tmp_path: Path, command: list[str]) -> None:
    write_notebook(tmp_path / "in.ipynb", "print(6 * 7)", kernel="python3")
    environ = environment_of(commands, tmp_path)
    subprocess.run([str(commands / command[0]), *command[1:]], cwd=tmp_path, env=environ, check=True, timeout=SLOW_S)
    assert nbformat.read(tmp_path / "in.ipynb", 4).cells[0].outputs[0].text == "42\n"


async def test_server_documents_has_its_own_websockets_to_our_kernels(commands: Path, tmp_path: Path) -> None:
    off = (*SLOW_TO_START, *COLLABORATION)
    with serving(tmp_path, commands, on=["jupyter_server_documents"], off=off) as server:
        log = server.log.read_text()
        assert re.search(r"fps_kernels \S+ runs the kernels", log)
        assert (
            "as jupyter_server_documents.websocket_connection.KernelWebsocketConnection has replaced its class" in log
        )
        async with tidy_client(server) as client:
            client.http.timeout = SLOW_S
            await check_that_documents_run(server, client)


async def check_that_documents_run(server: BesideServer, client: Client) -> None:
    """The server executes a cell of a shared document; again after a restart, and after the kernel's death.

    So does a client by its WebSocket.
    """
    path, source = server.root / "shared.ipynb", "import os, uuid; print(os.getpid(), uuid.uuid4())"
    write_notebook(path, source, kernel="python3")
    session = await client.start_session("shared.ipynb", "python3")
    kernel_id = session["kernel"]["id"]
    document = (await client.http.post("/api/fileid/index", params={"path": "shared.ipynb"})).json()
    cell = {"cell_id": "0", "source_hash": str(murmur2(source.encode()))}
    order = {"document_id": f"json:notebook:{document['id']}", "cells": [cell], "request_id": uuid.uuid4().hex}
    seen: set[str] = set()

    def new_text() -> str | None:
        with contextlib.suppress(ValueError):  # it is being written
            for output in json.loads(path.read_text())["cells"][0]["outputs"]:
                text = "".join(output["text"])
                return None if text in seen or not text.endswith("\n") else text
        return None

    async def execute() -> int:
        """The id of the process that ran the cell."""
        response = await client.http.post(f"/api/kernels/{kernel_id}/execute", json=order)
        assert response.status_code == 200, response.text
        text = await until(new_text, SLOW_S, every_s=0.1)
        seen.add(text)
        async with await client.connect(kernel_id) as socket:
            assert text_of(await socket.run("print(os.getpid())", SLOW_S)) == f"{text.split()[0]}\n"
        return int(text.split()[0])

    pids = [await execute(), await execute()]
    assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
    pids.append(await execute())
    server.process_of(kernel_id).kill()
    await client.until_kernel(kernel_id, lambda model: model["execution_state"] != "idle", SLOW_S)
    await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle", SLOW_S)
    pids.append(await execute())
    assert pids[0] == pids[1]
    assert len(set(pids)) == 3
    assert pids[-1] == server.process_of(kernel_id).pid


def murmur2(data: bytes) -> int:
    """MurmurHash2 with the seed 0, as jupyter_server_documents wants it of a cell's source."""
    factor, mask = 0x5BD1E995, 0xFFFFFFFF
    value, whole = len(data), len(data) // 4 * 4
    for begin in range(0, whole, 4):
        word = int.from_bytes(data[begin : begin + 4], "little") * factor & mask
        value = value * factor & mask ^ (word ^ word >> 24) * factor & mask
    if data[whole:]:
        value = (value ^ int.from_bytes(data[whole:], "little")) * factor & mask
    value = (value ^ value >> 13) * factor & mask
    return value ^ value >> 15


async def test_nextgen_kernels_api_takes_the_kernels_and_is_named(commands: Path, tmp_path: Path) -> None:
    off = (*SLOW_TO_START, *COLLABORATION, "jupyter_server_documents")
    with serving(tmp_path, commands, on=["nextgen_kernels_api"], off=off) as server:
        log = server.log.read_text()
        manager = "nextgen_kernels_api.services.kernels.kernelmanager.MultiKernelManager"
        assert f"fps_kernels does not run the kernels: {manager} has replaced it" in log
        assert "runs the kernels" not in log
        async with tidy_client(server) as client:
            client.http.timeout = SLOW_S
            await check_that_kernels_work(client)
