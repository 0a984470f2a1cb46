"""`fps-kernels run --server`: a notebook on a kernel of a server, ours or Jupyter's own."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from ..support.gateways import Begin, Gateway
from ..support.outputs import stream
from ..support.ports import free_port
from ..support.runs import Runs
from ..support.stock import StockServer, stock_servers

TOKEN = "t" * 20


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.fixture
def gateway(begin: Begin) -> Gateway:
    return begin("--JupyterWebsocketPersonality.list_kernels=True", f"--KernelGatewayApp.auth_token={TOKEN}")


@pytest.fixture(params=["gateway", "stock"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A server with the tiny kernels: a gateway of ours with a token, and a Jupyter Server with kernels of its own."""
    if request.param == "gateway":
        server = request.getfixturevalue("gateway")
        yield f"{server.url}/?token={TOKEN}"
        return
    with stock_servers(tmp_path / "stock") as begin:
        stock: StockServer = begin("--ServerApp.jpserver_extensions={'fps_kernels': False}")
        yield stock.url


def kernels(url: str) -> list[dict]:
    found: list[dict] = httpx.get(f"{url.partition('/?')[0]}/api/kernels", params={"token": TOKEN}).json()
    return found


def test_a_notebook_runs_on_a_server(runs: Runs, url: str) -> None:
    runs.write(
        "stream('a' * 100_000)",
        "publish('display_data', {'data': {'text/plain': 'x'}, 'metadata': {}, 'transient': {'display_id': 'd'}})",
        "publish('update_display_data', {'data': {'text/plain': 'y'}, 'metadata': {}, "
        "'transient': {'display_id': 'd'}})\nstream(day)",
    )
    runs.run("a.ipynb", "--server", url, "-p", "day", "Tuesday")
    _, first, second, third = runs.outputs()
    assert first == [stream("a" * 100_000)]
    assert second[0]["data"] == {"text/plain": "y"}
    assert third == [stream("Tuesday")]
    assert kernels(url) == []


def test_what_goes_wrong_on_a_server(runs: Runs, url: str) -> None:
    runs.write("stream('a'); 1/0", "stream('never')")
    runs.run("a.ipynb", "--server", url, code=1)
    assert runs.text() == "a"
    runs.write("import time; stream('b'); time.sleep(600)")
    runs.run("a.ipynb", "--server", url, "--timeout", "1", code=5)
    assert runs.text() == "b"
    runs.write("import os; stream('c'); os._exit(3)")
    done = runs.run("a.ipynb", "--server", url, code=4)
    assert "The kernel died" in done.stderr
    runs.write("1", kernel="nowhere")
    assert "No kernelspec is called nowhere: there are" in runs.run("a.ipynb", "--server", url, code=3).stderr
    assert kernels(url) == []


def test_ipython_on_a_server(runs: Runs, gateway: Gateway) -> None:
    runs.write("import ipywidgets\ns = ipywidgets.IntSlider(3)\ns", "s.value = 5\nprint('é')", kernel="python3")
    runs.run("a.ipynb", "--server", gateway.url, "--token", TOKEN, env=runs.env)
    assert runs.text() == "é\n"
    state = runs.read()["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert [one["state"]["value"] for one in state.values() if one["model_name"] == "IntSliderModel"] == [5]


def test_the_token_of_the_environment_and_of_the_list_of_servers(runs: Runs, gateway: Gateway) -> None:
    runs.write("stream('a')")
    done = runs.run("a.ipynb", "--server", gateway.url, code=3)
    assert "401" in done.stderr
    assert "it needs a token, see FPS_KERNELS_TOKEN" in done.stderr
    done = runs.run("a.ipynb", "--server", gateway.url, "--token", "wrong", code=3)
    assert "its token is wrong" in done.stderr
    runs.run("a.ipynb", "--server", gateway.url, env=runs.env | {"FPS_KERNELS_TOKEN": TOKEN})
    listed = {"url": f"http://localhost:{gateway.url.rpartition(':')[2]}/", "token": TOKEN, "pid": gateway.process.pid}
    runtime = Path(runs.env["JUPYTER_RUNTIME_DIR"])
    runtime.mkdir(exist_ok=True)
    (runtime / "jpserver-0.json").write_text("[")
    (runtime / "jpserver-1.json").write_text(json.dumps(listed))
    runs.run("a.ipynb", "--server", f"{gateway.url}/lab")
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    (runtime / "jpserver-1.json").write_text(json.dumps({**listed, "pid": gone.pid}))
    runs.run("a.ipynb", "--server", gateway.url, code=3)


def test_a_server_that_is_not_there_or_is_none(runs: Runs) -> None:
    runs.write("1")
    done = runs.run("a.ipynb", "--server", f"http://127.0.0.1:{free_port()}", code=3)
    assert "cannot be reached: Connection refused" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_token_goes_nowhere_else(runs: Runs) -> None:
    """A redirect, as of a login page, is not followed."""
    runs.write("1")
    seen: list[str] = []

    class Redirects(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Redirects) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            done = runs.run("a.ipynb", "--server", f"http://127.0.0.1:{server.server_port}", "--token", TOKEN, code=3)
        finally:
            server.shutdown()
            thread.join()
    assert seen == ["/api/kernelspecs"]
    assert "answers 302 Found: its token is wrong" in done.stderr


def test_a_server_that_ends_meanwhile(runs: Runs, gateway: Gateway) -> None:
    runs.write("import time; stream('a'); time.sleep(600)")
    words = ("a.ipynb", "--server", gateway.url, "--token", TOKEN)
    with runs.begin(*words) as process:
        while '"a"' not in (((saved := runs.base / "a.executed.ipynb").exists() and saved.read_text()) or ""):
            assert process.poll() is None
        gateway.stop()
        assert process.wait(100) == 4
    assert runs.text() == "a"
