"""Every door of the three applications: what answers a request that should not come in, by name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from asphalt.core import Context
from starlette.types import ASGIApp, Receive, Scope, Send

from fps_kernels.api.routes import KernelRoutes
from fps_kernels.gateway.app import KernelGatewayApp
from fps_kernels.gateway.config.read_settings import read
from fps_kernels.gateway.context import GatewayContext
from fps_kernels.gateway.gateway_host import GatewayHost
from fps_kernels.gateway.gateway_policy import GatewayPolicy
from fps_kernels.gateway.gateway_server import Gateway
from fps_kernels.gateway.personality_loader import load_personality
from fps_kernels.gateway.seed import read_seed
from fps_kernels.hosts.asphalt.lab.command import prepare
from fps_kernels.hosts.asphalt.lab.lab_component import LabComponent
from fps_kernels.hosts.asphalt.lab.lab_options import read_options
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernels.registry import KernelRegistry
from fps_kernels.serving.access.access_layer import GRANTED_KEY

from ..support.doors import METHODS, REFUSED, Answer, listener, open_doors, paths, routes_within, served
from ..support.kernelspecs import install_kernelspecs
from ..support.notebooks import write_notebook

TOKEN = "a-token-of-the-tests"
RIGHT = {"Authorization": f"token {TOKEN}"}
FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
STRANGE_HOSTS = ["evil.example", "evil.example:8888", "192.0.2.7", "localhost.evil.example"]
Layer = Callable[[ASGIApp], ASGIApp]
Doors = tuple[str, list[tuple[str, str]]]


@contextlib.asynccontextmanager
async def lab(*options: str, layered: bool = True) -> AsyncIterator[Doors]:
    """JupyterLab's server; yields its URL and all that its routes can answer."""
    sock = listener()
    components, access = prepare(read_options(["--set", "kernels.prewarm=0", *options]))
    layer = access.layer(sock.getsockname()[1])
    behind: list[ASGIApp] = []

    def look_behind(app: ASGIApp) -> ASGIApp:
        behind.append(app)
        return layer(app) if layered else app

    component = LabComponent(components, [sock], None, look_behind)
    async with Context() as ctx:
        await component.start(ctx)
        url = component.url.rstrip("/")
        [app] = behind
        yield url, [*paths(routes_within(app)), *((method, "/nothing") for method in METHODS)]


@contextlib.asynccontextmanager
async def gateway(
    options: dict[str, Any], seed_uri: str | None = None, *, layered: bool = True
) -> AsyncIterator[Doors]:
    """The gateway, or with a seed notebook-http; yields the same."""
    app = KernelGatewayApp(**options)
    app.seed_uri = seed_uri
    if seed_uri is not None:
        app.api = "notebook-http"
    app.initialize([])
    settings = read(app)
    personality = load_personality(settings.api, app)
    seed = read_seed(seed_uri) if seed_uri is not None else None
    policy = GatewayPolicy(settings, seed, personality.should_seed_cell)
    registry = KernelRegistry(settings.kernels, Kernelspecs(), policy)
    context = GatewayContext(settings, seed, KernelRoutes(registry, GatewayHost(settings.base_url)))
    personality.set_context(context)
    sock = listener()
    server = Gateway(context, [sock], personality)
    await personality.init_configurables()
    application = await server.make_app()
    try:
        async with served(server.guard(application) if layered else let_in(application), sock) as url:
            yield url, list(paths(application.routes))
    finally:
        await personality.shutdown()
        await registry.stop()


def let_in(app: ASGIApp) -> ASGIApp:
    """What a layer would be that lets everybody in."""

    async def everybody(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, GRANTED_KEY: True}, receive, send)

    return everybody


def is_nowhere(path: str, answer: Answer) -> bool:
    """Whether a request is refused, or no route has its path: not whether a route has nothing of the name `x`."""
    return answer.status in REFUSED or (answer.status == 404 and answer.says("Not Found", f"Not found: {path}"))


def is_foreign(path: str, answer: Answer) -> bool:
    """Whether a request of a foreign page is refused by the gateway's layer, whose 404 says no path."""
    return answer.status == 403 or (answer.status == 404 and answer.says("Not found"))


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Folders of the test's own."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    install_kernelspecs(tmp_path / "share")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def notebook(tmp_path: Path) -> str:
    write_notebook(tmp_path / "api.ipynb", "# GET /hello\nprint('hello')", "# POST /x/:y\nprint('posted')")
    return str(tmp_path / "api.ipynb")


pytestmark = pytest.mark.usefixtures("quiet")

OF_THE_LOGIN = {"GET /login 200", "HEAD /login 200", "GET /logout 200"}
"""What JupyterLab's server answers to everyone. POST /login wants a form that it has made itself."""
OF_THE_LAB = {"GET /api 200", "HEAD /api 200"}
"""What tells everyone who shows nothing the version, as Jupyter Server does."""
SOME_OF_THE_LAB = {
    ("GET", "/lab"),
    ("GET", "/doc"),
    ("POST", "/api/kernels"),
    ("POST", "/api/shutdown"),
    ("POST", "/api/terminals"),
    ("GET", "/api/me"),
    ("GET", "/files/x"),
    ("PUT", "/api/config/x"),
    ("PUT", "/api/contents/x"),
    ("POST", "/nbconvert/x"),
    ("POST", "/lab/api/extensions"),
    ("GET", "/lab/api/plugins"),
    ("DELETE", "/lab/api/workspaces/x"),
    ("GET", "/static/favicons/x"),
    ("GET", "/lsp/status"),
    ("WS", "/api/events/subscribe"),
    ("WS", "/api/kernels/x/channels"),
    ("WS", "/api/collaboration/room/x"),
    ("WS", "/terminals/websocket/x"),
}
"""Doors of plugins, of what stands in their place, and of the lab's own, in each of its routers."""
OF_HEALTH = {
    "GET /healthz 200",
    "HEAD /healthz 200",
    "GET /readyz 503",  # nothing has made it ready here
    "HEAD /readyz 503",
}
OF_THE_GATEWAY = OF_HEALTH | {
    "GET /api/swagger.json 200",
    "HEAD /api/swagger.json 200",
    "GET /api/swagger.yaml 200",
    "HEAD /api/swagger.yaml 200",
}
"""What the gateway answers to everyone."""
UNGUARDED_LAB = {
    ("GET", "/lab"): 200,
    ("GET", "/doc"): 200,
    ("GET", "/api/me"): 200,
    ("GET", "/api/contents"): 200,
    ("GET", "/api/terminals"): 200,
    ("GET", "/api/terminals/x"): 404,
    ("GET", "/files/x"): 404,
    ("GET", "/lab/api/plugins"): 200,
    ("WS", "/api/events/subscribe"): 101,
}
"""What the lab would answer to everyone without the layer, by its plugins and in their place."""
UNGUARDED_GATEWAY = {
    "GET /_api/activity 200",
    "GET /api 200",
    "GET /api/kernels/x 404",
    "GET /api/kernels/x/requests/x 404",
    "GET /api/kernelspecs 200",
    "GET /api/kernelspecs/x 404",
    "GET /api/sessions/x 404",
    "GET /api/status 200",
    "GET /docs 200",
    "GET /kernelspecs/x/x 404",
    "GET /openapi.json 200",
    "WS /api/kernels/x/channels 404",
}
"""The same for the gateway, whose 404 says here that there is nothing of the name `x`."""


async def test_lab_lets_in_nothing_without_credentials() -> None:
    async with lab("--token", TOKEN) as (url, doors):
        assert len(set(doors)) > 200
        assert set(doors) >= SOME_OF_THE_LAB
        login = [(method, path) for method in METHODS for path in ("/login", "/logout")]
        assert await open_doors(url, doors) == OF_THE_LAB
        opened = await open_doors(url, login)
        assert opened - OF_THE_LOGIN == {f"{kind} /login 405" for kind in ("PUT", "PATCH", "DELETE")} | {
            f"{kind} /logout 405" for kind in ("HEAD", "PUT", "PATCH", "DELETE")
        } | {"POST /logout 200"}
        for wrong in ({"Authorization": "token wrong"}, {"Cookie": "fps-kernels=1"}, {"X-Forwarded-User": "root"}):
            assert await open_doors(url, doors[:6], **wrong) <= (set() if "Authorization" in wrong else OF_THE_LAB)


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda one: "-".join(one.values()))
async def test_lab_lets_in_no_page_of_another_origin(foreign: dict[str, str]) -> None:
    async with lab("--token", TOKEN) as (url, doors):
        assert await open_doors(url, [*doors, ("GET", "/login"), ("POST", "/login")], **RIGHT, **foreign) == set()


async def test_lab_lets_in_no_page_of_another_origin_when_it_asks_for_no_token() -> None:
    async with lab("--no-token") as (url, doors):
        for foreign in FOREIGN:
            assert await open_doors(url, doors, **foreign) == set()


@pytest.mark.parametrize("host", STRANGE_HOSTS)
@pytest.mark.parametrize("options", [["--token", TOKEN], ["--no-token"]], ids=["token", "no-token"])
async def test_lab_is_called_by_its_own_name_only(host: str, options: list[str]) -> None:
    async with lab(*options) as (url, doors):
        origin = {"Origin": f"http://{host}"}
        assert await open_doors(url, [*doors, ("GET", "/login")], Host=host, **RIGHT, **origin) == set()


async def test_the_gateway_lets_in_nothing_without_the_token() -> None:
    async with gateway({"auth_token": TOKEN}) as (url, doors):
        assert len(doors) > 40
        # What no route has is 404, with and without the token.
        assert await open_doors(url, doors, is_nowhere) == OF_THE_GATEWAY


@pytest.mark.parametrize("options", [{"auth_token": TOKEN}, {}], ids=["token", "open"])
async def test_the_gateway_lets_in_no_page_of_another_origin(options: dict[str, str]) -> None:
    async with gateway(options) as (url, doors):
        for foreign in FOREIGN:
            assert await open_doors(url, doors, is_foreign, **RIGHT, **foreign) == set()


@pytest.mark.parametrize("host", STRANGE_HOSTS)
async def test_an_open_gateway_is_called_by_its_own_name_only(host: str) -> None:
    async with gateway({}) as (url, doors):
        assert await open_doors(url, doors, Host=host, Origin=f"http://{host}") == set()


async def test_notebook_http_lets_in_nothing_that_should_not(notebook: str) -> None:
    async with gateway({"auth_token": TOKEN}, notebook) as (url, doors):
        endpoints = [("GET", "/hello"), ("POST", "/x/x")]  # one route has them all
        assert await open_doors(url, endpoints, **RIGHT) == {"GET /hello 200", "POST /x/x 200"}
        doors += endpoints
        assert await open_doors(url, doors, is_nowhere) == OF_HEALTH
        for foreign in FOREIGN:
            assert await open_doors(url, doors, is_foreign, **RIGHT, **foreign) == set()
    async with gateway({}, notebook) as (url, doors):
        for host in STRANGE_HOSTS:
            assert await open_doors(url, [*doors, *endpoints], Host=host) == set()


async def test_the_walk_finds_open_doors_where_the_layer_is_missing(notebook: str) -> None:
    strangers: list[dict[str, str]] = [{}, *FOREIGN, {"Host": "evil.example"}]
    async with lab("--token", TOKEN, layered=False) as (url, _):
        for headers in strangers:
            opened = await open_doors(url, UNGUARDED_LAB, **headers)
            assert opened == {f"{kind} {path} {status}" for (kind, path), status in UNGUARDED_LAB.items()}
    async with gateway({"auth_token": TOKEN}, layered=False) as (url, doors):
        reads = [(kind, path) for kind, path in doors if kind in ("GET", "WS")]
        for headers in strangers:
            for is_refusal in (is_nowhere, is_foreign):
                opened = await open_doors(url, reads, is_refusal, **headers)
                assert UNGUARDED_GATEWAY - opened == set()
    async with gateway({"auth_token": TOKEN}, notebook, layered=False) as (url, _):
        for headers in strangers:
            for is_refusal in (is_nowhere, is_foreign):
                opened = await open_doors(url, [("GET", "/hello"), ("POST", "/x/x")], is_refusal, **headers)
                assert opened == {"GET /hello 200", "POST /x/x 200"}


async def test_a_name_and_an_origin_can_be_allowed() -> None:
    options = ["--token", TOKEN, "--local-hostname", "notebooks.lan", "--allow-origin", "https://Notebooks.lan/"]
    async with lab(*options) as (url, _):
        for host, origin, expected in (
            ("notebooks.lan", "https://notebooks.lan:443", "GET /api/kernels 200"),
            ("notebooks.lan:1", "http://notebooks.lan:1", "GET /api/kernels 200"),
            ("localhost", "https://notebooks.lan", "GET /api/kernels 200"),
        ):
            opened = await open_doors(url, [("GET", "/api/kernels")], Host=host, Origin=origin, **RIGHT)
            assert opened == {expected}
            doors = [("DELETE", "/api/kernels/x"), ("WS", "/api/kernels/x/channels")]
            opened = await open_doors(url, doors, Host=host, Origin=origin, **RIGHT)
            assert opened == {"DELETE /api/kernels/x 404", "WS /api/kernels/x/channels 404"}
        assert await open_doors(url, [("GET", "/api/kernels")], Origin="https://other.lan", **RIGHT) == set()


async def test_many_wrong_tokens_are_answered_late_or_not_at_all(caplog: pytest.LogCaptureFixture) -> None:
    async with lab("--token", TOKEN) as (url, _):

        async def guess(number: int) -> set[str]:
            return await open_doors(url, [("GET", "/api/kernels")], Authorization=f"token guess{number}")

        answers = await asyncio.gather(*(guess(number) for number in range(60)))
        refused_unseen = [answer for answer in answers if answer]
        assert refused_unseen
        assert {door for answer in refused_unseen for door in answer} == {"GET /api/kernels 429"}
        # Nobody else waits for that, and neither does who has the token, once the guesses have been answered.
        assert await open_doors(url, [("GET", "/api/kernels")], **RIGHT) == {"GET /api/kernels 200"}
    lines = [record for record in caplog.records if "access" in record.name]
    assert 0 < len(lines) < 15
    assert "guess" not in "".join(record.getMessage() for record in lines).replace("guesses", "")


async def headers_of(url: str, doors: list[tuple[str, str]]) -> dict[str, httpx.Headers]:
    """The headers of the answers to GET, by path, with the right token."""
    found = {}
    async with httpx.AsyncClient(base_url=url, headers=RIGHT, trust_env=False, timeout=30) as client:
        for path in sorted({path for kind, path in doors if kind == "GET"}):
            async with client.stream("GET", path) as response:  # one of them has no end
                found[path] = response.headers
    return found


async def test_every_answer_of_lab_has_the_headers_that_browsers_need() -> None:
    async with lab("--token", TOKEN) as (url, doors):
        answers = await headers_of(url, [*doors, ("GET", "/login"), ("GET", "/files/a.html")])
        assert {"/lab", "/api/kernels", "/static/lab/x", "/files/a.html"} <= set(answers)
        for path, headers in answers.items():
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["referrer-policy"] == ("no-referrer" if path == "/kernels" else "same-origin"), path
            assert "frame-ancestors" in headers["content-security-policy"], path


async def test_files_of_users_run_in_a_sandbox() -> None:
    async with lab("--token", TOKEN) as (url, _):
        paths = [("GET", "/files/a.html"), ("GET", "/nbconvert/html/a.ipynb")]
        for path, headers in (await headers_of(url, paths)).items():
            assert headers["content-security-policy"].startswith("sandbox"), path


async def test_every_answer_of_the_gateway_has_the_headers_that_browsers_need() -> None:
    async with gateway({"auth_token": TOKEN}) as (url, doors):
        answers = await headers_of(url, [*doors, ("GET", "/nothing")])
        for path, headers in answers.items():
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["referrer-policy"] == "no-referrer", path
            assert "frame-ancestors" in headers["content-security-policy"], path
        assert answers["/docs"]["cache-control"] == "no-store"
