"""The module under today's `jupyverse`: what it refuses, in one line each, who is let in, and its end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import websockets

from ..support.client import Client, Socket
from ..support.fps_servers import NOT_NEEDED
from ..support.kept_mode import OwnKeeper
from ..support.messages import text_of
from ..support.nursery import begin_alone
from ..support.ports import free_port
from ..support.processes import ServerProcess
from ..support.servers import Generation, Launch, Server, jupyverse, options
from ..support.waits import until

OLDER = """
[jupyverse.components]
auth = fps_noauth.main:AuthComponent
"""
OPEN = tuple(name for name in NOT_NEEDED if name != "auth")


def refused(tmp_path: Path, *arguments: str, disable: tuple[str, ...] = NOT_NEEDED, **env: str) -> str:
    """The last line of a server that does not start. What FPS itself logs is before it."""
    command, environ = jupyverse(tmp_path, free_port(), *arguments, disable=disable)
    done = subprocess.run(
        command, env=environ | env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    [line] = done.stderr.splitlines()
    return line


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ({"max_kernels": -1}, "kernels.max_kernels: Input should be greater than or equal to 0, not -1"),
        ({"no_such": 1}, "kernels.no_such: there is no such option"),
        ({"kernelenv_path": "env.yml"}, "kernels.kernelenv_path: this kernel server has no such option"),
        ({"kernel_env_pattern": "("}, "kernels.kernel_env_pattern"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, option: dict, line: str) -> None:
    assert refused(tmp_path, *options(**option)).startswith(line)


def test_another_event_loop_is_refused(tmp_path: Path) -> None:
    line = refused(tmp_path, "--backend", "trio")
    assert line == "kernels: the backend trio is not supported: use --backend asyncio"


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ("noauth", "kernels: no plugin publishes Auth: install fps-noauth or fps-auth"),
        ("frontend", "kernels: no plugin publishes FrontendConfig: install fps-frontend"),
    ],
)
def test_a_missing_plugin_is_named(tmp_path: Path, missing: str, line: str) -> None:
    assert refused(tmp_path, "--timeout", "2", disable=(*NOT_NEEDED, missing)) == line


def test_plugins_of_the_older_generation_are_named(tmp_path: Path) -> None:
    info = tmp_path / "plugins" / "fps_noauth_older-0.6.4.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fps-noauth-older\nVersion: 0.6.4\n")
    (info / "entry_points.txt").write_text(OLDER)
    line = refused(tmp_path, "--timeout", "2", disable=(*NOT_NEEDED, "noauth"), PYTHONPATH=str(tmp_path / "plugins"))
    assert line.endswith(" (fps-noauth-older 0.6.4: of the Jupyverse on Asphalt, not used here)")


def test_a_plugin_that_is_needed_for_shared_documents_is_named(tmp_path: Path) -> None:
    line = refused(tmp_path, "--timeout", "2", *options(require_yjs=True))
    assert line == "kernels: no plugin publishes Yjs: install fps-yjs, or set kernels.require_yjs=false"


def test_beside_the_jupyverse_on_asphalt_the_module_ends_with_one_line() -> None:
    """In the environment of these tests, where 0.6.4 is."""
    code = "from fps_kernels.fps_main import KernelsModule; KernelsModule('kernels')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("The module kernels is not installed: install fps_kernels[jupyverse], without")


def test_beside_todays_jupyverse_the_component_names_its_extra(generation: Generation) -> None:
    python = str(generation.commands / "python")
    done = subprocess.run(
        [python, "-c", "import fps_kernels.main"], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 1
    assert "install fps_kernels[jupyverse-asphalt] (there is no asphalt" in done.stderr.splitlines()[-1]


# --- who is let in --------------------------------------------------------------------------------


@pytest.fixture
def with_token(tmp_path: Path) -> Server:
    """A server with fps-auth in the place of fps-noauth."""
    arguments = ("--set", "auth.mode=token", "--set", "auth.token=secret-of-the-tests")
    return Server(tmp_path / "token", *arguments, disable=(*OPEN, "noauth"))


async def test_fps_auth_lets_in_who_has_the_token(with_token: Server) -> None:
    try:
        await asyncio.to_thread(with_token.wait_ready)
        async with Client(with_token.url) as client:
            for path in ("/api/kernels", "/api/sessions", "/api/kernelspecs", "/api/status"):
                assert (await client.http.get(path)).status_code == 403
            assert (await client.http.post("/api/kernels", json={})).status_code == 403
            with pytest.raises(websockets.InvalidStatus) as caught:
                await client.connect("no-such-kernel")
            assert caught.value.response.status_code == 403

            # It answers with a cookie, which the client sends from then on.
            answer = await client.http.get("/api/kernels", params={"token": "secret-of-the-tests"})
            assert (answer.status_code, answer.json()) == (200, [])
            kernel_id = await client.start()
            cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())}
            socket: Socket = await client.connect(kernel_id, additional_headers=cookie)
            async with socket:
                assert await socket.run("stream('in')")
    finally:
        with_token.stop()


# --- the end --------------------------------------------------------------------------------------


class BareServer(ServerProcess):
    """A process that is not forked and has the signal handlers that it inherits; its folder may have been used."""

    def __init__(self, base: Path, *arguments: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.runtime = base / "runtime"
        self.log = base / "server.log"
        command, environ = jupyverse(base, port, *arguments)
        self.process = begin_alone(command, env=environ, cwd=base, log=self.log)

    def ask(self) -> None:
        httpx.get(f"{self.url}/api", timeout=5, trust_env=False)


async def test_a_server_that_ignores_ctrl_c_ends_at_sigterm_all_the_same(tmp_path: Path) -> None:
    """As in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        server = BareServer(tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    await asyncio.to_thread(server.wait_ready)
    async with Client(server.url) as client:
        await client.start("python3")
    assert len(server.kernel_processes()) == 1
    assert await asyncio.to_thread(server.stop, signal.SIGTERM) == 0
    assert server.kernel_processes() == []


@pytest.mark.parametrize(
    ("kept", "signum"), [("always", signal.SIGTERM), ("crash", signal.SIGKILL)], ids=["stopped", "killed"]
)
async def test_kernels_that_are_kept_go_on_under_the_next_server(tmp_path: Path, kept: str, signum: int) -> None:
    keeper = OwnKeeper()
    arguments = options(keep_kernels=kept, state_dir=str(keeper.folder))
    server = BareServer(tmp_path, *arguments)
    try:
        await asyncio.to_thread(server.wait_ready)
        async with Client(server.url) as client:
            kernel_id = await client.start("python3")
            async with await client.connect(kernel_id) as socket:
                await socket.run("answer = 42")
        await asyncio.to_thread(server.stop, signum)
        server = BareServer(tmp_path, *arguments)
        await asyncio.to_thread(server.wait_ready)
        async with Client(server.url) as client, await client.connect(kernel_id) as socket:
            assert text_of(await socket.run("print(answer)")) == "42\n"
    finally:
        server.stop()
        keeper.end()


async def test_kernels_may_take_longer_to_end_than_fps_gives(launch: Launch) -> None:
    """A second, by default."""
    server = launch(*options(shutdown_wait_time_s=4))
    async with Client(server.url) as client:
        await client.start("tiny_ignores_sigterm")
    server.process.send_signal(signal.SIGTERM)
    await until(lambda: server.process.poll() is not None)
    assert server.process.poll() == 0
    assert server.kernel_processes() == []
    assert server.connection_files() == []
    assert "timed out" not in server.log.read_text()
