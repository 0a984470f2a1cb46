"""Servers that are started with their sockets, as by systemd: a restart refuses no connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ..support.activation import activated, command_with, listening_socket
from ..support.client import Client
from ..support.gateways import COMMAND, environment
from ..support.knocks import knocking
from ..support.ports import free_port

HERE = ("127.0.0.1", 0)
LAB = ("lab", "--no-browser", "--no-token", "--set=kernels.prewarm=0")


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with listening_socket(HERE) as made:
        yield made


def url_of(sock: socket.socket) -> str:
    return f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("words", [(), LAB], ids=["gateway", "lab"])
async def test_no_connection_is_refused_over_a_restart(tmp_path: Path, sock: socket.socket, words: tuple[str]) -> None:
    async with knocking(f"{url_of(sock)}/api") as refused:
        with activated(tmp_path, [sock], *words) as first:
            assert await asyncio.to_thread(first.stop) == 0
        async with httpx.AsyncClient(base_url=url_of(sock), timeout=60, trust_env=False) as client:
            waiting = [asyncio.create_task(client.get("/api")) for _ in range(5)]
            with contextlib.ExitStack() as stack:
                second = await asyncio.to_thread(stack.enter_context, activated(tmp_path, [sock], *words))
                assert [(await answer).status_code for answer in waiting] == [200] * 5
                assert second.url == url_of(sock)
                assert await asyncio.to_thread(second.stop) == 0
    assert refused == []


async def test_kernels_get_neither_the_variables_nor_the_sockets(tmp_path: Path, sock: socket.socket) -> None:
    with activated(tmp_path, [sock]) as gateway:
        async with Client(gateway.url) as client:
            kernel_id = await client.start()
            code = "[name for name in os.environ if name.startswith('LISTEN_')]"
            assert await client.evaluate(kernel_id, code) == "[]"
            paths = "(f'/proc/self/fd/{fd}' for fd in os.listdir('/proc/self/fd'))"
            links = await client.evaluate(
                kernel_id, f"[os.readlink(path) for path in {paths} if os.path.lexists(path)]"
            )
            assert f"socket:[{os.fstat(sock.fileno()).st_ino}]" not in links


def test_several_sockets_and_one_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with listening_socket(path) as file, listening_socket(HERE) as one, listening_socket(HERE) as two:
        options = ("--port=1", "--ip=203.0.113.1", "--KernelGatewayApp.sock=elsewhere")
        with activated(tmp_path, [file, one, two], *options) as gateway:
            assert gateway.url == url_of(one)
            assert "LISTEN_FDS" in gateway.log
            for url in (url_of(one), url_of(two)):
                assert httpx.get(f"{url}/api", trust_env=False).status_code == 200
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
                assert client.get("http://localhost/api").status_code == 200
            gateway.stop()
        assert path.exists()  # it is its owner's


def test_a_socket_that_is_a_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with listening_socket(path) as file, activated(tmp_path, [file]) as gateway:
        assert gateway.url.startswith("http+unix://")
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://localhost/api").status_code == 200
        gateway.stop()
    assert path.exists()


async def test_sockets_for_another_process_are_passed_over(tmp_path: Path, sock: socket.socket) -> None:
    port = free_port()
    with activated(tmp_path, [sock], f"--port={port}", LISTEN_PID="1") as gateway:
        assert gateway.url == f"http://127.0.0.1:{port}"
        async with Client(gateway.url) as client:
            kernel_id = await client.start()
            assert await client.evaluate(kernel_id, "'LISTEN_FDS' in os.environ") == "False"


def refusal(tmp_path: Path, sock: socket.socket, *words: str, **env: str) -> str:
    """The one line with which a server that is given a socket does not start."""
    command, more = command_with([sock], COMMAND, *words)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment(tmp_path, **env), cwd=tmp_path, **more
    )
    assert done.returncode == 1, done.stderr
    [line] = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("words", [(), LAB], ids=["gateway", "lab"])
def test_what_does_not_listen_is_refused(tmp_path: Path, words: tuple[str]) -> None:
    with socket.socket() as bound, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        bound.bind(HERE)
        for sock in (bound, datagrams):
            assert "LISTEN_FDS=1: descriptor 3 is no stream socket that listens" in refusal(tmp_path, sock, *words)


def test_what_is_no_socket_is_refused(tmp_path: Path, sock: socket.socket) -> None:
    with (tmp_path / "file").open("w") as file:
        assert "descriptor 3 is no socket" in refusal(tmp_path, file)  # type: ignore[arg-type]
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0fps-kernels-test-{free_port()}")
        abstract.listen()
        assert "a Unix socket without a file" in refusal(tmp_path, abstract)


@pytest.mark.parametrize("words", [(), LAB], ids=["gateway", "lab"])
def test_an_open_server_does_not_serve_other_machines_by_a_given_socket(tmp_path: Path, words: tuple[str]) -> None:
    with listening_socket(("0.0.0.0", 0)) as sock:
        assert "everyone who can reach it could run code" in refusal(tmp_path, sock, *words)
