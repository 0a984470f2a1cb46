"""What the gateway says of itself: activity, Swagger 2, OpenAPI 3, and Swagger UI in a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from ..support.client import Client
from ..support.gateways import Gateway, gateways, option
from ..support.lab import ARGUMENTS

TOKEN = "secret"
ROUTES = {"/api/kernels", "/api/kernels/{kernel_id}", "/api/sessions", "/api/kernelspecs", "/kernelspecs/{name}/{file}"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateways(tmp_path_factory.mktemp("gateways")) as begin:
        yield begin(option("auth_token", TOKEN), option("base_url", "/a/b"))


async def test_swagger_and_openapi_list_the_routes(gateway: Gateway) -> None:
    async with Client(gateway.url) as client:
        for name in ("swagger.json", "swagger.yaml"):
            document = (await client.http.get(f"/api/{name}")).json()
            assert document["swagger"] == "2.0"
            assert document["basePath"] == "/a/b/"
            assert set(document["paths"]) >= ROUTES
            assert set(document["paths"]["/api/kernels"]) == {"get", "post"}
        assert (await client.http.get("/openapi.json")).status_code == 401
        document = (await client.http.get("/openapi.json", params={"token": TOKEN})).json()
        assert document["openapi"].startswith("3.0")
        assert "/api/kernels" in document["paths"]


async def test_the_documents_are_of_the_same_routes(gateway: Gateway) -> None:
    """One is made from Starlette's, which answer; the other from FastAPI's, which are made to be described."""
    async with Client(gateway.url) as client:
        starlette = (await client.http.get("/api/swagger.json", params={"token": TOKEN})).json()["paths"]
        fastapi = (await client.http.get("/openapi.json", params={"token": TOKEN})).json()["paths"]
    assert {path: set(methods) for path, methods in starlette.items()} == {
        path: set(methods) - {"head"} for path, methods in fastapi.items()
    }


async def test_documents_asked_for_at_once_are_all_there(tmp_path: Path) -> None:
    with gateways(tmp_path) as begin:
        async with Client(begin().url) as client:
            asked = [client.http.get(path) for path in ("/docs", "/openapi.json", "/openapi.json", "/api")]
            assert [response.status_code for response in await asyncio.gather(*asked)] == [200] * len(asked)


async def test_activity_tells_when_a_kernel_was_used(gateway: Gateway) -> None:
    async with Client(gateway.url) as client:
        client.http.headers["Authorization"] = f"token {TOKEN}"
        kernel_id = (await client.http.post("/api/kernels", json={"name": "tiny_plain"})).json()["id"]
        before = (await client.http.get("/_api/activity")).json()[kernel_id]
        assert before["last_message_to_kernel"] is before["last_client_connect"] is None
        assert before["last_time_state_changed"].endswith("Z")
        assert (before["busy"], before["connections"]) == (False, 0)
        socket = await client.connect(kernel_id, additional_headers={"Authorization": f"token {TOKEN}"})
        async with socket:
            await socket.run("stream('x')")
            during = (await client.http.get("/_api/activity")).json()[kernel_id]
            assert during["connections"] == 1
            assert during["last_client_disconnect"] is None
            assert during["last_message_to_client"] >= during["last_message_to_kernel"] >= during["last_client_connect"]
        await client.http.delete(f"/api/kernels/{kernel_id}")
        assert kernel_id not in (await client.http.get("/_api/activity")).json()


async def test_swagger_ui_shows_the_api_from_this_server_alone(chromium: str, gateway: Gateway) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = await browser.new_page()
        elsewhere: list[str] = []
        page.on("request", lambda request: elsewhere.append(request.url) if gateway.url not in request.url else None)
        await page.goto(f"{gateway.url}/docs?token={TOKEN}")
        paths = page.locator(".opblock-summary-path")
        await expect(paths.get_by_text("/api/kernels", exact=True).first).to_be_visible()
        assert [url for url in elsewhere if not url.startswith("data:")] == []
        await browser.close()
