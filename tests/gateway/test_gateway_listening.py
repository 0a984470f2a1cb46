"""The addresses that the gateway listens on, when its host has several."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fps_kernels.errors import BadOption
from fps_kernels.serving.sockets import Listening, bind

from ..support.gateways import Gateway
from ..support.ports import free_port

ELSEWHERE = "2001:db8::1"
"""An address of nobody's: it is for documentation only."""


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


LOOPBACKS = ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]
needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def status(host: str, port: int) -> int:
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/api"
    return httpx.get(url, timeout=30, trust_env=False).status_code


def listening(ip: str, port: int = 0, port_retries: int = 0) -> Listening:
    return Listening(ip, port, port_retries, trust_proxy=False, ping_interval_s=0)


@contextlib.contextmanager
def bound(*args: Any) -> Iterator[list[tuple[str, int]]]:
    """The addresses and ports of the sockets that a gateway would have."""
    socks = bind(listening(*args))
    try:
        yield [sock.getsockname()[:2] for sock in socks]
    finally:
        for sock in socks:
            sock.close()


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """`many` is a host with the addresses of both families, one of them twice, and one that is not this machine's."""
    resolve = socket.getaddrinfo

    def with_many(host: Any, *args: Any, **more: Any) -> list[Any]:
        hosts = [ELSEWHERE, *LOOPBACKS, "127.0.0.1"] if host == "many" else [host]
        return [info for one in hosts for info in resolve(one, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", with_many)


def test_no_address_is_all_addresses(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gateway", "--KernelGatewayApp.ip=", "--KernelGatewayApp.allow_open_access=True")
    try:
        gateway.wait_ready()
        assert {host: status(host, gateway.port) for host in LOOPBACKS} == dict.fromkeys(LOOPBACKS, 200)
    finally:
        assert gateway.stop() == 0


def test_localhost_is_all_its_addresses(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gateway", "--ip=localhost")
    try:
        gateway.wait_ready()
        hosts = {info[4][0] for info in socket.getaddrinfo("localhost", None) if info[4][0] in LOOPBACKS}
        assert {host: status(host, gateway.port) for host in hosts} == dict.fromkeys(hosts, 200)
        assert "127.0.0.1" in hosts
    finally:
        assert gateway.stop() == 0


@needs_ipv6
def test_a_port_that_is_taken_on_one_address_is_used_on_none(tmp_path: Path) -> None:
    with socket.create_server(("::1", free_port()), family=socket.AF_INET6) as listener:
        taken = listener.getsockname()[1]
        gateway = Gateway(tmp_path / "gateway", "--ip=", f"--port={taken}", "--KernelGatewayApp.allow_open_access=True")
        try:
            gateway.wait_ready()
            port = int(gateway.url.rpartition(":")[2])
            assert taken < port <= taken + 50
            assert [status(host, port) for host in LOOPBACKS] == [200, 200]
            with pytest.raises(httpx.TransportError):
                status("127.0.0.1", taken)
        finally:
            assert gateway.stop() == 0


def test_each_address_is_listened_on_once_and_those_of_others_are_left_out(many: None) -> None:
    with bound("many") as names:
        assert [host for host, _ in names] == LOOPBACKS
        assert len({port for _, port in names}) == 1
        assert names[0][1] != 0


@needs_ipv6
def test_without_retries_a_port_that_is_taken_on_one_address_is_refused(many: None) -> None:
    with socket.create_server(("::1", free_port()), family=socket.AF_INET6) as listener:
        taken = listener.getsockname()[1]
        with pytest.raises(BadOption, match=rf"ip=many port={taken}: Address already in use"):
            bind(listening("many", taken))
        with socket.create_server(("127.0.0.1", taken)):  # it was let go on the other one
            pass


def test_an_address_that_is_nobodys_is_refused() -> None:
    with pytest.raises(BadOption, match=rf"ip={ELSEWHERE} port=0: "):
        bind(listening(ELSEWHERE, 0, 5))


@pytest.mark.parametrize("ip", ["no such host", "a" * 64, "a..b"])
def test_a_host_that_cannot_be_found_is_refused(ip: str) -> None:
    with pytest.raises(BadOption, match=f"ip={ip}: "):
        bind(listening(ip))
