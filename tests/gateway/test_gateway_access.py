"""Who may come in at the gateway, and by which door: tokens, origins, base URL, ports, TLS, proxies, pings."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from fps_kernels.gateway.app import KernelGatewayApp
from fps_kernels.gateway.config.read_settings import read
from fps_kernels.serving.trusted_proxy import TrustedProxy

from ..support.gateways import Begin, Gateway, make_certificate, option, warnings
from ..support.ports import free_port
from ..support.raw_http import raw_request

UNKNOWN_ID = "12345678-1234-5678-1234-567812345678"
TOKEN = "a-token"
UNAUTHORIZED = {"reason": "Unauthorized", "message": ""}
POLICY = "frame-ancestors 'self'; report-uri {}api/security/csp-report; default-src 'none'"

ROUTES = [
    ("GET", "/api"),
    ("GET", "/api/status"),
    ("POST", "/api/security/csp-report"),
    ("GET", "/api/resolvePath"),
    ("GET", "/api/kernelspecs"),
    ("GET", "/api/kernelspecs/tiny_plain"),
    ("GET", "/kernelspecs/tiny_plain/kernel.json"),
    ("HEAD", "/kernelspecs/tiny_plain/kernel.json"),
    ("GET", "/api/kernels"),
    ("POST", "/api/kernels"),
    ("PUT", "/api/kernels"),
    ("GET", f"/api/kernels/{UNKNOWN_ID}"),
    ("DELETE", f"/api/kernels/{UNKNOWN_ID}"),
    ("POST", f"/api/kernels/{UNKNOWN_ID}/interrupt"),
    ("POST", f"/api/kernels/{UNKNOWN_ID}/restart"),
    ("POST", f"/api/kernels/{UNKNOWN_ID}/execute"),
    ("GET", f"/api/kernels/{UNKNOWN_ID}/requests/a"),
    ("POST", f"/api/kernels/{UNKNOWN_ID}/requests/a/input"),
    ("PUT", f"/api/kernels/{UNKNOWN_ID}/stdin/a"),
    ("DELETE", f"/api/kernels/{UNKNOWN_ID}/stdin/a"),
    ("GET", "/api/sessions"),
    ("POST", "/api/sessions"),
    ("GET", "/api/sessions/a"),
    ("PATCH", "/api/sessions/a"),
    ("DELETE", "/api/sessions/a"),
    ("GET", "/openapi.json"),
]


def ask(url: str, method: str = "GET", headers: Any = None, **options: Any) -> httpx.Response:
    return httpx.request(method, url, headers=headers, timeout=30, trust_env=False, **options)


async def channels_status(url: str, kernel_id: str = UNKNOWN_ID, query: str = "", **headers: str) -> int:
    """The HTTP status that answers the request for a WebSocket; 101 when it was opened."""
    url = f"ws{url[4:]}/api/kernels/{kernel_id}/channels{query}"
    try:
        async with websockets.connect(url, additional_headers=headers, proxy=None):
            return 101
    except websockets.InvalidStatus as exc:
        return exc.response.status_code


def start_kernel(url: str, **headers: str) -> str:
    response = ask(f"{url}/api/kernels", "POST", headers, json={"name": "tiny_plain"})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def refusal(gateway: Gateway) -> str:
    """The one line with which a command ends that cannot start."""
    assert gateway.wait_end() == 1
    [line] = gateway.log.splitlines()
    assert line.startswith("fps-kernels: ")
    return line


# --- token ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def closed(begin_shared: Begin) -> Gateway:
    """A gateway with a token."""
    return begin_shared(option("auth_token", TOKEN), "--JupyterWebsocketPersonality.list_kernels=True")


@pytest.fixture(scope="module")
def opened(begin_shared: Begin) -> Gateway:
    """A gateway without a token, nor any other option."""
    return begin_shared()


@pytest.mark.parametrize("given", [{}, {"Authorization": "token wrong"}, {"Authorization": TOKEN}])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_without_the_token(closed: Gateway, method: str, path: str, given: dict[str, str]) -> None:
    response = ask(closed.url + path, method, given)
    assert response.status_code == 401
    assert method == "HEAD" or response.json() == UNAUTHORIZED
    assert response.headers["content-type"] == "application/json"


def test_a_request_that_was_refused_has_done_nothing(closed: Gateway) -> None:
    right = {"Authorization": f"token {TOKEN}"}
    kernel_id = start_kernel(closed.url, **right)
    assert ask(f"{closed.url}/api/kernels/{kernel_id}", "DELETE").status_code == 401
    assert ask(f"{closed.url}/api/kernels", "POST", json={"name": "tiny_plain"}).status_code == 401
    assert [kernel["id"] for kernel in ask(f"{closed.url}/api/kernels", headers=right).json()] == [kernel_id]
    assert ask(f"{closed.url}/api/kernels/{kernel_id}", "DELETE", right).status_code == 204


@pytest.mark.parametrize("query", ["", "?token=wrong", "?token="])
async def test_a_websocket_is_refused_without_the_token(closed: Gateway, query: str) -> None:
    assert await channels_status(closed.url, query=query) == 401


@pytest.mark.parametrize("query", ["", "?session_id=a&"])
async def test_a_websocket_is_opened_with_the_token(closed: Gateway, query: str) -> None:
    right = {"Authorization": f"token {TOKEN}"}
    kernel_id = start_kernel(closed.url, **right)
    if query:
        assert await channels_status(closed.url, kernel_id, f"{query}token={TOKEN}") == 101
    else:
        assert await channels_status(closed.url, kernel_id, **right) == 101
    assert ask(f"{closed.url}/api/kernels/{kernel_id}", "DELETE", right).status_code == 204


@pytest.mark.parametrize("scheme", ["token", "Token", "TOKEN", "Bearer", "bearer", "bEaReR"])
def test_the_token_is_taken_from_the_header(closed: Gateway, scheme: str) -> None:
    assert ask(f"{closed.url}/api", headers={"Authorization": f"{scheme} {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("value", [f"Basic {TOKEN}", "token", f"token {TOKEN}x", f"token {TOKEN[:-1]}", "x"])
def test_another_header_is_not_the_token(closed: Gateway, value: str) -> None:
    assert ask(f"{closed.url}/api", headers={"Authorization": value}).status_code == 401


@pytest.mark.parametrize(
    ("query", "header", "status"),
    [
        (TOKEN, None, 200),
        (TOKEN, "wrong", 200),
        ("wrong", TOKEN, 401),
        ("", TOKEN, 401),
        ("wrong", None, 401),
    ],
)
def test_the_token_of_the_url_beats_that_of_the_header(
    closed: Gateway, query: str, header: str | None, status: int
) -> None:
    headers = {"Authorization": f"token {header}"} if header else {}
    assert ask(f"{closed.url}/api?token={query}", headers=headers).status_code == status


def test_the_token_is_read_from_a_file(begin: Begin, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    for gateway in (begin(option("auth_token_file", path)), begin(env={"KG_AUTH_TOKEN_FILE": str(path)})):
        assert ask(f"{gateway.url}/api").status_code == 401
        assert ask(f"{gateway.url}/api", headers={"Authorization": f"token {TOKEN}"}).status_code == 200
        assert warnings(gateway.log.partition("Serving at")[0]) == []


@pytest.mark.parametrize("name", ["auth_token_file", "proxy_secret_file"])
def test_a_secret_that_cannot_be_read_ends_the_command(begin: Begin, name: str) -> None:
    options = [option(name, "/nowhere/secret"), option("proxy_user_header", "X-User")]
    line = refusal(begin(*options[: 2 if name == "proxy_secret_file" else 1], ready=False))
    assert line == f"fps-kernels: {name}=/nowhere/secret: No such file or directory"


async def test_a_websocket_may_show_the_token_as_a_subprotocol(closed: Gateway) -> None:
    right = {"Authorization": f"token {TOKEN}"}
    kernel_id = start_kernel(closed.url, **right)
    url = f"ws{closed.url[4:]}/api/kernels/{kernel_id}/channels"
    base = Subprotocol("v1.token.websocket.jupyter.org")
    shown = Subprotocol(f"{base}.{TOKEN}")
    v1 = Subprotocol("v1.kernel.websocket.jupyter.org")
    async with websockets.connect(url, subprotocols=[v1, base, shown], proxy=None) as socket:
        assert socket.subprotocol == v1
    async with websockets.connect(url, subprotocols=[base, shown], proxy=None) as socket:
        assert socket.subprotocol == base
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(url, subprotocols=[base, Subprotocol(f"{base}.wrong")], proxy=None)
    assert ask(f"{closed.url}/api/kernels/{kernel_id}", "DELETE", right).status_code == 204


def test_a_proxy_lets_in_the_users_that_it_has_authenticated(begin: Begin, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("between us alone")
    path.chmod(0o600)
    options = [option("proxy_user_header", "X-User"), option("proxy_secret_file", path), option("ip", "0.0.0.0")]
    gateway = begin(*options)
    proof = {"X-Fps-Kernels-Proxy-Secret": "between us alone"}
    url = f"http://127.0.0.1:{gateway.port}/api"
    assert ask(url, headers=proof | {"X-User": "ann"}).status_code == 200
    for wrong in ({"X-User": "ann"}, proof, {"X-User": "ann", "X-Fps-Kernels-Proxy-Secret": "guess"}):
        assert ask(url, headers=wrong).status_code == 401
    path.write_text("between us")
    assert "a proxy's secret of fewer than 16 characters can be guessed" in refusal(begin(*options, ready=False))


@pytest.mark.parametrize("path", ["/api/swagger.json", "/api/swagger.yaml", "/healthz", "/readyz"])
def test_what_is_for_everybody_needs_no_token(closed: Gateway, path: str) -> None:
    assert ask(closed.url + path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/nothing", f"/api/kernels/{UNKNOWN_ID}/a/b", "/tree"])
def test_an_unknown_path_is_not_found_without_a_token(closed: Gateway, path: str) -> None:
    response = ask(closed.url + path)
    assert (response.status_code, response.json()["reason"]) == (404, "Not Found")


async def test_a_websocket_to_an_unknown_path_is_not_found(closed: Gateway) -> None:
    assert await channels_status(f"{closed.url}/nothing") == 404


@pytest.mark.parametrize("path", ["/api", "/api/kernels", "/nothing"])
def test_a_preflight_needs_no_token(closed: Gateway, path: str) -> None:
    assert ask(closed.url + path, "OPTIONS").status_code == 200


@pytest.mark.parametrize("token", ["pässwörd", "口令", "a b+c%20d&e=f"])
@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
def test_a_token_may_have_any_characters(begin: Begin, token: str, charset: str) -> None:
    gateway = begin(env={"KG_AUTH_TOKEN": token})
    assert ask(f"{gateway.url}/api?token={quote(token)}").status_code == 200
    assert ask(f"{gateway.url}/api?token={quote(token + 'ü')}").status_code == 401
    assert ask(f"{gateway.url}/api", headers={"Authorization": b"token \xff\xfe"}).status_code == 401
    if charset == "utf-8" or token.isascii() or token == "pässwörd":
        header = f"token {token}".encode(charset)
        assert ask(f"{gateway.url}/api", headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize("value", ["token ", "token anything", "Bearer x", "nonsense"])
async def test_without_a_token_any_header_is_good(opened: Gateway, value: str) -> None:
    """`token ` with nothing behind is what GatewayClient sends; httpx would not."""
    assert (await raw_request(opened.url, "GET", "/api", headers={"Authorization": value})).status_code == 200


async def test_a_token_of_nothing_is_wrong(closed: Gateway) -> None:
    response = await raw_request(closed.url, "GET", "/api", headers={"Authorization": "token "})
    assert (response.status_code, response.json()) == (401, UNAUTHORIZED)


def test_an_open_server_on_this_machine_says_so_in_one_line(opened: Gateway) -> None:
    [warning] = warnings(opened.log.partition("Serving at")[0])
    assert "every user and program of this machine can run code as you" in warning


def test_a_server_that_every_page_may_use_says_so(begin: Begin) -> None:
    said = "Every web page that is open on this machine can run code here: allow_origin=* without a token"
    assert [line for line in warnings(begin(option("allow_origin", "*")).log) if said in line]
    assert warnings(begin(option("allow_origin", "*"), option("auth_token", TOKEN)).log) == []


@pytest.mark.parametrize("ip", ["0.0.0.0", "::", "", "192.0.2.7"])
def test_an_open_server_is_not_served_to_other_machines(begin: Begin, ip: str) -> None:
    line = refusal(begin(option("ip", ip), ready=False))
    assert line == (
        f"fps-kernels: ip={ip or '(all addresses)'}: everyone who can reach it could run code. Set auth_token_file, or "
        "allow it with allow_open_access"
    )


def test_a_short_token_is_not_enough_for_other_machines(begin: Begin) -> None:
    line = refusal(begin(option("ip", "0.0.0.0"), option("auth_token", "fifteen-letters"), ready=False))
    assert line.startswith("fps-kernels: ip=0.0.0.0: a token of fewer than 16 characters can be guessed")
    assert "allow_open_access" in line
    assert warnings(begin(option("ip", "0.0.0.0"), option("auth_token", "sixteen-letters!")).log) == []


def test_an_open_server_for_other_machines_is_allowed_by_name_and_warns(begin: Begin) -> None:
    [warning] = warnings(begin(option("ip", "0.0.0.0"), option("allow_open_access", "True")).log)
    assert "This server is open to everyone who can reach 0.0.0.0, and lets them run code" in warning


def test_a_refusal_is_logged_without_the_token(closed: Gateway) -> None:
    assert ask(f"{closed.url}/api/kernelspecs?token=secret-guess").status_code == 401
    closed.wait_log("401 for '/api/kernelspecs' from 127.0.0.1: no token, or a wrong one")
    assert "secret-guess" not in closed.log


# --- CORS -----------------------------------------------------------------------------------------

CORS = {
    "allow_origin": "https://example.com",
    "allow_methods": "GET, POST,DELETE",
    "allow_headers": "X-Some, Authorization",
    "allow_credentials": "true",
    "expose_headers": "Location",
    "max_age": "61",
}


def cors_header(name: str) -> str:
    return f"access-control-{name.replace('_', '-')}"


@pytest.fixture(scope="module")
def crossed(begin_shared: Begin) -> Gateway:
    """A gateway with a token and all six options."""
    return begin_shared(option("auth_token", TOKEN), *(option(name, value) for name, value in CORS.items()))


ANSWERS = [
    (200, "GET", "/api", f"token {TOKEN}"),
    (200, "GET", "/healthz", ""),
    (200, "GET", "/api/swagger.json", ""),
    (200, "OPTIONS", "/api/kernels", ""),
    (400, "POST", "/api/sessions", f"token {TOKEN}"),
    (401, "GET", "/api", ""),
    (404, "GET", "/nothing", ""),
    (404, "GET", f"/api/kernels/{UNKNOWN_ID}", f"token {TOKEN}"),
    (405, "PUT", "/api/kernels", f"token {TOKEN}"),
    (405, "PUT", "/healthz", f"token {TOKEN}"),
    (500, "POST", "/api/kernels", f"token {TOKEN}"),
]


@pytest.mark.parametrize(("status", "method", "path", "authorization"), ANSWERS)
def test_every_answer_has_the_cors_headers_as_they_were_given(
    crossed: Gateway, status: int, method: str, path: str, authorization: str
) -> None:
    body = {"name": "tiny_exits"} if status == 500 else {} if method == "POST" else None
    response = ask(crossed.url + path, method, {"Authorization": authorization}, json=body)
    assert response.status_code == status
    assert {name: response.headers[cors_header(name)] for name in CORS} == CORS
    assert "content-security-policy" not in response.headers


FILES = {
    "logo-svg.svg": "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "kernel.js": "alert(1)",
    "page.html": "<script>alert(1)</script>",
    "page.xhtml": "<html xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></html>",
    "data.xml": "<a/>",
    "notes.txt": "<script>alert(1)</script>",
    "unknown": "<script>alert(1)</script>",
}
"""Files of a kernelspec, by whomever it was made; a browser shows most of them."""


def test_what_a_browser_may_show_keeps_its_policy_with_cors_headers(crossed: Gateway) -> None:
    folder = crossed.base / "share" / "kernels" / "tiny_plain"
    for name, text in FILES.items():
        (folder / name).write_text(text)
    for path in (*(f"/kernelspecs/tiny_plain/{name}" for name in FILES), "/docs"):
        for method in ("GET", "HEAD"):
            response = ask(crossed.url + path, method, {"Authorization": f"token {TOKEN}"})
            assert (response.status_code, response.headers[cors_header("allow_origin")]) == (200, CORS["allow_origin"])
            assert "frame-ancestors" in response.headers["content-security-policy"], path
            if path.startswith("/kernelspecs/"):
                assert "default-src 'none'" in response.headers["content-security-policy"], path


@pytest.mark.parametrize(("status", "method", "path", "authorization"), ANSWERS)
def test_without_the_options_no_answer_has_a_cors_header(
    closed: Gateway, status: int, method: str, path: str, authorization: str
) -> None:
    body = {"name": "tiny_exits"} if status == 500 else {} if method == "POST" else None
    response = ask(closed.url + path, method, {"Authorization": authorization}, json=body)
    assert response.status_code == status
    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert response.headers["content-security-policy"] == POLICY.format("/")
    assert response.headers["x-content-type-options"] == "nosniff"


def test_one_option_sets_one_header(begin: Begin) -> None:
    response = ask(f"{begin(env={'KG_MAX_AGE': '5'}).url}/api")
    assert [name for name in response.headers if name.startswith("access-control-")] == ["access-control-max-age"]
    assert "content-security-policy" not in response.headers


def test_a_value_that_no_header_can_have_ends_the_command(begin: Begin) -> None:
    assert "allow_origin='a\\nb'" in refusal(begin(option("allow_origin", "a\nb"), ready=False))


# --- origins --------------------------------------------------------------------------------------

FOREIGN = ["http://fake.com:8888", "https://fake.com", "fake.com:8888", "null", "http://[", "http://", "x", ""]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_origin_is_refused(opened: Gateway, origin: str) -> None:
    assert ask(f"{opened.url}/api/kernelspecs", headers={"Origin": origin}).status_code == 404
    assert await channels_status(opened.url, Origin=origin) == 403


async def test_the_own_origin_without_its_scheme_is_none(opened: Gateway) -> None:
    origin = opened.url.removeprefix("http://")
    assert ask(f"{opened.url}/api", headers={"Origin": origin}).status_code == 404
    assert await channels_status(opened.url, Origin=origin) == 403


async def test_the_own_origin_is_allowed(opened: Gateway) -> None:
    assert ask(f"{opened.url}/api", headers={"Origin": opened.url}).status_code == 200
    assert await channels_status(opened.url, start_kernel(opened.url), Origin=opened.url) == 101


async def test_the_own_origin_is_allowed_beside_one_that_is_given(crossed: Gateway) -> None:
    right = {"Authorization": f"token {TOKEN}"}
    kernel_id = start_kernel(crossed.url, **right)
    assert ask(f"{crossed.url}/api", headers={"Origin": crossed.url, **right}).status_code == 200
    assert await channels_status(crossed.url, kernel_id, Origin=crossed.url, **right) == 101


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://example.com", True),
        ("https://Example.com", True),
        ("http://example.com", False),
        ("https://example.com.fake.com", False),
        ("example.com", False),
    ],
)
async def test_an_origin_that_is_given_is_allowed(crossed: Gateway, origin: str, allowed: bool) -> None:
    right = {"Authorization": f"token {TOKEN}"}
    kernel_id = start_kernel(crossed.url, **right)
    assert ask(f"{crossed.url}/api", headers={"Origin": origin, **right}).status_code == (200 if allowed else 404)
    assert await channels_status(crossed.url, kernel_id, Origin=origin, **right) == (101 if allowed else 403)


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_star_allows_every_origin(any_origin: Gateway, origin: str) -> None:
    kernel_id = start_kernel(any_origin.url)
    assert ask(f"{any_origin.url}/api", headers={"Origin": origin}).status_code == 200
    assert await channels_status(any_origin.url, kernel_id, Origin=origin) == 101


@pytest.fixture(scope="module")
def any_origin(begin_shared: Begin) -> Gateway:
    return begin_shared(option("allow_origin", "*"))


# --- base URL -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["foo/bar", "/foo/bar", "/foo/bar/", "//foo//bar//"])
def below(request: pytest.FixtureRequest, begin_shared: Begin) -> Gateway:
    """A gateway with a token, below /foo/bar."""
    return begin_shared(option("base_url", request.param), option("auth_token", TOKEN))


def outside(gateway: Gateway) -> str:
    return gateway.url.removesuffix("/foo/bar")


async def test_everything_is_below_the_base_url(below: Gateway) -> None:
    right = {"Authorization": f"token {TOKEN}"}
    assert below.url.endswith("/foo/bar")
    for path in ("/api", "/healthz", "/api/swagger.json", "/api/kernelspecs", "/openapi.json"):
        assert ask(below.url + path, headers=right).status_code == 200
    created = ask(f"{below.url}/api/kernels", "POST", right, json={"name": "tiny_plain"})
    location = created.headers["location"]
    assert location == f"/foo/bar/api/kernels/{created.json()['id']}"
    assert created.headers["content-security-policy"] == POLICY.format("/foo/bar/")
    assert await channels_status(below.url, created.json()["id"], **right) == 101
    assert ask(outside(below) + location, "DELETE", right).status_code == 204


def test_a_redirect_keeps_the_base_url(below: Gateway) -> None:
    response = ask(f"{below.url}/api/kernelspecs/", headers={"Authorization": f"token {TOKEN}"})
    assert (response.status_code, response.headers["location"]) == (307, "/foo/bar/api/kernelspecs")


async def test_the_token_is_needed_below_the_base_url_only(below: Gateway) -> None:
    assert ask(f"{below.url}/api").status_code == 401
    assert await channels_status(below.url) == 401
    for path in ("/", "/api", "/healthz", "/foo", "/foo/barn", "/foo/api", "/foo/bar", "/foo/bar/"):
        response = ask(outside(below) + path)
        assert (response.status_code, response.json()["reason"]) == (404, "Not Found")
    assert await channels_status(outside(below)) == 404


@pytest.mark.parametrize("given", ["a b/ü", "a%20b/%C3%BC"])
def test_a_base_url_may_have_any_characters(begin: Begin, given: str) -> None:
    gateway = begin(option("base_url", given))
    assert gateway.url.endswith("/a%20b/%C3%BC")
    created = ask(f"{gateway.url}/api/kernels", "POST", json={"name": "tiny_plain"})
    assert created.headers["location"] == f"/a%20b/%C3%BC/api/kernels/{created.json()['id']}"
    redirect = ask(f"{gateway.url}/api/kernelspecs/")
    assert redirect.status_code == 307
    assert redirect.headers["location"] == "/a%20b/%C3%BC/api/kernelspecs"


# --- ports ----------------------------------------------------------------------------------------


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        yield listener.getsockname()[1]


def test_the_port_after_one_that_is_taken_is_used(begin: Begin, taken_port: int) -> None:
    gateway = begin(option("port", taken_port))
    assert taken_port < (httpx.URL(gateway.url).port or 0) <= taken_port + 50
    assert f"Port {taken_port} is unavailable (Address already in use); trying the next one" in gateway.log
    assert ask(f"{gateway.url}/api").status_code == 200


def test_without_retries_a_port_that_is_taken_ends_the_command(begin: Begin, taken_port: int) -> None:
    gateway = begin(option("port", taken_port), option("port_retries", 0), ready=False)
    assert f"port={taken_port}: Address already in use" in refusal(gateway)


def test_an_address_of_another_machine_ends_the_command_at_once(begin: Begin) -> None:
    assert "ip=192.0.2.1 port=" in refusal(
        begin(option("ip", "192.0.2.1"), option("auth_token", "sixteen-letters!"), ready=False)
    )


# --- TLS ------------------------------------------------------------------------------------------


def tls_options(certificate: tuple[str, str]) -> list[str]:
    return [option("certfile", certificate[0]), option("keyfile", certificate[1])]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_safe_versions_of_tls_are_served(
    certificate: tuple[str, str],
    secured: Gateway,
    version: ssl.TLSVersion,
) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    context.minimum_version = context.maximum_version = version
    assert secured.url.startswith("https://")
    created = ask(f"{secured.url}/api/kernels", "POST", json={"name": "tiny_plain"}, verify=context)
    url = f"wss{secured.url[5:]}/api/kernels/{created.json()['id']}/channels"
    async with websockets.connect(url, ssl=context, proxy=None) as connection:
        assert connection.transport.get_extra_info("ssl_object").version() == version.name.replace("_", ".")


@pytest.fixture(scope="module")
def secured(begin_shared: Begin, certificate: tuple[str, str]) -> Gateway:
    return begin_shared(*tls_options(certificate))


def test_a_server_with_a_certificate_serves_nothing_in_the_clear(secured: Gateway) -> None:
    with pytest.raises(httpx.TransportError):
        ask(f"http{secured.url[5:]}/healthz")


def test_a_client_needs_a_certificate_when_there_is_a_client_ca(
    begin: Begin,
    certificate: tuple[str, str],
    tmp_path: Path,
) -> None:
    known, stranger = (make_certificate(tmp_path, name) for name in ("known", "stranger"))
    gateway = begin(*tls_options(certificate), option("client_ca", known[0]))
    context = ssl.create_default_context(cafile=certificate[0])
    with pytest.raises(httpx.TransportError):
        ask(f"{gateway.url}/healthz", verify=context)
    context.load_cert_chain(*stranger)
    with pytest.raises(httpx.TransportError):
        ask(f"{gateway.url}/healthz", verify=context)
    context.load_cert_chain(*known)
    assert ask(f"{gateway.url}/healthz", verify=context).status_code == 200


@pytest.mark.parametrize("name", ["keyfile", "client_ca"])
def test_a_part_of_tls_without_a_certificate_ends_the_command(
    begin: Begin,
    certificate: tuple[str, str],
    name: str,
) -> None:
    line = refusal(begin(option(name, certificate[0]), ready=False))
    assert f"{name}={certificate[0]}" in line
    assert "certfile" in line


@pytest.mark.parametrize("name", ["certfile", "keyfile", "client_ca"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nnonsense\n", b"\xff\0"])
def test_a_broken_file_of_tls_ends_the_command(
    begin: Begin,
    certificate: tuple[str, str],
    tmp_path: Path,
    name: str,
    content: bytes | None,
) -> None:
    file = tmp_path / "broken.pem"
    if content is not None:
        file.write_bytes(content)
    files = {"certfile": certificate[0], "keyfile": certificate[1], name: str(file)}
    line = refusal(begin(*(option(*pair) for pair in files.items()), ready=False))
    assert f"{name}={file}" in line


@pytest.mark.parametrize("together", [False, True])
def test_a_key_that_is_encrypted_ends_the_command(
    begin: Begin,
    certificate: tuple[str, str],
    tmp_path: Path,
    together: bool,
) -> None:
    """together: the key is in the file of the certificate. Nobody could type its pass phrase."""
    file = tmp_path / "encrypted.pem"
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:secret", "-in", certificate[1], "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    options = [option("certfile", certificate[0]), option("keyfile", file)]
    if together:
        file.write_text(Path(certificate[0]).read_text() + file.read_text())
        options = [option("certfile", file)]
    line = refusal(begin(*options, ready=False))
    assert f"{'certfile' if together else 'keyfile'}={file}: its key is encrypted" in line


@pytest.mark.parametrize("version", [1, 16, 99])
def test_a_protocol_that_cannot_be_served_ends_the_command(
    begin: Begin,
    certificate: tuple[str, str],
    version: int,
) -> None:
    line = refusal(begin(*tls_options(certificate), option("ssl_version", version), ready=False))
    assert f"ssl_version={version}" in line


# --- proxies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["X-Forwarded-Proto", "X-Scheme"])
def test_the_scheme_of_a_proxy_is_believed_only_when_told_to(opened: Gateway, proxied: Gateway, header: str) -> None:
    for gateway, status in ((opened, 200), (proxied, 404)):
        # An origin without TLS is not that of a server that is reached with it.
        headers = {"Origin": gateway.url, "Authorization": f"token {TOKEN}"}
        assert ask(f"{gateway.url}/api/kernelspecs", headers=headers | {header: "https"}).status_code == status
        assert ask(f"{gateway.url}/api/kernelspecs", headers=headers).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP"])
def test_the_client_of_a_proxy_is_believed_only_when_told_to(closed: Gateway, proxied: Gateway, header: str) -> None:
    for gateway, address in ((closed, "127.0.0.1"), (proxied, "198.51.100.7")):
        path = f"/api/kernels/{header}"
        assert ask(gateway.url + path, headers={header: "198.51.100.7"}).status_code == 401
        gateway.wait_log(f"401 for '{path}' from {address}")


@pytest.fixture(scope="module")
def proxied(begin_shared: Begin) -> Gateway:
    return begin_shared(option("trust_xheaders", "True"), option("auth_token", TOKEN))


async def seen_by_the_application(kind: str, **headers: str) -> tuple[str, str]:
    seen: dict[str, Any] = {}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)

    scope = {
        "type": kind,
        "scheme": "ws" if kind == "websocket" else "http",
        "client": ("10.0.0.1", 1),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    await TrustedProxy(application)(scope, None, None)  # type: ignore[arg-type]  # it does not speak
    return seen["client"][0], seen["scheme"]


@pytest.mark.parametrize(
    ("headers", "address", "scheme"),
    [
        ({}, "10.0.0.1", "http"),
        ({"x_forwarded_for": "192.0.2.1, 192.0.2.2"}, "192.0.2.2", "http"),
        ({"x_forwarded_for": "192.0.2.1", "x_real_ip": "192.0.2.3"}, "192.0.2.3", "http"),
        ({"x_forwarded_for": "2001:db8::1"}, "2001:db8::1", "http"),
        ({"x_forwarded_for": "nobody"}, "10.0.0.1", "http"),
        ({"x_forwarded_proto": "http, HTTPS"}, "10.0.0.1", "https"),
        ({"x_scheme": "https", "x_forwarded_proto": "http"}, "10.0.0.1", "https"),
        ({"x_scheme": "ftp"}, "10.0.0.1", "http"),
    ],
)
async def test_the_last_word_of_a_proxy_counts(headers: dict[str, str], address: str, scheme: str) -> None:
    assert await seen_by_the_application("http", **headers) == (address, scheme)


@pytest.mark.parametrize("value", ["https", "wss"])
async def test_a_websocket_behind_a_tls_proxy_is_wss(value: str) -> None:
    assert await seen_by_the_application("websocket", x_forwarded_proto=value) == ("10.0.0.1", "wss")


# --- pings ----------------------------------------------------------------------------------------


class PingCounter(ClientConnection):
    """Counts the pings of the server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pings = 0
        self.came = asyncio.Event()

    def process_event(self, event: Any) -> None:
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pings += 1
            self.came.set()


def count_pings(gateway: Gateway) -> Any:
    url = f"ws{gateway.url[4:]}/api/kernels/{start_kernel(gateway.url)}/channels"
    return websockets.connect(url, create_connection=PingCounter, ping_interval=None, proxy=None)


async def test_websockets_are_pinged_unless_that_is_off(begin: Begin) -> None:
    """One that is not pinged stands beside one that is: nothing else tells how long to wait for nothing."""
    often, never = begin(option("ws_ping_interval", 1)), begin(env={"KG_WS_PING_INTERVAL_SECS": "0"})
    async with count_pings(never) as silent, count_pings(often) as pinged, asyncio.timeout(60):
        while pinged.pings < 2:
            await pinged.came.wait()
            pinged.came.clear()
        assert silent.pings == 0


def test_websockets_are_pinged_every_30_seconds() -> None:
    assert read(KernelGatewayApp()).listening.ping_interval_s == 30


def test_a_negative_interval_ends_the_command(begin: Begin) -> None:
    assert "ws_ping_interval=-1" in refusal(begin(option("ws_ping_interval", -1), ready=False))
