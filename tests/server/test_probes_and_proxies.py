"""HTTP as monitors, proxies and other pages' browsers speak it, at every server of ours."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect

from ..support.apis import apis
from ..support.doors import websocket_status
from ..support.gateways import Gateway, environment, gateways, option
from ..support.ports import free_port
from ..support.raw_http import raw_request

TOKEN = "a-token-of-the-tests"
RIGHT = {"Authorization": f"token {TOKEN}"}
COLAB = "https://colab.research.google.com"
HOSTS = ("gateway", "lab", "notebook-http")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Gateway]]:
    """One of each kind, by name, with the same token."""
    base = tmp_path_factory.mktemp("spoken")
    (base / "api").mkdir()
    with gateways(base / "gateways") as begin, apis(base / "api") as serve:
        started = {
            "gateway": begin(option("auth_token", TOKEN), option("allow_origin_pat", "https://colab[.].*"), ready=False)
        }
        folder = base / "lab"
        environment(folder)
        options = ("--token", TOKEN, "--set", "kernels.prewarm=0", "--allow-origin", f"{COLAB}/")
        started["lab"] = Gateway(folder, "lab", "--port", str(free_port()), *options)
        cells = ("# GET /hello\nprint('hello')", "# POST /echo\nprint(len(REQUEST))")
        streamed = {"cell_type": "code", "source": "# GET /stream\nprint('a')", "metadata": {"stream": True}}
        started["notebook-http"] = serve(
            *cells, streamed | {"outputs": [], "execution_count": None}, token=TOKEN, ready=False
        )
        try:
            for server in started.values():
                server.wait_ready()
            yield started
        finally:
            started["lab"].stop()


def ask(server: Gateway, method: str, path: str, **more: Any) -> httpx.Response:
    headers = RIGHT | more.pop("headers", {})
    return httpx.request(method, server.url + path, headers=headers, timeout=60, trust_env=False, **more)


# --- methods ---------------------------------------------------------------------------------------

GATEWAY_PAGES = (
    "/healthz /readyz /api /api/status /api/kernelspecs /api/kernelspecs/tiny_plain "
    "/kernelspecs/tiny_plain/kernel.json /docs /openapi.json /api/swagger.json /_api/activity"
)
LAB_PAGES = (
    "/ /lab /login /api /api/kernels /api/contents?content=0 /api/kernelspecs /lab/api/settings /api/me /api/terminals "
    "/favicon.ico /api/sessions /api/status /openapi.json"
)
PAGES = {
    "gateway": GATEWAY_PAGES.split(),
    "lab": LAB_PAGES.split(),
    "notebook-http": ["/healthz", "/readyz", "/hello", "/_api/spec/swagger.json", "/docs", "/openapi.json"],
}


@pytest.mark.parametrize("host", HOSTS)
def test_head_is_answered_as_get_without_the_body(servers: dict[str, Gateway], host: str) -> None:
    for path in PAGES[host]:
        got, head = ask(servers[host], "GET", path), ask(servers[host], "HEAD", path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert got.status_code in (200, 302), path
        for name in ("content-length", "content-type", "location"):
            assert head.headers.get(name) == got.headers.get(name), path


@pytest.mark.parametrize("host", HOSTS)
async def test_nothing_follows_the_answer_to_head(servers: dict[str, Gateway], host: str) -> None:
    """A connection is as usable afterwards as before."""
    path = PAGES[host][1]
    head = f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {TOKEN}\r\n"
    answers = await exchange(servers[host], (head + "\r\n").encode() + (head + "Connection: close\r\n\r\n").encode())
    assert answers.count(b"HTTP/1.1 200 ") == 2
    assert answers.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("host", "path", "methods"),
    [
        ("lab", "/api/kernels", "GET, HEAD, OPTIONS, POST"),
        ("lab", "/api/shutdown", "OPTIONS, POST"),
        ("lab", "/lab", "GET, HEAD, OPTIONS"),
        ("lab", "/api/config/notebook", "GET, HEAD, OPTIONS, PATCH, PUT"),
    ],
)
def test_options_names_the_methods(servers: dict[str, Gateway], host: str, path: str, methods: str) -> None:
    answer = ask(servers[host], "OPTIONS", path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert sorted(answer.headers["allow"].split(", ")) == methods.split(", ")


@pytest.mark.parametrize("host", ["gateway", "notebook-http"])
def test_options_needs_no_token_at_the_gateway(servers: dict[str, Gateway], host: str) -> None:
    url = servers[host].url + "/api/kernels"
    assert httpx.options(url, trust_env=False, timeout=30).status_code == 200


@pytest.mark.parametrize(
    ("host", "method", "path", "allowed"),
    [
        ("gateway", "PUT", "/api/kernels", "GET, HEAD, POST"),
        ("gateway", "POST", "/healthz", "GET, HEAD"),
        ("gateway", "HEAD", "/api/kernels/x/interrupt", "POST"),
        ("lab", "HEAD", "/api/shutdown", "POST"),
        ("lab", "GET", "/api/shutdown", "POST"),
        ("lab", "DELETE", "/api/kernels", "GET, HEAD, POST"),
        ("notebook-http", "HEAD", "/echo", "POST, OPTIONS"),
    ],
)
def test_another_method_is_told_which_there_are(
    servers: dict[str, Gateway], host: str, method: str, path: str, allowed: str
) -> None:
    answer = ask(servers[host], method, path)
    assert (answer.status_code, sorted(answer.headers["allow"].split(", "))) == (405, sorted(allowed.split(", ")))


# --- redirects ---------------------------------------------------------------------------------------

BEHIND_TLS = {"Host": "notebooks.example", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "notebooks.example"}


@pytest.mark.parametrize(
    ("host", "path", "location"),
    [
        ("gateway", "/api/kernelspecs/?a=b&c=%2F", "/api/kernelspecs?a=b&c=%2F"),
        ("gateway", "/api/kernels/", "/api/kernels"),
        ("gateway", "/api/kernels/a%3Fb/", "/api/kernels/a%3Fb"),
        ("lab", "/api/kernels/", "/api/kernels"),
        ("lab", "/docs/", "/docs"),  # of the framework
        ("lab", "/lab/?reset", "/lab?reset"),
        ("lab", "/static/favicons/favicon.ico", "/favicon.ico"),
        ("lab", "/", "/lab"),
    ],
)
async def test_a_redirect_is_right_behind_a_proxy_with_tls(
    servers: dict[str, Gateway], host: str, path: str, location: str
) -> None:
    headers = RIGHT | BEHIND_TLS
    if host == "lab":
        headers["Host"] = "localhost"  # it is called by names of its own only
    answer = await raw_request(servers[host].url, "GET", path, headers=headers)
    assert answer.status_code in (301, 302, 307)
    assert answer.headers["location"] == location


# --- streams -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "accept"), [("/hello", "text/event-stream"), ("/stream", "*/*")])
def test_no_proxy_keeps_a_stream_back(servers: dict[str, Gateway], path: str, accept: str) -> None:
    answer = ask(servers["notebook-http"], "GET", path, headers={"Accept": accept})
    assert answer.status_code == 200
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no")


# --- bodies ------------------------------------------------------------------------------------------

BODIES = [
    ("gateway", "POST", "/api/kernels"),
    ("gateway", "POST", "/api/sessions"),
    ("lab", "POST", "/api/kernels"),
    ("lab", "PUT", "/api/contents/a.txt"),
    ("lab", "PATCH", "/api/contents/a.txt"),
    ("lab", "PUT", "/api/config/notebook"),
    ("notebook-http", "POST", "/echo"),
]


@pytest.mark.parametrize(("host", "method", "path"), BODIES)
@pytest.mark.parametrize("coding", ["gzip", "br", "identity, GZIP"])
def test_a_compressed_body_is_refused_by_name(
    servers: dict[str, Gateway], host: str, method: str, path: str, coding: str
) -> None:
    body = gzip.compress(b'{"name": "tiny_plain"}')
    answer = ask(servers[host], method, path, content=body, headers={"Content-Encoding": coding})
    assert answer.status_code == 415
    assert f"Content-Encoding: {coding}" in answer.json()["message"]


@pytest.mark.parametrize("host", HOSTS)
async def test_a_compressed_transfer_is_refused_by_name(servers: dict[str, Gateway], host: str) -> None:
    head = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {TOKEN}\r\n"
    answer = await exchange(servers[host], (head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n").encode())
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert b"chunked" in answer.partition(b"\r\n\r\n")[2]


NO_SUCH = json.dumps({"name": "no-such-kernel"}).encode()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (f"Content-Encoding: identity\r\nContent-Length: {len(NO_SUCH)}\r\n", NO_SUCH),
        (
            "Transfer-Encoding: chunked\r\nTrailer: X\r\n",
            b"5;a=b\r\n" + NO_SUCH[:5] + b"\r\n%x\r\n" % len(NO_SUCH[5:]) + NO_SUCH[5:] + b"\r\n0\r\nX: y\r\n\r\n",
        ),
    ],
    ids=["identity", "chunked"],
)
@pytest.mark.parametrize("host", ["gateway", "lab"])
async def test_a_body_is_read_however_it_is_framed(
    servers: dict[str, Gateway], host: str, headers: str, body: bytes
) -> None:
    head = f"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {TOKEN}\r\nConnection: close\r\n"
    answer = await exchange(servers[host], (head + headers + "\r\n").encode() + body)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"no-such-kernel" in answer


@pytest.mark.parametrize("host", HOSTS)
async def test_who_waits_for_100_continue_gets_it_or_the_error(servers: dict[str, Gateway], host: str) -> None:
    path = "/echo" if host == "notebook-http" else "/api/kernels"
    for token, first in ((TOKEN, b"HTTP/1.1 100 "), ("wrong", b"HTTP/1.1 401 ")):
        reader, writer = await opened(servers[host])
        try:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {token}\r\n"
            head += f"Expect: 100-continue\r\nContent-Length: {len(NO_SUCH)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            async with asyncio.timeout(60):
                assert (await reader.readline()).startswith(first)
                if token == TOKEN:
                    await reader.readline()
                    writer.write(NO_SUCH)
                    assert (await reader.readline()).split()[1] in (b"200", b"404")
        finally:
            writer.close()


# --- old, hasty and wordy clients --------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
async def test_clients_of_http_1_0_are_answered(servers: dict[str, Gateway], host: str) -> None:
    for lines in ("", "Host: localhost\r\n", "Host: localhost\r\nConnection: keep-alive\r\n"):
        path = PAGES[host][-1]
        head = f"GET {path} HTTP/1.0\r\n{lines}Authorization: token {TOKEN}\r\n\r\n"
        answer = await exchange(servers[host], head.encode())
        assert b" 200 " in answer.partition(b"\r\n")[0]


@pytest.mark.parametrize("host", HOSTS)
async def test_requests_that_come_together_are_answered_in_their_order(servers: dict[str, Gateway], host: str) -> None:
    def head(path: str, more: str = "") -> str:
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {TOKEN}\r\n{more}\r\n"

    pages = [PAGES[host][-1], "/no-such-page", PAGES[host][-1]]
    answer = await exchange(servers[host], (head(pages[0]) + head(pages[1]) + head(pages[2], CLOSE)).encode())
    assert [part.split()[0] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200"]


CLOSE = "Connection: close\r\n"


@pytest.mark.parametrize("host", HOSTS)
async def test_a_request_in_the_form_for_proxies_is_answered(servers: dict[str, Gateway], host: str) -> None:
    target = f"{servers[host].url}{PAGES[host][-1]}"
    assert (await raw_request(servers[host].url, "GET", target, headers=RIGHT)).status_code == 200
    if host == "lab":  # the name in the first line counts, whatever Host says
        answer = await raw_request(servers[host].url, "GET", "http://evil.example/api", headers=RIGHT)
        assert answer.status_code == 403


@pytest.mark.parametrize("host", HOSTS)
async def test_a_query_may_be_long_but_not_without_end(servers: dict[str, Gateway], host: str) -> None:
    path = PAGES[host][-1]
    assert ask(servers[host], "GET", f"{path}?x={'a' * 30_000}").status_code == 200
    answer = await raw_request(servers[host].url, "GET", f"{path}?x={'a' * 70_000}", headers=RIGHT)
    assert answer.status_code == 431
    assert "URL" in answer.json()["message"]


# --- WebSockets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    "left",
    ["", "Upgrade: websocket\r\n", "Connection: Upgrade\r\n", "Upgrade: websocket\r\nConnection: keep-alive\r\n"],
)
@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("gateway", "/api/kernels/{}/channels?session_id=x"),
        ("lab", "/api/kernels/{}/channels"),
        ("lab", "/terminals/websocket/1"),
        ("lab", "/api/events/subscribe"),
        ("lab", "/api/collaboration/room/json:notebook:x"),
    ],
)
async def test_a_websocket_of_which_a_proxy_left_a_plain_request_is_named(
    servers: dict[str, Gateway], kernels: dict[str, str], host: str, path: str, left: str, version: str
) -> None:
    head = f"GET {path.format(kernels[host])} HTTP/{version}\r\nHost: localhost\r\nAuthorization: token {TOKEN}\r\n"
    close = "" if "Connection" in left else CLOSE
    answer = await exchange(servers[host], (head + left + close + "\r\n").encode(), until=b"}")
    assert answer.split()[1] == b"400"
    assert b"`Upgrade: websocket`" in answer


@pytest.fixture(scope="module")
def kernels(servers: dict[str, Gateway]) -> dict[str, str]:
    """The id of a kernel of the gateway and of the lab."""
    made = {host: ask(servers[host], "POST", "/api/kernels", json={"name": "tiny_plain"}) for host in HOSTS[:2]}
    return {host: answer.json()["id"] for host, answer in made.items()}


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("gateway", "/api/kernels/{}/channels"),
        ("lab", "/api/kernels/{}/channels"),
        ("lab", "/api/events/subscribe"),
    ],
)
async def test_the_token_may_come_as_a_subprotocol(
    servers: dict[str, Gateway], kernels: dict[str, str], host: str, path: str
) -> None:
    name = "v1.token.websocket.jupyter.org"
    url = servers[host].url.replace("http", "ws", 1) + path.format(kernels[host])
    async with connect(url, subprotocols=[name, f"{name}.{TOKEN}"], proxy=None) as websocket:  # type: ignore[list-item]
        assert websocket.subprotocol == name
    assert await websocket_status(servers[host].url, path.format(kernels[host]), {}) == 401


# --- pages of other origins --------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["gateway", "lab"])
def test_colab_may_use_a_server_that_allows_it(servers: dict[str, Gateway], host: str) -> None:
    preflight = {
        "Origin": COLAB,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = httpx.options(f"{servers[host].url}/api/kernels", headers=preflight, trust_env=False, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == COLAB
    assert answer.headers["access-control-allow-private-network"] == "true"
    for method, status in (("GET", 200), ("PUT", 405)):
        answer = ask(servers[host], method, "/api/kernelspecs", headers={"Origin": COLAB})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, COLAB)
        assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("host", ["gateway", "lab"])
def test_no_other_page_is_told_that_it_may(servers: dict[str, Gateway], host: str) -> None:
    for origin in ("https://colab.research.google.com.evil.example:1/x", "https://evil.example", "null"):
        for method in ("GET", "OPTIONS"):
            asked = {"Origin": origin, "Access-Control-Request-Private-Network": "true"}
            answer = ask(servers[host], method, "/api/kernelspecs", headers=asked)
            if host == "gateway" and origin.startswith(COLAB):
                continue  # its pattern ends with .*
            assert "access-control-allow-origin" not in answer.headers
            assert "access-control-allow-private-network" not in answer.headers


# --- helpers -----------------------------------------------------------------------------------------


async def opened(server: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(server.url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def exchange(server: Gateway, data: bytes, until: bytes = b"") -> bytes:
    """What comes back for these bytes, until the server closes the connection or has sent that."""
    reader, writer = await opened(server)
    try:
        writer.write(data)
        async with asyncio.timeout(60):
            return await (reader.readuntil(until) if until else reader.read())
    finally:
        writer.close()
