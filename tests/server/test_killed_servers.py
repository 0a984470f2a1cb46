"""What a server that was killed has left: the next one removes it, whatever hosts it, and no other's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from ..support.client import Client
from ..support.gateways import Gateway, environment
from ..support.kept_mode import not_kept
from ..support.nursery import nursery
from ..support.ports import free_port
from ..support.servers import NOT_NEEDED, Server, jupyverse, options
from ..support.waits import until

LEAN = ["--no-token", *(word for name in NOT_NEEDED for word in ("--disable", name))]


class Begin(Protocol):
    def __call__(self, host: str, ready: int = 0, arguments: Sequence[str] = ()) -> Gateway: ...


class Plain(Gateway):
    """A `jupyverse`, in the folders of a gateway."""

    def __init__(self, base: Path, *arguments: str) -> None:
        base.mkdir(parents=True, exist_ok=True)
        self.base = base
        self.runtime = base / "runtime"
        self.log_file = base / "gateway.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment(base)  # installs kernelspecs
        command, environ = jupyverse(base, self.port, *arguments)
        self.process = nursery.start(command, env=environ, cwd=base, log=self.log_file)

    ask = Server.ask
    wait_ready = Server.wait_ready

    @property
    def log(self) -> Path:  # type: ignore[override]  # as Server.wait_ready reads it
        return self.log_file


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """begin(host, ready=0) starts a server that keeps so many kernels ready, in folders that all of them share."""
    with ExitStack() as stack:

        def begin(host: str, ready: int = 0, arguments: Sequence[str] = ()) -> Gateway:
            server: Gateway
            if host == "gateway":
                server = Gateway(tmp_path, f"--KernelGatewayApp.prewarm=python3={ready}", "--port", str(free_port()))
            elif host == "lab":
                server = Gateway(
                    tmp_path, "lab", *LEAN, "--port", str(free_port()), *options(prewarm=ready), *arguments
                )
            else:
                server = Plain(tmp_path, *options(prewarm=ready))
            stack.callback(server.stop)
            return server

        yield begin


def files(runtime: Path) -> set[str]:
    """All connection files, those of kernels that are kept ready among them."""
    return {path.relative_to(runtime).as_posix() for path in runtime.rglob("*.json")} - listed(runtime)


def listed(runtime: Path) -> set[str]:
    """The files by which `jupyter server list` finds servers."""
    return {path.name for path in runtime.glob("jpserver-*.json")}


@not_kept
@pytest.mark.parametrize("host", ["gateway", "lab", "jupyverse"])
async def test_the_next_start_removes_what_a_killed_server_has_left(begin: Begin, host: str) -> None:
    server = begin(host, ready=1)
    server.wait_ready()
    runtime = server.runtime
    living = begin("gateway")  # in the same folder
    living.wait_ready()
    async with Client(server.url) as client, Client(living.url) as other:
        kernel_id = await client.start("tiny_plain")
        other_id = await other.start("tiny_plain")
        await client.evaluate(kernel_id, "1")
        # One is kept ready. An ipykernel that was still starting would write its file anew, as it finds none.
        await until(lambda: "a prewarmed python3 kernel is ready" in server.log_file.read_text())
        await until(lambda: len(files(runtime)) == 3)
        strange = runtime / "kernel-of-others.json"
        strange.write_text(json.dumps({"key": "theirs"}))
        server.process.kill()
        await asyncio.to_thread(server.process.wait, 30)
        assert f"kernel-{kernel_id}.json" in files(runtime)
        next_one = begin(host)
        next_one.wait_ready()
        await until(lambda: files(runtime) == {f"kernel-{other_id}.json", strange.name})
        assert listed(runtime) == ({f"jpserver-{next_one.process.pid}.json"} if host == "lab" else set())
        assert await other.evaluate(other_id, "6 * 7") == "42"
        await asyncio.to_thread(next_one.stop)
        await asyncio.to_thread(living.stop)
    assert files(runtime) == {strange.name}
    assert listed(runtime) == set()
    assert not list(runtime.glob(".fps-kernels-*"))


@pytest.mark.parametrize("host", ["gateway", "jupyverse"])
async def test_a_session_whose_folder_is_renamed_over_http(begin: Begin, host: str, tmp_path: Path) -> None:
    server = begin(host)
    server.wait_ready()
    (tmp_path / "a").mkdir()
    async with Client(server.url) as client:
        session = await client.start_session("a/n.ipynb")
        kernel_id = session["kernel"]["id"]
        (tmp_path / "a").rename(tmp_path / "b")
        patched = await client.http.patch(f"/api/sessions/{session['id']}", json={"path": "b/n.ipynb"})
        assert patched.status_code == 200
        response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
        assert response.status_code == 200, response.text
        assert await client.evaluate(kernel_id, "os.getcwd()") == str(tmp_path / "b")
        [path] = server.runtime.glob("kernel-*.json")
        assert json.loads(path.read_text())["jupyter_session"] == str(tmp_path / "b" / "n.ipynb")


async def test_a_folder_that_the_request_named_is_gone_on_the_gateway(begin: Begin, tmp_path: Path) -> None:
    server = begin("gateway")
    server.wait_ready()
    folder = tmp_path / "far" / "away"
    folder.mkdir(parents=True)
    async with Client(server.url) as client:
        kernel_id = await client.start(env={"KERNEL_WORKING_DIR": str(folder)})
        assert await client.evaluate(kernel_id, "os.getcwd()") == str(folder)
        folder.rmdir()
        assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
        assert await client.evaluate(kernel_id, "os.getcwd()") == str(folder.parent)


async def test_the_page_with_the_token_goes_too(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "true")
    server = begin("lab", arguments=("--open-browser",))
    server.wait_ready()
    pages = lambda: list(server.runtime.glob("fps-kernels-*-open.html"))  # noqa: E731
    await until(pages)
    server.process.kill()
    await asyncio.to_thread(server.process.wait, 30)
    assert pages()
    begin("lab").wait_ready()
    assert not pages()
