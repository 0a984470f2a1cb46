"""What JupyterLab, JupyterHub and their users ask `fps-kernels lab` for, besides kernels."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from nbformat.sign import NotebookNotary
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ..support.client import Client
from ..support.gateways import Begin, Gateway, environment, gateways
from ..support.notebooks import write_notebook
from ..support.ports import free_port
from ..support.servers import NOT_NEEDED

LEAN = [*(word for name in NOT_NEEDED for word in ("--disable", name)), "--set", "kernels.prewarm=0"]
FULL = ["--set", "kernels.prewarm=0"]
TOKEN = "a-token-of-the-tests"
RIGHT = {"Authorization": f"token {TOKEN}"}
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
EVENT = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
Open = Callable[..., Gateway]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With all plugins."""
    folder = tmp_path_factory.mktemp("lab")
    environment(folder)
    write_notebook(folder / "nb.ipynb", "1 + 1")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "ä b.png").write_bytes(PICTURE)
    for name in (".secret", "page.html", "a.txt", "a.tar.gz", "unknown"):
        (folder / name).write_text("<script>1</script>")
    server = Gateway(folder, "lab", "--port", str(free_port()), "--token", TOKEN, *FULL)
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Servers of the test's own."""
    with gateways(tmp_path) as begin:
        yield begin


def ask(server: Gateway, method: str, path: str, **more: Any) -> httpx.Response:
    headers = RIGHT | more.pop("headers", {})
    return httpx.request(method, server.url + path, headers=headers, timeout=60, trust_env=False, **more)


# --- what JupyterLab asks for --------------------------------------------------------------------------

REQUESTS = """
GET /api/me
GET /api/config/notebook
GET /api/nbconvert
GET /api/status
GET /api/terminals
GET /api/contents/nb.ipynb?content=0
GET /api/contents/nb.ipynb/checkpoints
POST /api/contents/nb.ipynb/checkpoints
POST /api/contents/nb.ipynb/trust
GET /lab/api/settings
GET /lab/api/workspaces
GET /lab/api/workspaces/
GET /lab/api/workspaces/default
GET /lab/api/translations
GET /lab/api/listings/@jupyterlab/extensionmanager-extension/listings.json
GET /lsp/status
GET /files/nb.ipynb
GET /api/spec.yaml
GET /static/favicons/favicon.ico
GET /favicon.ico
"""


@pytest.mark.parametrize("request_line", REQUESTS.split("\n")[1:-1])
def test_what_jupyterlab_asks_for_is_there(lab: Gateway, request_line: str) -> None:
    method, path = request_line.split()
    assert ask(lab, method, path, follow_redirects=True).status_code in (200, 201)


def test_me_tells_what_the_user_may_do(lab: Gateway) -> None:
    wanted = {"kernels": ["execute", "read"], "contents": ["write"]}
    model = ask(lab, "GET", "/api/me", params={"permissions": json.dumps(wanted)}).json()
    assert model["permissions"] == {**wanted, "updatable_fields": []}
    assert {"username", "name", "display_name", "initials", "avatar_url", "color"} == set(model["identity"])
    for wrong in ("{", "[1]", '{"a": "b"}', '{"a": [1]}', "[" * 100_000):
        answer = ask(lab, "GET", "/api/me", params={"permissions": wrong[:20_000]})
        assert (answer.status_code, "permissions" in answer.json()["message"]) == (400, True)


def test_config_is_kept_where_jupyter_server_keeps_it(lab: Gateway) -> None:
    path = "/api/config/tests_of_sections"
    assert ask(lab, "GET", path).json() == {}
    assert ask(lab, "PUT", path, json={"a": {"b": 1, "c": 2}}).status_code == 204
    assert ask(lab, "PATCH", path, json={"a": {"b": None, "d": 3}}).json() == {"a": {"c": 2, "d": 3}}
    assert ask(lab, "GET", path).json() == {"a": {"c": 2, "d": 3}}
    kept = lab.base / "config" / "serverconfig" / "tests_of_sections.json"
    assert json.loads(kept.read_text()) == {"a": {"c": 2, "d": 3}}
    kept.write_text("{")
    assert ask(lab, "GET", path).status_code == 500
    for body in (b"[1]", b"{", b""):
        assert ask(lab, "PUT", path, content=body).status_code == 400
    for name in ("a.b", "..%2fa", "a%00", "x" * 200):
        assert ask(lab, "GET", f"/api/config/{name}").status_code == 404


# --- files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nb.ipynb", "application/x-ipynb+json"),
        ("pictures/%C3%A4%20b.png", "image/png"),
        ("page.html", "text/html"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.tar.gz", "application/gzip"),
        ("unknown", "application/octet-stream"),
    ],
)
def test_a_file_comes_as_it_is_in_a_sandbox(lab: Gateway, name: str, kind: str) -> None:
    answer = ask(lab, "GET", f"/files/{name}")
    assert answer.status_code == 200
    assert answer.content == (lab.base / name.replace("%C3%A4%20", "ä ")).read_bytes()
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert ("content-disposition" in answer.headers) == name.endswith(".ipynb")
    head = ask(lab, "HEAD", f"/files/{name}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == answer.headers["content-length"]


def test_a_download_has_the_name_of_its_file(lab: Gateway) -> None:
    answer = ask(lab, "GET", "/files/pictures/%C3%A4%20b.png?download=1")
    assert answer.content == PICTURE
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A4%20b.png"
    again = ask(lab, "GET", "/files/pictures/%C3%A4%20b.png", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    part = ask(lab, "GET", "/files/a.txt", headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"scr")


HIDDEN = [".secret", ".jupyter/a", "pictures/.secret"]
OUTSIDE = ["%2e%2e/passwd", "..%2f..%2fetc/passwd", "pictures/../../x", "/etc/hosts", "%2fetc%2fhosts"]


@pytest.mark.parametrize("name", [*HIDDEN, *OUTSIDE, "nothing", "pictures", "", "a%00", "x" * 5_000, "%ff"])
def test_no_other_file_is_served(lab: Gateway, name: str) -> None:
    answer = ask(lab, "GET", f"/files/{name}")
    assert (answer.status_code, b"root:" in answer.content) == (404, False)
    assert ask(lab, "POST", f"/api/contents/{name or 'x'}/trust").status_code == 404


def test_files_need_the_token(lab: Gateway) -> None:
    assert httpx.get(f"{lab.url}/files/a.txt", trust_env=False, timeout=30).status_code == 401


def test_a_trusted_notebook_is_signed(lab: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(lab, "POST", "/api/contents/nb.ipynb/trust").status_code == 201
    database = next(lab.base.rglob("nbsignatures.db"))
    notary = NotebookNotary(db_file=str(database), secret_file=str(database.with_name("notebook_secret")))
    notebook = nbformat.read(lab.base / "nb.ipynb", as_version=4)
    assert notary.check_signature(notebook)
    assert ask(lab, "POST", "/api/contents/a.txt/trust").status_code == 400


# --- events --------------------------------------------------------------------------------------------


def subscribe(lab: Gateway) -> ClientConnection:
    return connect(f"ws{lab.url[4:]}/api/events/subscribe", additional_headers=RIGHT, proxy=None)


def test_an_event_reaches_everyone_who_has_subscribed(lab: Gateway) -> None:
    data = {"action": "start", "kernel_id": "x", "kernel_name": "y", "msg": "z"}
    event = {"schema_id": EVENT, "version": "1", "data": data}
    with subscribe(lab) as first, subscribe(lab) as second:
        first.send("whatever")
        assert ask(lab, "POST", "/api/events", json=event).status_code == 204
        for websocket in (first, second):
            got = json.loads(websocket.recv(timeout=60))
            assert got["schema_id"] == got["__schema__"] == EVENT
            assert (got["__schema_version__"], got["action"], got["kernel_id"]) == ("1", "start", "x")
        dated = event | {"timestamp": "2022-05-26T13:50:00+05:00Z"}
        assert ask(lab, "POST", "/api/events", json=dated).status_code == 204
        assert json.loads(first.recv(timeout=60))["__timestamp__"] == "2022-05-26T13:50:00+05:00"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"schema_id": EVENT, "version": "1"},
        {"schema_id": EVENT, "version": "9", "data": {}},
        {"schema_id": EVENT, "version": "1", "data": {"action": 5}},
        {"schema_id": EVENT, "version": "1", "data": None},
        {"schema_id": "https://example.com/unknown", "version": "1", "data": {}},
        {"schema_id": ["a"], "version": "1", "data": {}},
        {"schema_id": EVENT, "version": "1", "data": {"action": "start", "msg": "z"}, "timestamp": "now"},
    ],
)
def test_what_is_no_event_is_refused(lab: Gateway, wrong: Any) -> None:
    answer = ask(lab, "POST", "/api/events", json=wrong)
    assert (answer.status_code, bool(answer.json()["message"])) == (400, True)


# --- the end of a server -------------------------------------------------------------------------------


def test_a_client_may_shut_the_lab_down(begin: Begin) -> None:
    server = begin("lab", "--port", str(free_port()), "--token", TOKEN, *LEAN)
    assert httpx.post(f"{server.url}/api/shutdown", trust_env=False, timeout=30).status_code == 401
    assert ask(server, "POST", "/api/shutdown", headers={"Origin": "http://evil.example"}).status_code == 403
    created = ask(server, "POST", "/api/kernels", json={"name": "tiny_plain"})
    assert created.status_code == 201
    channels = f"ws{server.url[4:]}/api/kernels/{created.json()['id']}/channels"
    with contextlib.suppress(ConnectionClosed), connect(channels, additional_headers=RIGHT, proxy=None) as websocket:
        assert ask(server, "POST", "/api/shutdown").status_code == 200
        while True:
            websocket.recv(timeout=60)
    assert server.wait_end(60) == 0
    assert server.kernel_processes() == []


def test_a_client_cannot_shut_a_gateway_down(begin: Begin) -> None:
    server = begin("--token", TOKEN)
    assert ask(server, "POST", "/api/shutdown").status_code == 404
    assert ask(server, "GET", "/api").status_code == 200


async def test_a_gateway_ends_when_nobody_uses_it_but_not_before_its_kernels(begin: Begin) -> None:
    options = ("--KernelGatewayApp.prespawn_count=1", "--JupyterWebsocketPersonality.list_kernels=True")
    env = {"KG_SHUTDOWN_NO_ACTIVITY_TIMEOUT": "0.5", "KG_DEFAULT_KERNEL_NAME": "tiny_plain"}
    server = begin(*options, env=env)
    async with Client(server.url) as client:
        [kernel] = await client.kernels()
        assert await client.evaluate(kernel["id"], "__import__('time').sleep(2) or 42") == "42"
        assert (await client.http.delete(f"/api/kernels/{kernel['id']}")).status_code == 204
    assert server.wait_end(60) == 0
    assert "nobody has come for 0.5 s" in server.log


def test_a_lab_that_nobody_uses_ends(begin: Begin) -> None:
    # As Jupyter Server writes it.
    server = begin("lab", "--port", str(free_port()), *LEAN, "--shutdown-no-activity-timeout=0.5")
    assert server.wait_end(60) == 0
    assert "nobody has come for 0.5 s" in server.log


# --- JupyterHub ----------------------------------------------------------------------------------------


def hub(port: int, prefix: str = "/user/ann/", **more: str) -> dict[str, str]:
    return {
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}{prefix}",
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_API_TOKEN": "the-hub's",
        "JUPYTERHUB_API_URL": "http://127.0.0.1:9/hub/api",
        "JUPYTERHUB_USER": "ann",
        **more,
    }


@pytest.mark.parametrize("prefix", ["/user/ann/", "/user/ann%40example.org/"])
def test_a_hub_finds_the_server_and_strangers_find_it_closed(begin: Begin, prefix: str) -> None:
    port = free_port()
    server = begin("lab", *FULL, env={**hub(port, prefix, JUPYTERHUB_ROOT_DIR="/x"), "FPS_KERNELS_TOKEN": TOKEN})
    assert server.url == f"http://127.0.0.1:{port}"
    base = server.url + prefix[:-1]
    by_hub = {"Host": "hub.example"}
    with httpx.Client(headers=by_hub, timeout=60, trust_env=False) as stranger:
        assert stranger.get(f"{base}/api").status_code == 200  # the Hub waits for it
        for path in ("/api/kernels", "/api/contents", "/files/x", "/api/me"):
            assert stranger.get(base + path).status_code == 401
        page = stranger.get(f"{base}/lab", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["location"].partition("?")[0]) == (302, f"{prefix}login")
        assert stranger.get(f"{base}/login").status_code == 200
        assert stranger.get(f"{server.url}/api/kernels", headers=RIGHT).status_code == 404  # outside of the prefix
    for path in ("/api/kernels", "/lab", "/api/contents?content=0", "/api/me"):
        assert ask(server, "GET", prefix[:-1] + path, headers=by_hub).status_code == 200
    assert "JupyterHub's login is not supported" in server.log
    assert "JUPYTERHUB_ROOT_DIR has no effect" in server.log


def test_no_server_of_a_hub_is_open(begin: Begin) -> None:
    server = begin("lab", *LEAN, "--no-token", "--allow-open-access", env=hub(free_port()), ready=False)
    assert server.wait_end(60) == 1
    assert "--no-token: not under JupyterHub" in server.log.splitlines()[-1]


def test_options_win_over_the_hub(begin: Begin) -> None:
    port = free_port()
    options = ("--port", str(port), "--set", "frontend.base_url=/own/", "--set", "app.mount_path=/own")
    server = begin("lab", *LEAN, *options, "--token", TOKEN, env=hub(free_port()))
    assert server.url == f"http://127.0.0.1:{port}"
    assert ask(server, "GET", "/own/api/kernels").status_code == 200
