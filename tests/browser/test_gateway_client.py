"""A Jupyter server whose kernels are another's: `jupyter server --gateway-url=…`, as JupyterLab uses it.

That one is the gateway, or `fps-kernels lab`, where `GatewayClient.headers` may have the cookie of a login.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from ..support.client import Client
from ..support.entrances import ENTRANCES, Entrance, open_entrance
from ..support.gateways import Begin, gateways, option
from ..support.messages import of_type, text_of
from ..support.ports import free_port


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    with gateways(tmp_path) as begin:
        yield begin


@asynccontextmanager
async def in_front_of(entrance: Entrance, folder: Path) -> AsyncIterator[Client]:
    """A client of a Jupyter server in front."""
    port = free_port()
    environ = {**os.environ, "HOME": str(folder), "JUPYTER_RUNTIME_DIR": str(folder), "JUPYTER_CONFIG_DIR": str(folder)}
    command = [
        str(Path(sys.executable).parent / "jupyter-server"),
        f"--gateway-url={entrance.server.url}",
        f"--GatewayClient.auth_token={entrance.token}",
        f"--GatewayClient.headers={json.dumps(entrance.headers)}",
        f"--port={port}",
        f"--ServerApp.root_dir={folder}",
        "--no-browser",
        "--allow-root",
        "--IdentityProvider.token=",
        "--ServerApp.disable_check_xsrf=True",
    ]
    process = run(command, environ, folder / "log")
    try:
        async with Client(f"http://127.0.0.1:{port}") as client:
            await answers(client)
            yield client
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
async def front(begin: Begin, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of the Jupyter server in front of a gateway that answers starts when the kernel is ready."""
    entrance = open_entrance(begin, "gateway by token", option("start_answer_s", 3_600))
    async with in_front_of(entrance, tmp_path / "front") as client:
        yield client


def run(command: list[str], environ: dict[str, str], path: Path) -> subprocess.Popen[bytes]:
    path.parent.mkdir()
    with path.open("wb") as log:
        return subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


async def answers(client: Client) -> None:
    """Wait until the server does: there is no event for that."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client.http.get("/api/kernelspecs")
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", ENTRANCES)
async def test_a_jupyter_server_uses_the_kernels(begin: Begin, tmp_path: Path, name: str) -> None:
    own = {"KERNEL_GATEWAY"} if name.startswith("gateway") else set()
    async with in_front_of(open_entrance(begin, name), tmp_path / "front") as front:
        specs = (await front.http.get("/api/kernelspecs")).json()["kernelspecs"]
        assert "python3" in specs
        logo = await front.http.get(specs["python3"]["resources"]["logo-64x64"])
        assert logo.headers["content-type"] == "image/png"
        kernel_id = await front.start("python3")
        async with await front.connect(kernel_id, session="page") as socket:
            names = text_of(
                await socket.run("import os; print(*[name for name in os.environ if name[:7] == 'KERNEL_'])")
            )
            assert own | {"KERNEL_LAUNCH_TIMEOUT"} <= set(names.split())
            msg_id = await socket.execute("print('asleep', flush=True)\nimport time\nwhile True: time.sleep(0.05)")
            await socket.until(lambda message: message["msg_type"] == "stream")
            assert (await front.http.post(f"/api/kernels/{kernel_id}/interrupt")).status_code == 204
            [reply] = of_type(await socket.answers(msg_id), "execute_reply")
            assert reply["content"]["ename"] == "KeyboardInterrupt"
            assert (await front.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
            assert text_of(await socket.run("print('os' in globals())")) == "False\n"
        async with await front.connect(kernel_id, session="page") as socket:
            assert text_of(await socket.run("print('back')")) == "back\n"
        assert (await front.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
        assert await front.kernels() == []


async def test_a_kernel_of_a_notebook_starts_in_its_folder(front: Client, tmp_path: Path) -> None:
    """Both servers see the same files here, as on one machine or with a shared home."""
    (tmp_path / "front" / "project").mkdir()
    session = await front.start_session("project/a.ipynb", "python3")
    async with await front.connect(session["kernel"]["id"], session="page") as socket:
        folder = text_of(await socket.run("import os; print(os.getcwd())"))
    assert folder == f"{tmp_path / 'front' / 'project'}\n"
    assert (await front.http.delete(f"/api/sessions/{session['id']}")).status_code == 204


async def test_a_start_is_answered_at_once_and_one_that_fails_says_why(front: Client) -> None:
    session = await front.start_session(name="tiny_silent")
    assert session["kernel"]["execution_state"] == "starting"
    url = f"/api/sessions/{session['id']}"
    changed = await front.http.patch(url, json={"kernel": {"name": "tiny_silent"}})
    assert changed.json()["kernel"]["execution_state"] == "starting"
    assert (await front.http.delete(url)).status_code == 204
    session = await front.start_session("b.ipynb", "tiny_exits")
    kernel_id = session["kernel"]["id"]
    # The list is asked of the gateway, a single model is what the server in front remembers.
    [model] = await front.until(lambda kernels: [one["execution_state"] for one in kernels] == ["dead"])
    assert model["id"] == kernel_id
    assert "exited with code 3" in model["reason"]
