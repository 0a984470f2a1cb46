"""What all routes have in common: the form of errors, headers, caching, and requests that make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from ..support.client import Client
from ..support.raw_http import raw_request
from ..support.servers import Launch, Server

POLICY = "frame-ancestors 'self'; report-uri /api/security/csp-report; default-src 'none'"
UNKNOWN_ID = "12345678-1234-5678-1234-567812345678"


def is_error(response: Any, status: int) -> bool:
    """Whether a response is an error in our form: JSON with the words for its status."""
    error = response.json()
    return (
        response.status_code == status
        and response.headers["content-type"].startswith("application/json")
        and sorted(error) == ["message", "reason"]
        and all(isinstance(value, str) and value for value in error.values())
    )


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "path", "body"),
    [
        (200, "GET", "/api", None),
        (200, "GET", "/api/status", None),
        (200, "GET", "/api/kernels", None),
        (200, "GET", "/api/sessions", None),
        (200, "GET", "/api/kernelspecs", None),
        (200, "GET", "/api/kernelspecs/tiny_plain", None),
        (200, "GET", "/kernelspecs/tiny_plain/kernel.json", None),
        (200, "HEAD", "/kernelspecs/tiny_plain/kernel.json", None),
        (200, "GET", "/api/resolvePath?path=x", None),
        (201, "POST", "/api/kernels", {"name": "tiny_plain"}),
        (204, "POST", "/api/security/csp-report", {"csp-report": {}}),
        (400, "POST", "/api/sessions", {}),
        (404, "GET", f"/api/kernels/{UNKNOWN_ID}", None),
        (404, "GET", "/kernelspecs/tiny_plain/nothing", None),
        (404, "GET", "/api/kernels/a/b/c", None),
        (405, "PUT", "/api/kernels", None),
        (500, "POST", "/api/kernels", {"name": "tiny_exits"}),
    ],
)
async def test_every_answer_has_the_security_headers(
    client: Client, status: int, method: str, path: str, body: Any
) -> None:
    response = await client.http.request(method, path, json=body)
    assert response.status_code == status
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["", "/status", "/kernels", "/sessions", "/kernelspecs", "/kernelspecs/tiny_plain"])
async def test_an_answer_is_json(client: Client, path: str) -> None:
    assert (await client.http.get(f"/api{path}")).headers["content-type"] == "application/json"


@pytest.mark.parametrize("body", [b"", b'{"csp-report": {"document-uri": "x"}}', b"not json"])
async def test_a_report_of_the_policy_is_taken(client: Client, body: bytes) -> None:
    response = await client.http.post("/api/security/csp-report", content=body)
    assert (response.status_code, response.content) == (204, b"")


# --- caching --------------------------------------------------------------------------------------

CACHED = ["/api", "/api/kernels", "/api/sessions", "/api/kernelspecs", "/api/kernelspecs/tiny_plain"]


@pytest.mark.parametrize("path", CACHED)
async def test_an_unchanged_answer_is_not_sent_again(client: Client, path: str) -> None:
    etag = (await client.http.get(path)).headers["etag"]
    response = await client.http.get(path, headers={"If-None-Match": etag})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == etag
    assert response.headers["content-security-policy"] == POLICY


@pytest.mark.parametrize("form", ["W/{}", '"other", {}', '"other",{} , "more"', "*"])
async def test_etags_are_found_in_every_form(client: Client, form: str) -> None:
    etag = (await client.http.get("/api")).headers["etag"]
    assert (await client.http.get("/api", headers={"If-None-Match": form.format(etag)})).status_code == 304


async def test_a_changed_answer_is_sent_again(client: Client) -> None:
    etag = (await client.http.get("/api/kernels")).headers["etag"]
    kernel_id = await client.start()
    response = await client.http.get("/api/kernels", headers={"If-None-Match": etag})
    assert response.status_code == 200
    assert [model["id"] for model in response.json()] == [kernel_id]


async def test_an_error_is_never_not_modified(client: Client) -> None:
    response = await client.http.get(f"/api/kernels/{UNKNOWN_ID}", headers={"If-None-Match": "*"})
    assert response.status_code == 404


async def test_a_post_is_never_not_modified(client: Client) -> None:
    response = await client.http.post("/api/kernels", json={"name": "tiny_plain"}, headers={"If-None-Match": "*"})
    assert response.status_code == 201


# --- paths and methods ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "allowed", "method"),
    [
        ("/api", "GET, HEAD", "POST"),
        ("/api/status", "GET, HEAD", "DELETE"),
        ("/api/kernels", "GET, HEAD, POST", "PUT"),
        ("/api/kernels", "GET, HEAD, POST", "DELETE"),
        ("/api/kernels/x", "DELETE, GET, HEAD", "POST"),
        ("/api/kernels/x", "DELETE, GET, HEAD", "PATCH"),
        ("/api/kernels/x/interrupt", "POST", "GET"),
        ("/api/kernels/x/restart", "POST", "PUT"),
        ("/api/sessions", "GET, HEAD, POST", "PATCH"),
        ("/api/sessions/x", "DELETE, GET, HEAD, PATCH", "PUT"),
        ("/api/sessions/x", "DELETE, GET, HEAD, PATCH", "POST"),
        ("/api/kernelspecs", "GET, HEAD", "POST"),
        ("/api/kernelspecs/x", "GET, HEAD", "DELETE"),
        ("/kernelspecs/x/y", "GET, HEAD", "POST"),
        ("/api/resolvePath", "GET, HEAD", "POST"),
        ("/api/security/csp-report", "POST", "GET"),
        ("/api/kernels", "GET, HEAD, POST", "TRACE"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(client: Client, path: str, allowed: str, method: str) -> None:
    response = await client.http.request(method, path)
    assert is_error(response, 405)
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/api", "/api/kernels", "/api/sessions", "/api/kernelspecs/tiny_plain"])
async def test_head_and_options_are_answered_where_get_is(client: Client, path: str) -> None:
    got, head = await client.http.get(path), await client.http.head(path)
    assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    answer = await client.http.options(path)
    assert (answer.status_code, {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))) == (204, True)


@pytest.mark.parametrize(
    "path",
    [
        "/api/kernels/x/y",
        "/api/kernels/x/interrupt/y",
        "/api/kernels/x/channels",
        "/api/sessions/x/y",
        "/api/kernelspecs/x/y",
        "/kernelspecs/x",
        "/kernelspecs",
        "/api/kernels//interrupt",
        "/api/kernels/%00",
        "/api/sessions/%00",
        "/api/kernels/a%2fb",
        "/api/kernels/%2e%2e",
        "/api/sessions/%2e%2e%2fkernels",
        "/api/kernels/%ff",
        "/api/kernels/" + "x" * 10_000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_path_is_not_found(server: Server, method: str, path: str) -> None:
    response = await raw_request(server.url, method, path)
    if method == "DELETE" and path.startswith(("/kernelspecs/x", "/api/kernelspecs")):
        assert response.status_code in (404, 405)
    else:
        assert is_error(response, 404)


UPGRADES = [{}, {"Upgrade": "websocket"}, {"Connection": "Upgrade"}, {"Upgrade": "h2c", "Connection": "Upgrade"}]


@pytest.mark.parametrize("headers", UPGRADES)
async def test_a_websocket_of_which_a_proxy_left_a_plain_request_is_named(
    server: Server, client: Client, headers: dict[str, str]
) -> None:
    kernel_id = await client.start()
    path = f"/api/kernels/{kernel_id}/channels?session_id=x"
    response = await raw_request(server.url, "GET", path, headers={"Connection": "close"} | headers)
    assert is_error(response, 400)
    assert "`Upgrade: websocket`" in response.json()["message"]


@pytest.mark.parametrize("path", ["/api/kernels", "/api/sessions", "/api/kernelspecs", "/api/status"])
async def test_a_trailing_slash_leads_to_the_same(client: Client, path: str) -> None:
    response = await client.http.get(f"{path}/", follow_redirects=True)
    assert response.status_code == 200
    assert response.json() == (await client.http.get(path)).json()


async def test_a_trailing_slash_keeps_method_and_body(client: Client) -> None:
    response = await client.http.post("/api/kernels/", json={"name": "tiny_curve"}, follow_redirects=True)
    assert response.status_code == 201
    assert response.json()["name"] == "tiny_curve"


async def test_a_trailing_slash_does_not_lead_to_another_server(server: Server) -> None:
    response = await raw_request(server.url, "GET", "//evil.example/api/kernels/")
    assert not response.headers.get("location", "").startswith("//")
    assert response.status_code == 404


# --- bodies ---------------------------------------------------------------------------------------

BODY_ROUTES = [("POST", "/api/kernels"), ("POST", "/api/sessions"), ("PATCH", "/api/sessions/{}")]


async def send(client: Client, method: str, path: str, body: Any) -> Any:
    """Send bytes; `{}` in the path stands for a session."""
    if "{}" in path:
        path = path.format((await client.start_session())["id"])
    return await client.http.request(method, path, content=body)


@pytest.mark.parametrize(("method", "path"), BODY_ROUTES)
@pytest.mark.parametrize(
    "body", [b"{", b"x", b"{'a': 1}", b'{"a": 1} x', b"\xff\xfe", b"\0", b"name=python3", b"[" * 100_000]
)
async def test_a_body_that_is_not_json_is_refused(client: Client, method: str, path: str, body: bytes) -> None:
    response = await send(client, method, path, body)
    assert is_error(response, 400)
    assert response.json()["message"] == "The body is not valid JSON"


@pytest.mark.parametrize(("method", "path"), BODY_ROUTES)
@pytest.mark.parametrize("body", [b"[]", b"1", b'"name"', b"true", b"NaN", b'[{"name": "python3"}]'])
async def test_a_body_that_is_no_object_is_refused(client: Client, method: str, path: str, body: bytes) -> None:
    response = await send(client, method, path, body)
    assert is_error(response, 400)
    assert response.json()["message"] == "The body is not a JSON object"


@pytest.mark.parametrize(("method", "path"), BODY_ROUTES)
async def test_a_body_that_is_too_large_is_refused(client: Client, method: str, path: str) -> None:
    response = await send(client, method, path, b" " * 2_000_000)
    assert is_error(response, 413)


async def test_a_body_without_a_length_that_is_too_large_is_refused(client: Client) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 100_000

    assert is_error(await client.http.post("/api/kernels", content=chunks()), 413)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/kernels", b'{"name": "\\ud800"}'),
        ("/api/kernels", b'{"name": "tiny_plain", "path": "\\ud800"}'),
        ("/api/kernels", b'{"name": "tiny_plain", "env": {"KERNEL_A": "\\udfff"}}'),
        ("/api/kernels", b'{"name": "tiny_plain", "env": {"KERNEL_\\ud800": "x"}}'),
        ("/api/sessions", b'{"path": "\\ud800", "type": "notebook", "kernel": {"name": "tiny_plain"}}'),
    ],
)
async def test_text_that_is_none_is_refused(client: Client, path: str, body: bytes) -> None:
    """Half of a surrogate pair is valid in JSON, but neither in a path nor in an environment."""
    assert is_error(await client.http.post(path, content=body), 400)
    assert await client.kernels() == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/kernels", {"name": "tiny_plain", "env": {"KERNEL_A": "x" * 200_000}}),
        ("/api/kernels", {"name": "tiny_plain", "env": {"KERNEL_" + "A" * 200_000: "x"}}),
        ("/api/sessions", {"path": "x" * 200_000, "type": "notebook", "kernel": {"name": "tiny_plain"}}),
    ],
)
async def test_text_that_no_environment_can_hold_is_refused(client: Client, path: str, body: dict) -> None:
    response = await client.http.post(path, json=body)
    assert is_error(response, 400)
    assert len(response.json()["message"]) < 1000
    assert await client.kernels() == []


# --- another base URL -----------------------------------------------------------------------------


async def test_everything_is_below_the_base_url(launch: Launch) -> None:
    server = launch("--set", "frontend.base_url=/base/", "--set", "app.mount_path=/base")
    (server.share / "kernels" / "tiny_plain" / "logo-64x64.png").write_text("logo")
    async with Client(f"{server.url}/base") as client:
        response = await client.http.post("/api/kernels", json={"name": "tiny_plain"})
        assert response.status_code == 201
        assert response.headers["location"] == f"/base/api/kernels/{response.json()['id']}"
        assert response.headers["content-security-policy"] == POLICY.replace("/api", "/base/api")
        session = await client.http.post(
            "/api/sessions", json={"path": "a", "type": "file", "kernel": {"id": response.json()["id"]}}
        )
        assert session.headers["location"] == f"/base/api/sessions/{session.json()['id']}"
        url = (await client.http.get("/api/kernelspecs/tiny_plain")).json()["resources"]["logo-64x64"]
        assert url == "/base/kernelspecs/tiny_plain/logo-64x64.png"
        assert (await client.http.get(server.url + url)).text == "logo"
        assert await client.evaluate(response.json()["id"], "6 * 7") == "42"
        assert is_error(await client.http.get("/api/kernels/x/y"), 404)
        assert is_error(await client.http.put("/api/kernels"), 405)
        trailing = await client.http.get(f"{server.url}/base/api/kernels/", follow_redirects=True)
        assert [model["id"] for model in trailing.json()] == [response.json()["id"]]
