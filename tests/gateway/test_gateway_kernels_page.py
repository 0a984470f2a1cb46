"""The page of kernels at the gateway: where it is, who comes in, and what it does not keep from ending."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from ..support.client import Client
from ..support.entrances import log_in
from ..support.gateways import Begin, Gateway, option
from ..support.notebooks import write_notebook
from ..support.page_events import EVENTS, watching
from ..support.users import proxy_secret_file

LISTED = "--JupyterWebsocketPersonality.list_kernels=True"
TOKEN = "the-token-of-the-tests"
RIGHT = {"Authorization": f"token {TOKEN}"}
BROWSER = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
PATHS = ("/kernels", EVENTS)


@pytest.fixture(scope="module")
def gateway(begin_shared: Begin) -> Gateway:
    """With a token and a base URL."""
    return begin_shared(LISTED, option("auth_token", TOKEN), option("base_url", "/gate/way"))


async def test_where_kernels_may_not_be_listed_the_page_is_refused_in_the_same_words(begin: Begin) -> None:
    async with Client(begin().url) as client:
        refusal = await client.http.get("/api/kernels")
        assert refusal.status_code == 403
        for path in PATHS:
            answer = await client.http.get(path, headers=BROWSER)
            assert (answer.status_code, answer.json()) == (403, refusal.json())


async def test_a_notebook_that_is_an_api_has_no_page(begin: Begin, tmp_path: Path) -> None:
    write_notebook(tmp_path / "api.ipynb", "# GET /hello\nprint('hello')")
    server = begin("--KernelGatewayApp.api=notebook-http", option("seed_uri", tmp_path / "api.ipynb"), LISTED)
    async with Client(server.url) as client:
        assert (await client.http.get("/hello")).status_code == 200
        for path in (*PATHS, "/login"):
            assert (await client.http.get(path)).status_code == 404


async def test_the_base_url_comes_before_the_page(gateway: Gateway) -> None:
    async with Client(gateway.url) as client:
        client.http.headers.update(RIGHT)
        assert gateway.url.endswith("/gate/way")
        page = await client.http.get("/kernels")
        assert page.status_code == 200
        assert "report-uri /gate/way/api/security/csp-report" in page.headers["content-security-policy"]
        slash = await client.http.get("/kernels/?filter=x")
        assert (slash.status_code, slash.headers["location"]) == (307, "/gate/way/kernels?filter=x")
        async with watching(client) as events:
            await events.until(lambda one: one.samples)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "token wrong"}, {"Cookie": "fps-kernels=1"}], ids=str)
async def test_a_program_without_the_token_is_refused(gateway: Gateway, headers: dict[str, str]) -> None:
    async with Client(gateway.url) as client:
        for path in (*PATHS, "/kernels/static/page.js"):
            assert (await client.http.get(path, headers=headers)).status_code == 401, path


async def test_a_browser_is_led_to_a_form_and_back_with_a_cookie(gateway: Gateway) -> None:
    async with Client(gateway.url) as client:
        away = await client.http.get("/kernels", headers=BROWSER)
        assert (away.status_code, away.headers["location"]) == (302, "/gate/way/login?next=/gate/way/kernels")
        form = await client.http.get("/login", headers=BROWSER)
        assert "<h1>Kernels</h1>" in form.text
        assert "printed" not in form.text  # as lab does with its token
        assert form.headers["referrer-policy"] == "same-origin"  # or it would be sent without its Origin
        client.http.headers.update(log_in(gateway.url, TOKEN))
        client.http.cookies.clear()
        for path in (*PATHS, "/kernels/static/page.js"):
            async with client.http.stream("GET", path) as answer:
                assert answer.status_code == 200, path


async def test_a_token_in_the_address_becomes_a_cookie_and_is_gone(gateway: Gateway) -> None:
    async with Client(gateway.url) as client:
        first = await client.http.get(f"/kernels?token={TOKEN}&x=1", headers=BROWSER)
        assert (first.status_code, first.headers["location"]) == (302, "/gate/way/kernels?x=1")
        cookie = first.headers["set-cookie"]
        for word in ("HttpOnly", "SameSite=Strict", "Path=/gate/way/"):
            assert word in cookie
        page = await client.http.get("/kernels", headers={**BROWSER, "Cookie": cookie.partition(";")[0]})
        assert page.status_code == 200
        assert "_xsrf" in page.headers["set-cookie"]
        assert TOKEN not in page.text


async def test_a_page_of_another_site_leads_there_by_a_step_and_does_not_act(gateway: Gateway) -> None:
    async with Client(gateway.url) as client:
        elsewhere = {**BROWSER, "Sec-Fetch-Site": "cross-site"}
        step = await client.http.get("/kernels", headers=elsewhere)
        assert "Continue to Kernels" in step.text
        kernel_id = (await client.http.post("/api/kernels", json={"name": "tiny_plain"}, headers=RIGHT)).json()["id"]
        cookies = log_in(gateway.url, TOKEN)
        path = f"/api/kernels/{kernel_id}"
        without_xsrf = {"Cookie": cookies["Cookie"]}
        assert (await client.http.delete(path, headers=without_xsrf)).status_code == 403
        foreign = {**cookies, "Origin": "http://evil.example"}
        assert (await client.http.delete(path, headers=foreign)).status_code == 404
        assert (await client.http.get(EVENTS, headers=foreign)).status_code == 404
        assert (await client.http.delete(path, headers=cookies)).status_code == 204


async def test_all_else_of_the_gateway_has_no_login(gateway: Gateway, begin: Begin) -> None:
    async with Client(gateway.url) as client:
        for path in ("/api/kernels", "/docs", "/nothing/kernels"):
            answer = await client.http.get(path, headers=BROWSER)
            assert (answer.status_code, "location" in answer.headers) == (404 if "nothing" in path else 401, False)
        assert (await client.http.get(f"/docs?token={TOKEN}", headers=BROWSER)).status_code == 200
    for options in ([option("auth_token", TOKEN)], [LISTED]):  # without a list, or without a token
        async with Client(begin(*options).url) as client:
            assert (await client.http.get("/login", headers=BROWSER)).status_code == 404


async def test_users_of_a_proxy_see_the_page(begin: Begin, tmp_path: Path) -> None:
    secret = proxy_secret_file(tmp_path)
    server = begin(
        LISTED, option("proxy_user_header", "X-Forwarded-User"), option("proxy_secret_file", secret), ready=True
    )
    async with Client(server.url) as client:
        headers = {"X-Forwarded-User": "ada", "X-Fps-Kernels-Proxy-Secret": secret.read_text()}
        assert (await client.http.get("/kernels", headers={**BROWSER, **headers})).status_code == 200
        assert (await client.http.get("/kernels", headers=BROWSER)).status_code == 401


async def test_a_login_outlives_the_server(begin: Begin) -> None:
    first = begin(LISTED, option("auth_token", TOKEN))
    cookies = log_in(first.url, TOKEN)
    first.stop()
    again = Gateway(first.base, LISTED, option("auth_token", TOKEN), env={"KG_PORT": str(first.port)}, log="again.log")
    try:
        again.wait_ready()
        async with Client(again.url) as client, watching(client, **cookies) as page:
            await page.until(lambda one: one.samples)
    finally:
        again.stop()


def test_an_open_page_does_not_keep_an_unused_server_from_ending(begin: Begin) -> None:
    server = begin(LISTED, option("shutdown_no_activity_timeout", 1))
    with httpx.stream("GET", f"{server.url}{EVENTS}", trust_env=False) as page:
        assert page.status_code == 200
        for _ in page.iter_raw():  # until the server ends it
            pass
    assert server.wait_end() == 0
    assert re.search("Shutting down: there are no kernels", server.log)
    assert "exceeded" not in server.log


async def test_the_log_has_no_line_for_each_sample(gateway: Gateway) -> None:
    async with Client(gateway.url) as client:
        client.http.headers.update(RIGHT)
        async with watching(client) as page:
            await page.until(lambda one: one.samples)
            before = gateway.log
            await page.until(lambda one: one.samples > 3)
    assert gateway.log == before


async def test_the_documents_tell_of_the_page(gateway: Gateway) -> None:
    async with Client(gateway.url) as client:
        document = (await client.http.get("/openapi.json", headers=RIGHT)).json()
    paths = document["paths"]
    assert list(paths["/kernels"]["get"]["responses"]["200"]["content"]) == ["text/html"]
    assert list(paths["/kernels/events"]["get"]["responses"]["200"]["content"]) == ["text/event-stream"]
    assert json.dumps(paths["/kernels/events"]["get"]["responses"]["503"])
