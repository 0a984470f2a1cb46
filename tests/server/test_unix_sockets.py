"""Servers that listen on a Unix socket: who reaches it, and what becomes of its file."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import unix_connect

from ..support.gateways import Begin, Gateway, gateways, option
from ..support.servers import NOT_NEEDED
from ..support.waits import until

LEAN = [*(word for name in NOT_NEEDED for word in ("--disable", name)), "--set", "kernels.prewarm=0"]
TOKEN = "a-token-of-the-tests"
RIGHT = {"Authorization": f"token {TOKEN}"}
Listen = Callable[..., Gateway]


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """listen(host, path, *options, ready=True) starts a server on a socket."""
    with gateways(tmp_path) as begin:

        def start(host: str, path: Path, *options: str, ready: bool = True) -> Gateway:
            arguments = [option("sock", path)] if host == "gateway" else ["lab", *LEAN, "--sock", str(path)]
            return begin(*arguments, *options, ready=ready)

        yield start


@pytest.fixture(scope="module")
def begin_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begin]:
    with gateways(tmp_path_factory.mktemp("gateways")) as begin:
        yield begin


def client(path: Path, **headers: str) -> httpx.Client:
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost", headers=headers, timeout=60
    )


def token(host: str) -> list[str]:
    return [option("auth_token", TOKEN)] if host == "gateway" else ["--token", TOKEN]


@pytest.mark.parametrize("host", ["gateway", "lab"])
def test_kernels_run_behind_a_socket_that_asks_for_the_token(tmp_path: Path, listen: Listen, host: str) -> None:
    path = tmp_path / "s.sock"
    server = listen(host, path, *token(host))
    assert server.url == f"http+unix://{str(path).replace('/', '%2F')}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with client(path) as anyone, client(path, **RIGHT) as user:
        assert anyone.get("/api/kernelspecs").status_code == 401
        kernel_id = user.post("/api/kernels", json={"name": "tiny_plain"}).json()["id"]
        assert user.get("/api/kernelspecs", headers={"Host": str(path).replace("/", "%2F")}).status_code == 200
        assert user.get("/api/kernelspecs", headers={"Origin": "http://evil.example"}).status_code in (403, 404)
    channels = f"ws://localhost/api/kernels/{kernel_id}/channels"
    with unix_connect(str(path), channels, additional_headers=RIGHT):
        """It is open."""
    assert server.stop() == 0
    assert not path.exists()


def test_an_open_server_is_called_by_its_own_names_only(tmp_path: Path, listen: Listen) -> None:
    path = tmp_path / "s.sock"
    server = listen("gateway", path, "--KernelGatewayApp.sock_mode=0660")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with client(path) as anyone:
        assert anyone.get("/api").status_code == 200
        assert anyone.get("/api", headers={"Host": str(path).replace("/", "%2f")}).status_code == 200
        assert anyone.get("/api", headers={"Host": "evil.example"}).status_code == 403
    assert "This server is open" in server.log


def test_a_server_that_only_its_user_reaches_is_not_called_open(tmp_path: Path, listen: Listen) -> None:
    assert "This server is open" not in listen("gateway", tmp_path / "s.sock").log


@pytest.mark.parametrize("host", ["gateway", "lab"])
def test_the_socket_of_a_dead_server_is_replaced(tmp_path: Path, listen: Listen, host: str) -> None:
    path = tmp_path / "s.sock"
    listen(host, path).stop(signal.SIGKILL)
    assert path.exists()
    listen(host, path)
    with client(path) as anyone:
        assert anyone.get("/api").status_code == 200


@pytest.mark.parametrize("host", ["gateway", "lab"])
def test_the_socket_of_a_living_server_is_left_alone(tmp_path: Path, listen: Listen, host: str) -> None:
    path = tmp_path / "s.sock"
    listen("gateway", path)
    second = listen(host, path, ready=False)
    assert second.wait_end(60) == 1
    assert f"sock={path}: another server listens there" in second.log.splitlines()[-1]
    with client(path) as anyone:
        assert anyone.get("/api").status_code == 200


def test_a_socket_that_another_server_has_put_there_is_not_removed(tmp_path: Path, listen: Listen) -> None:
    path = tmp_path / "s.sock"
    server = listen("gateway", path)
    path.unlink()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(path))
        assert server.stop() == 0
        assert path.exists()


def test_a_file_that_is_no_socket_is_kept(tmp_path: Path, listen: Listen) -> None:
    path = tmp_path / "s.sock"
    path.write_text("precious")
    for host in ("gateway", "lab"):
        server = listen(host, path, ready=False)
        assert server.wait_end(60) == 1
        assert "not a socket" in server.log.splitlines()[-1]
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--sock", "/no/such/folder/s"], "No such file or directory"),
        (["--sock", "/tmp/" + "x" * 120], "longer than 107 bytes"),
        (["--sock", "s", "--sock-mode", "0999"], "--sock-mode=0999"),
        (["--sock", "s", "--sock-mode", "0060"], "--sock-mode=0060"),
        (["--sock", "s", "--open-browser"], "--open-browser"),
    ],
)
def test_a_socket_that_cannot_be_is_one_line(
    begin_shared: Begin, wrong: list[str], said: str
) -> None:  # fmt: skip
    server = begin_shared("lab", *LEAN, *wrong, ready=False)
    assert server.wait_end(60) == 1
    last = server.log.splitlines()[-1]
    assert last.startswith("fps-kernels: ")
    assert said in last


async def test_variables_name_the_socket_too(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with gateways(tmp_path) as begin:
        begin(env={"KG_SOCK": str(path), "KG_SOCK_MODE": "660"}, ready=False)
        await until(path.exists, 60)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
