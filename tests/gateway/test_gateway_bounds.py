"""Bounds on what strangers cost a gateway: connections, headers and messages, as its options set them."""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ..support.gateways import Begin, Gateway, option

TOKEN = "a token that nobody guesses"
TOKEN_HEADER = {"Authorization": f"token {TOKEN}"}


@contextlib.contextmanager
def silent_clients(gateway: Gateway, number: int) -> Iterator[list[socket.socket]]:
    """Connections that send nothing, or the beginning of a request."""
    with contextlib.ExitStack() as stack:
        socks = []
        for count in range(number):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=30))
            sock.sendall(b"GET /api HTTP/1.1\r\nX-Slow: "[: count % 2 * 30])
            socks.append(sock)
        yield socks


def get(gateway: Gateway, path: str) -> int:
    return httpx.get(gateway.url + path, headers=TOKEN_HEADER, timeout=30, trust_env=False).status_code


def start_kernel(gateway: Gateway) -> str:
    answer = httpx.post(
        f"{gateway.url}/api/kernels", json={"name": "tiny_plain"}, headers=TOKEN_HEADER, timeout=60, trust_env=False
    )
    assert answer.status_code == 201, answer.text
    kernel_id: str = answer.json()["id"]
    return kernel_id


def test_silent_clients_keep_nobody_out(begin: Begin) -> None:
    gateway = begin(option("max_connections", 20), option("auth_token", TOKEN))
    with silent_clients(gateway, 60):
        assert get(gateway, "/healthz") == get(gateway, "/readyz") == 200
        start_kernel(gateway)
        assert gateway.log.count("connections are in use") == 1


def test_health_checks_are_answered_when_all_connections_are_busy(begin: Begin) -> None:
    gateway = begin(option("max_connections", 5), option("base_url", "/a b/"), option("auth_token", TOKEN))
    kernel_id = start_kernel(gateway)
    channels = f"{gateway.url.replace('http', 'ws')}/api/kernels/{kernel_id}/channels"
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connect(channels, additional_headers=TOKEN_HEADER, proxy=None))
        with silent_clients(gateway, 30):
            assert get(gateway, "/healthz") == get(gateway, "/readyz") == 200
            assert get(gateway, "/api") == 503
    deadline = time.monotonic() + 30
    while get(gateway, "/api") != 200:
        assert time.monotonic() < deadline


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="limits of other processes can be set on Linux only")
def test_a_gateway_without_descriptors_goes_on_when_it_has_some(begin: Begin) -> None:
    gateway = begin(option("auth_token", TOKEN))
    process = psutil.Process(gateway.process.pid)
    assert get(gateway, "/api") == 200
    _, hard = process.rlimit(resource.RLIMIT_NOFILE)
    process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds() + 10, hard))
    with silent_clients(gateway, 60):
        gateway.wait_log("gives no more connections")
        assert get(gateway, "/healthz") == get(gateway, "/api") == 200
        assert gateway.log.count("gives no more connections") == 1


def test_a_body_that_breaks_off_is_no_error_in_the_log(begin: Begin) -> None:
    gateway = begin()
    for path in ("/api/kernels", "/api/sessions"):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as sock:
            sock.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{{".encode())
            assert get(gateway, "/api") == 200  # it has begun to read
    assert get(gateway, "/api") == 200
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log


@pytest.mark.parametrize("path", ["/api", "/api/kernels/unknown/channels"])
def test_headers_are_bounded_for_requests_and_websockets(begin_shared: Begin, path: str) -> None:
    gateway = begin_shared()
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" * ("channels" in path)
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    for size, status in ((60_000, 404 if upgrade else 200), (70_000, 431)):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as sock:
            head = f"GET {path} HTTP/1.1\r\nHost: {gateway.url[7:]}\r\n{upgrade}{key}Cookie: a={'x' * size}\r\n\r\n"
            sock.sendall(head.encode())
            answer = sock.recv(100)
            assert int(answer.split()[1]) == status
    gateway.wait_log("headers have more than 65536 bytes")


OPTIONS = {
    "max_connections": ["0", "-1", "x"],
    "keep_alive_s": ["0", "nan", "inf"],
    "head_timeout_s": ["0", "-1", "inf"],
    "ws_max_message_bytes": ["0", "1000", str(2**40)],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in OPTIONS for value in OPTIONS[name]])
def test_a_wrong_bound_ends_the_command(begin: Begin, name: str, value: str) -> None:
    gateway = begin(option(name, value), ready=False)
    assert gateway.wait_end() == 1
    assert re.search(rf"\b{name}\b", gateway.log.splitlines()[-1])


def test_the_bounds_have_variables(begin: Begin) -> None:
    hasty = begin(env={"KG_HEAD_TIMEOUT_S": "0.3"})  # a busy machine may be too slow for it
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=30) as sock:
        assert sock.recv(1) == b""
    gateway = begin(env={"KG_WS_MAX_MESSAGE_BYTES": "100000", "KG_KEEP_ALIVE_S": "0.2"})
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as sock:
        sock.sendall(b"GET /api HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while data := sock.recv(4096):  # until it is closed
            answer += data
        assert answer.startswith(b"HTTP/1.1 200 ")
    kernel_id = start_kernel(gateway)
    channels = f"{gateway.url.replace('http', 'ws')}/api/kernels/{kernel_id}/channels"
    for message in ("x" * 100_001, bytes(100_001), [b"x" * 60_000] * 2):
        with connect(channels, proxy=None, compression=None) as client:
            client.send(message)
            with contextlib.suppress(ConnectionClosed):
                for _ in client:
                    continue
            assert client.close_code == 1009
            assert "ws_max_message_bytes" in str(client.close_reason)
