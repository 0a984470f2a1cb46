"""The log as JSON, and the ids of requests: what an operator finds by them, and what a client cannot put there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from ..support.gateways import Gateway, option
from ..support.ports import free_port
from ..support.servers import NOT_NEEDED
from ..support.waits import until

SECRET = "the-shared-s3cr3t-of-a-proxy"
USER = {"X-Forwarded-User": "ada", "X-FPS-Kernels-Proxy-Secret": SECRET}


@pytest.fixture(scope="module", params=["gateway", "lab"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One whose users a proxy has authenticated."""
    base = tmp_path_factory.mktemp("server")
    secret = base / "secret"
    secret.touch(0o600)
    secret.write_text(SECRET)
    if request.param == "gateway":
        words = [option("log_format", "json"), option("proxy_user_header", "X-Forwarded-User")]
        words += [option("proxy_secret_file", secret), "--JupyterWebsocketPersonality.list_kernels=True"]
    else:
        lean = [word for name in NOT_NEEDED for word in ("--disable", name)]
        proxy = ["--proxy-user-header", "X-Forwarded-User", "--proxy-secret-file", str(secret)]
        words = ["lab", "--port", str(free_port()), "--log-format", "json", "--set", "kernels.prewarm=0", *lean, *proxy]
    server = Gateway(base / "server", *words)
    server.wait_ready()
    yield server
    server.stop()


def lines(server: Gateway) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.splitlines()]


def lines_of(server: Gateway, **about: str) -> list[dict[str, Any]]:
    """The lines that are about something."""
    return [line for line in lines(server) if about.items() <= line.items()]


async def test_each_line_says_what_it_is_about(server: Gateway) -> None:
    headers = USER | {"X-Request-ID": "of-a-proxy.7"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as http:
        answer = await http.post("/api/kernels", json={"name": "tiny_plain"})
        assert (answer.status_code, answer.headers["X-Request-ID"]) == (201, "of-a-proxy.7")
        kernel_id = answer.json()["id"]
        url = f"ws{server.url[4:]}/api/kernels/{kernel_id}/channels?session_id=page-1"
        async with websockets.connect(url, additional_headers=headers | {"X-Request-ID": "ws-1"}) as socket:
            await socket.recv()
        await until(lambda: lines_of(server, kernel_id=kernel_id, event="ready"))
        other = await http.delete(f"/api/kernels/{kernel_id}", headers={"X-Request-ID": "end-1"})
        assert other.status_code == 204
    await until(lambda: lines_of(server, kernel_id=kernel_id, event="ended"))
    about = {"kernel_id": kernel_id, "kernelspec": "tiny_plain", "user": "ada", "request_id": "of-a-proxy.7"}
    [ready] = lines_of(server, event="ready", **about)
    assert 0 < ready["duration_s"] < 60
    assert ready["start"] == "cold"
    assert datetime.fromisoformat(ready["time"]).utcoffset() is not None
    [ended] = lines_of(server, event="ended", kernel_id=kernel_id, request_id="end-1")
    assert ended["duration_s"] >= ready["duration_s"]
    assert lines_of(server, request_id="ws-1", session_id="page-1", kernel_id=kernel_id, user="ada")
    assert not lines_of(server, request_id="ws-1", event="ended")


async def test_what_happens_after_a_request_is_not_its_doing(server: Gateway) -> None:
    async with httpx.AsyncClient(base_url=server.url, headers=USER, timeout=60) as http:
        kernel_id = (await http.post("/api/kernels", json={"name": "tiny_plain"})).json()["id"]
        server.process_of(kernel_id).kill()
        await until(lambda: [one for one in lines_of(server, level="WARNING", kernel_id=kernel_id)])
        [died] = lines_of(server, level="WARNING", kernel_id=kernel_id)
        assert "died" in died["message"]
        assert not {"request_id", "user"} & died.keys()


@pytest.mark.parametrize("sent", ["", "two words", "x" * 200, 'a"}', "a\tb", "ä", "a,b"])
async def test_an_id_that_is_none_is_replaced(server: Gateway, sent: str) -> None:
    async with httpx.AsyncClient(base_url=server.url, headers=USER) as http:
        answer = await http.get("/api/kernels", headers=[(b"X-Request-ID", sent.encode())])
    assert answer.status_code == 200
    assert len(answer.headers["X-Request-ID"]) == 32


async def test_answers_that_refuse_have_ids_too(server: Gateway) -> None:
    """So that whoever is refused can say which request that was."""
    headers = {"X-FPS-Kernels-Proxy-Secret": "wrong", "X-Forwarded-User": "eve", "X-Request-ID": "guess-1"}
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.get("/api/kernels", headers=headers)
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (401, "guess-1")
    await until(lambda: lines_of(server, request_id="guess-1", level="WARNING"))


async def test_no_client_writes_lines_or_fields(server: Gateway) -> None:
    async with httpx.AsyncClient(base_url=server.url, headers=USER) as http:
        for name in ('x\n{"forged": 1}', 'x", "forged": "1', "\u2028{}"):
            assert (await http.post("/api/kernels", json={"name": name})).status_code == 404
            assert (await http.get(f"/api/kernels/{name!r}")).status_code in (400, 404)
    assert all("forged" not in line for line in lines(server))  # each line is JSON, and has no such field


@pytest.mark.parametrize("value", ["xyz", "%(nope)s", "%d"])
@pytest.mark.parametrize("words", [["--KernelGatewayApp.log_format={}"], ["lab", "--log-format={}"]])
def test_a_wrong_format_is_one_line(tmp_path: Path, words: list[str], value: str) -> None:
    gateway = Gateway(tmp_path, *(word.format(value) for word in words))
    assert gateway.wait_end() == 1
    [line] = gateway.log.splitlines()
    assert f"={value} is neither `text` nor `json`, nor a format of Python's logging" in line
