"""The command `fps-kernels lab`: JupyterLab's plugins on a server of ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from fps_kernels.hosts.asphalt.config import KernelsConfig

from ..support.client import Client
from ..support.gateways import COMMAND, Gateway, environment, make_certificate
from ..support.lacking import lacking
from ..support.messages import text_of
from ..support.nursery import nursery
from ..support.ports import free_port
from ..support.servers import NOT_NEEDED
from ..support.waits import until

LEAN = ["--no-token", *(word for name in NOT_NEEDED for word in ("--disable", name)), "--set", "kernels.prewarm=0"]
Start = Callable[..., Gateway]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(*options) starts one without the plugins that a kernel does not need, and waits for it."""
    servers: list[Gateway] = []

    def start(*options: str) -> Gateway:
        servers.append(Gateway(tmp_path / f"lab{len(servers)}", "lab", *LEAN, *options))
        servers[-1].wait_ready()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def refused(folder: Path, *options: str, **variables: str) -> str:
    """The one line with which it ends."""
    environ = environment(folder, **variables)
    done = nursery.run([COMMAND, "lab", *options], cwd=folder, env=environ, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    return line


async def test_a_kernel_runs_and_ends_with_the_server(start: Start) -> None:
    server = start("--port", str(free_port()))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as channel:
            assert text_of(await channel.run("stream('there')")) == "there"
        assert len(server.kernel_processes()) == 1
    assert await asyncio.to_thread(server.stop) == 0
    assert server.kernel_processes() == []
    assert server.connection_files() == []
    assert "Traceback" not in server.log


async def test_sigint_ends_it_with_an_open_websocket(start: Start) -> None:
    server = start("--port", str(free_port()))
    async with Client(server.url) as client, await client.connect(await client.start()):
        assert await asyncio.to_thread(server.stop, signal.SIGINT) == 0
    assert server.kernel_processes() == []


def test_the_next_port_is_taken_when_one_is_not_free(start: Start) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        taken = listener.getsockname()[1]
        server = start("--port", str(taken))
        assert int(server.url.rpartition(":")[2]) > taken
        assert httpx.get(f"{server.url}/api", trust_env=False).status_code == 200


def test_it_serves_tls(start: Start, tmp_path: Path) -> None:
    certfile, keyfile = make_certificate(tmp_path, "server")
    server = start("--port", str(free_port()), "--certfile", certfile, "--keyfile", keyfile)
    assert server.url.startswith("https://")
    context = ssl.create_default_context(cafile=certfile)
    context.check_hostname = False
    assert httpx.get(f"{server.url}/api", verify=context, trust_env=False).status_code == 200


def test_options_reach_the_plugins(start: Start) -> None:
    server = start("--port", str(free_port()), "--set", "kernels.max_kernels=0")
    assert httpx.post(f"{server.url}/api/kernels", trust_env=False).status_code == 403


async def test_its_bounds_are_options(start: Start) -> None:
    bounds = ("--head-timeout-s", "0.3", "--keep-alive-s", "0.2", "--ws-max-message-bytes", "100000")
    server = start("--port", str(free_port()), *bounds)
    port = int(server.url.rpartition(":")[2])
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 ")
        writer.close()
    async with Client(server.url) as client, await client.connect(await client.start()) as channel:
        await channel.ws.send(b"x" * 100_001)
        code, reason = await channel.closed()
        assert code == 1009
        assert "ws_max_message_bytes" in reason


@pytest.mark.parametrize("base_url", ["/", "/a%20b/"])
async def test_health_checks_are_answered_when_all_connections_are_busy(start: Start, base_url: str) -> None:
    options = ["--port", str(free_port()), "--max-connections", "5", "--set", f"frontend.base_url={base_url}"]
    server = start(*options, "--set", f"app.mount_path={unquote(base_url)[:-1]}")
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(server.url + base_url[:-1]))
        kernel_id = await client.start()
        for _ in range(5):
            await stack.enter_async_context(await client.connect(kernel_id))

        async def all_busy() -> bool:  # the connection that started the kernel stays open for a while
            return (await client.http.get("/api/kernels")).status_code == 503

        await until(all_busy)
        for _ in range(5):
            assert (await client.http.get("/api")).status_code == 200
            assert (await client.http.get("/api/kernels")).status_code == 503


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "kernels.max_kernels"], "--set=kernels.max_kernels: not of the form"),
        (["--set", "nobody.x=1"], "there is no plugin nobody"),
        (["--set", "kernels.max_kernels=[1"], "--set=kernels.max_kernels=[1"),
        (["--set", "kernels.max_kernels=-1"], "kernels.max_kernels"),
        (["--set", "kernels.root_dir=/no/such"], "kernels.root_dir=/no/such: there is no such folder"),
        (["--set", "contents.nothing=1"], "contents.nothing: there is no such option, but allow_hidden, "),
        (["--set", "contents.allow_hidden=1"], "contents.allow_hidden: should be true or false"),
        (["--disable", "nobody"], "--disable=nobody: there is no such plugin"),
        (["--keyfile", "x.pem"], "keyfile=x.pem: has no effect without certfile"),
        (["--certfile", "x.pem"], "certfile=x.pem: no such file"),
        (["--max-connections", "0"], "--max-connections=0: should be"),
        (["--keep-alive-s", "0"], "--keep-alive-s=0.0: should be"),
        (["--head-timeout-s", "inf"], "--head-timeout-s=inf: should be"),
        (["--ws-max-message-bytes", "10"], "--ws-max-message-bytes=10: should be"),
        (["--shutdown-no-activity-timeout-s", "-1"], "--shutdown-no-activity-timeout-s=-1.0: should be"),
        (["--sock", "s", "--sock-mode", "0060"], "--sock-mode=0060: not permissions"),
        (["--metrics-port", "9464", "--disable", "kernels"], "--metrics-port: without the plugin kernels"),
        (["--shutdown-no-activity-timeout-s", "60", "--disable", "kernels"], "-timeout-s: without the plugin kernels"),
        (["--metrics-port", "9464", "--metrics-ip", "192.0.2.1"], "--metrics-port: ip=192.0.2.1 port=9464: "),
        (["--port", "1", "--port-retries", "0", "--ip", "192.0.2.1"], "ip=192.0.2.1 port=1: "),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(tmp_path: Path, options: list[str], said: str) -> None:
    assert said in refused(tmp_path, *options)


def test_without_jupyter_server_it_says_what_to_install(tmp_path: Path) -> None:
    env = lacking(tmp_path / "site", "sys.modules['jupyter_server'] = None")
    assert "install fps_kernels[lab]" in refused(tmp_path, "--port", str(free_port()), **env)


def test_the_options_of_the_kernels_have_help(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "lab", "--help-options"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for name, field in KernelsConfig.model_fields.items():
        [said] = re.findall(rf"^kernels\.{name} \(default: .+\)\n((?:    .+\n)+)", done.stdout, re.MULTILINE)
        assert " ".join(said.split()) == field.description


def test_without_jupyterlab_it_says_what_to_install(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['jupyverse_api.main'] = None\n"
    run = "from fps_kernels.gateway.app import main; main(['lab'])"
    command = [sys.executable, "-c", hide + run]
    done = subprocess.run(command, env=dict(os.environ), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "install fps_kernels[lab]" in done.stderr
