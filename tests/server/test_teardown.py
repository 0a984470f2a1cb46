"""The end of the server: in bounded time, and nothing is left behind. And the start that a wrong option prevents."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.client import Client
from ..support.kept_mode import not_kept
from ..support.ports import free_port
from ..support.servers import Launch, Server, jupyverse, options
from ..support.waits import until

both = pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])

SIGNS_OF_TROUBLE = ("Traceback", "Exception", "never retrieved", "never awaited", "was destroyed", "ERROR", "CRITICAL")


async def end(server: Server, signum: int) -> None:
    """End the server with a signal, and see that nothing is left."""
    server.process.send_signal(signum)
    await ended(server, expected_code=0 if signum == signal.SIGTERM else server.generation.interrupted)


async def ended(server: Server, expected_code: int = 0) -> None:
    """Wait for the end of the server, and see that nothing is left. No kernel's start is waited for: that has 60 s."""
    code = await asyncio.to_thread(server.process.wait, 30)
    log = server.log.read_text()
    assert code == expected_code, log
    assert server.kernel_processes() == []
    assert server.connection_files() == []
    # What a kernel writes to stderr is its own: ipykernel does not like to be interrupted in the middle of a reply.
    ours = "".join(line for line in log.splitlines(keepends=True) if not re.search(r" kernel [\w-]+: ", line))
    assert [sign for sign in SIGNS_OF_TROUBLE if sign in ours] == [], log


async def start_unready(client: Client, name: str) -> tuple[str, asyncio.Task]:
    """Ask for a kernel and return once it is listed; returns its id and the request that waits."""
    kernel_id = str(uuid.uuid4())
    body = {"name": name, "kernel_id": kernel_id}
    request = asyncio.create_task(client.http.post("/api/kernels", json=body))
    await client.until(lambda kernels: kernel_id in [model["id"] for model in kernels])
    return kernel_id, request


async def until_processes(server: Server, number: int) -> None:
    await until(lambda: len(server.kernel_processes()) == number)


@both
async def test_a_server_without_kernels_ends(launch: Launch, signum: int) -> None:
    await end(launch(), signum)


@both
async def test_idle_kernels_end_with_the_server(launch: Launch, signum: int) -> None:
    server = launch()
    async with Client(server.url) as client:
        await asyncio.gather(*(client.start(name) for name in ("tiny_plain", "tiny_curve", "python3")))
    assert len(server.kernel_processes()) == 3
    await end(server, signum)


@both
async def test_busy_kernels_end_with_the_server(launch: Launch, signum: int) -> None:
    server = launch()
    async with Client(server.url) as client:
        for code in ("import time; stream('on')\nwhile True: time.sleep(0.05)", "stream('on')\nwhile True: pass"):
            kernel_id = await client.start()
            async with await client.connect(kernel_id) as socket:
                await socket.execute(code)
                await socket.until(lambda m: m["msg_type"] == "stream")
    await end(server, signum)


@both
async def test_a_request_that_waits_for_a_start_is_told_that_the_server_stops(launch: Launch, signum: int) -> None:
    server = launch()
    async with Client(server.url) as client:
        _, request = await start_unready(client, "tiny_silent")
        await until_processes(server, 1)
        await end(server, signum)
        response = await request
    assert response.status_code == 503
    assert response.json() == {"message": "The server is shutting down", "reason": "Service Unavailable"}


@both
async def test_a_session_that_waits_for_a_start_is_told_that_the_server_stops(launch: Launch, signum: int) -> None:
    server = launch()
    async with Client(server.url) as client:
        body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "tiny_silent"}}
        request = asyncio.create_task(client.http.post("/api/sessions", json=body))
        await until_processes(server, 1)
        await end(server, signum)
        assert (await request).status_code == 503


async def test_a_request_that_waits_for_a_restart_is_answered(launch: Launch) -> None:
    server = launch()
    async with Client(server.url) as client:
        kernel_id, start = await start_unready(client, "tiny_slow")
        await start
        request = asyncio.create_task(client.http.post(f"/api/kernels/{kernel_id}/restart"))
        await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "restarting")
        await end(server, signal.SIGTERM)
        assert (await request).status_code in (409, 500, 503)


@both
async def test_a_stubborn_kernel_is_killed_with_the_server(launch: Launch, signum: int) -> None:
    server = launch(*options(shutdown_wait_time_s=1))
    async with Client(server.url) as client:
        await asyncio.gather(*(client.start("tiny_ignores_sigterm") for _ in range(3)))
    await end(server, signum)


@both
async def test_open_sockets_are_told_that_the_server_stops(launch: Launch, signum: int) -> None:
    server = launch()
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as first, await client.connect(kernel_id, v1=False) as second:
            await first.execute("import time; stream('on')\nwhile True: time.sleep(0.05)")
            await second.until(lambda m: m["msg_type"] == "stream")
            closed = asyncio.gather(first.closed(), second.closed())
            await end(server, signum)
            assert [code for code, _ in await closed] == [1012, 1012]


async def test_a_socket_that_does_not_read_does_not_hold_the_kernels_up(launch: Launch) -> None:
    """The host's HTTP server waits for such a socket, but the kernels do not."""
    server = launch()
    async with Client(server.url) as client:
        kernel_id = await client.start()
        lazy = await client.connect(kernel_id, max_queue=1, compression=None)
        code = "import os\nfor i in range(40): publish('display_data', {}, buffers=[os.urandom(1 << 20)])"
        async with await client.connect(kernel_id, compression=None) as reader:
            await reader.run(code)
        server.process.send_signal(signal.SIGTERM)
        await until_processes(server, 0)
        lazy.ws.transport.abort()
        await ended(server)


async def test_a_kernel_that_is_being_deleted_ends_with_the_server(launch: Launch) -> None:
    server = launch(*options(shutdown_wait_time_s=2))
    async with Client(server.url) as client:
        kernel_id = await client.start("tiny_ignores_sigterm")
        request = asyncio.create_task(client.http.delete(f"/api/kernels/{kernel_id}"))
        await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "terminating")
        await end(server, signal.SIGTERM)
        assert (await request).status_code in (204, 503)


@not_kept
async def test_kernels_end_when_the_server_is_killed(launch: Launch) -> None:
    """Nobody can tidy up then, but kernels look after their parent."""
    server = launch()
    async with Client(server.url) as client:
        await client.start("python3")
    server.process.kill()
    server.process.wait()
    await until_processes(server, 0)


# --- options that are wrong -----------------------------------------------------------------------

Refused = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """refused(*arguments) runs a server that is expected to end by itself."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        command, environ = jupyverse(tmp_path, free_port(), *arguments)
        return subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("nonsense=1", "kernels.nonsense: there is no such option"),
        ("max_kernels=many", "kernels.max_kernels: "),
        ("transport_encryption=maybe", "kernels.transport_encryption: "),
    ],
)
def test_a_wrong_option_is_named_in_one_line(refused: Refused, option: str, line: str) -> None:
    done = refused("--set", f"kernels.{option}")
    assert done.returncode == 1
    assert done.stdout == ""
    [message] = [text for text in done.stderr.splitlines() if " INFO]" not in text]
    assert message.startswith(line)


def test_all_wrong_options_are_named(refused: Refused) -> None:
    done = refused("--set", "kernels.max_kernels=many", "--set", "kernels.nonsense=1")
    assert done.returncode == 1
    assert "kernels.max_kernels: " in done.stderr
    assert "kernels.nonsense: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_folder_for_connection_files_that_others_can_write_to(refused: Refused, tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    done = refused("--set", f"kernels.connection_dir={folder}")
    assert done.returncode == 1
    [message] = [text for text in done.stderr.splitlines() if " INFO]" not in text]
    assert message.startswith(f"kernels.connection_dir={folder}: ")
    assert "can be written to by others" in message
