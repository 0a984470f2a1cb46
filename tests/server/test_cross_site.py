"""Pages of other sites change nothing, under a plain jupyverse, which has no access layer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import websockets

from ..support.client import Client, tidy_client
from ..support.messages import Json, text_of
from ..support.servers import Server, options
from ..support.users import UserClient, server_of

GOOD = "http://good.example"
FOREIGN: list[dict[str, str]] = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": f"{GOOD}.evil"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
]
OWN: list[dict[str, str]] = [
    {},
    {"Origin": GOOD},
    {"Origin": GOOD, "Sec-Fetch-Site": "cross-site"},
    {"Origin": "the server's own"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("plain"), *options(allow_origin=[GOOD]))
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def browser(plain: Server) -> AsyncIterator[Client]:
    async with tidy_client(plain) as client:
        yield client


async def unsafe_requests(client: Client) -> list[tuple[str, str, Json | None]]:
    """One for each unsafe route."""
    session = await client.start_session()
    kernel_id = session["kernel"]["id"]
    kernel = f"/api/kernels/{kernel_id}"
    return [
        ("POST", "/api/kernels", {"name": "tiny_plain"}),
        ("POST", "/api/sessions", {"path": "x", "type": "x", "kernel": {"name": "tiny_plain"}}),
        ("PATCH", f"/api/sessions/{session['id']}", {"path": "y"}),
        ("POST", f"{kernel}/interrupt", None),
        ("POST", f"{kernel}/restart", None),
        ("POST", f"{kernel}/execute", {"document_id": "x", "cell_id": "x"}),
        ("POST", f"{kernel}/requests/x/input", {"value": "x"}),
        ("PUT", f"{kernel}/stdin/x", None),
        ("DELETE", f"{kernel}/stdin/x", None),
        ("DELETE", kernel, None),
        ("DELETE", f"/api/sessions/{session['id']}", None),
    ]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
async def test_a_page_of_another_site_changes_nothing(
    browser: Client, headers: dict[str, str], content_type: str
) -> None:
    requests = await unsafe_requests(browser)
    before = [(await browser.http.get(path)).json() for path in ("/api/kernels", "/api/sessions")]
    for method, path, body in requests:
        response = await browser.http.request(
            method, path, json=body, headers={**headers, "Content-Type": content_type}
        )
        assert response.status_code == 403, (method, path)
        assert "allow_origin" in response.json()["message"]
    after = [(await browser.http.get(path)).json() for path in ("/api/kernels", "/api/sessions")]
    assert [[model["id"] for model in models] for models in after] == [
        [one["id"] for one in models] for models in before
    ]
    assert after[1][0]["path"] == before[1][0]["path"]


@pytest.mark.parametrize("headers", OWN, ids=str)
async def test_a_page_of_our_own_or_of_an_allowed_site_does_its_work(browser: Client, headers: dict[str, str]) -> None:
    if headers.get("Origin") == "the server's own":
        headers = {"Origin": browser.url}
    for method, path, body in await unsafe_requests(browser):
        response = await browser.http.request(method, path, json=body, headers=headers)
        assert response.status_code != 403, (method, path)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_a_page_of_another_site_opens_no_websocket(browser: Client, headers: dict[str, str]) -> None:
    kernel_id = await browser.start()
    with pytest.raises(websockets.InvalidStatus) as refused:
        await browser.connect(kernel_id, additional_headers=headers)
    assert refused.value.response.status_code == 403
    assert b"allow_origin" in (refused.value.response.body or b"")
    async with await browser.connect(kernel_id, additional_headers={"Origin": GOOD}) as socket:
        assert text_of(await socket.run("stream('x')")) == "x"


async def test_a_page_is_judged_before_its_user_is_asked_for(tmp_path) -> None:
    server = server_of(tmp_path, {"ada": {"kernels": ["read", "write"]}})
    try:
        async with UserClient(server.url, "nobody") as client:
            response = await client.http.post("/api/kernels", headers=FOREIGN[0])
            assert "allow_origin" in response.json()["message"]
    finally:
        server.stop()
