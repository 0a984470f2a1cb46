"""The page of kernels on a stock Jupyter Server: the tests of our own, and what is Jupyter Server's about it."""

from __future__ import annotations

import signal

import pytest

from ..server.test_kernels_page_events import *  # noqa: F403
from ..support.client import Client
from ..support.page_events import EVENTS, watching
from ..support.stock import BeginStock

ELSEWHERE = [
    "test_a_browser_asks_whether_a_file_has_changed",  # below: the names of the headers are others
    "test_an_idle_kernel_is_culled_though_its_page_is_open",  # culling is jupyter_server's
    "test_who_may_not_read_kernels_gets_what_the_api_answers",  # below: it has an authorizer
    "test_who_may_read_kernels_sees_them_and_who_may_write_has_buttons",
]
for name in ELSEWHERE:
    del globals()[name]


@pytest.fixture  # type: ignore[no-redef]
def signum() -> signal.Signals:
    return signal.SIGTERM  # at SIGINT it asks first


TOKEN = {"Authorization": "token the-token-of-the-test"}
AUTHORIZER = """
from jupyter_server.auth.authorizer import Authorizer

class Rules(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        allowed = {
            "/a": [("read", "kernels"), ("read", "sessions")],
            "/b": [("read", "kernels")],
            "/c": [("read", "sessions")],
        }
        return (action, resource) in allowed.get(handler.request.headers.get("X-Role"), [])
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the authorizer is found."""
    folder = tmp_path_factory.mktemp("authorizer")
    (folder / "their_rules.py").write_text(AUTHORIZER)
    return {"PYTHONPATH": str(folder)}


async def test_the_authorizer_says_who_sees_what(begin: BeginStock, rules: dict[str, str]) -> None:
    server = begin("--ServerApp.authorizer_class=their_rules.Rules", env=rules)
    async with Client(server.url) as client:
        for role, sessions in (("/a", True), ("/b", False)):
            async with watching(client, **{"X-Role": role}) as page:
                await page.until(lambda one: one.samples)
                assert page.server["may_write"] is False, sessions
        for role in ("/c", "/d"):
            for path in ("/kernels", EVENTS):
                assert (await client.http.get(path, headers={"X-Role": role})).status_code == 403


async def test_who_is_not_logged_in_is_led_to_the_login_and_a_script_is_refused(begin: BeginStock) -> None:
    server = begin("--IdentityProvider.token=the-token-of-the-test", open_to_all=False)
    async with Client(server.url) as client:
        page = await client.http.get("/kernels")
        assert (page.status_code, page.headers["location"]) == (302, "/login?next=%2Fkernels")
        assert (await client.http.get(EVENTS)).status_code == 403
        assert (await client.http.get("/kernels", headers=TOKEN)).status_code == 200
        async with watching(client, **TOKEN) as events:
            await events.until(lambda one: one.samples)


async def test_an_open_page_is_no_use_of_the_server(client: Client) -> None:
    async def last_activity() -> str:
        return (await client.http.get("/api/status")).json()["last_activity"]

    await client.kernels()
    before = await last_activity()
    await client.http.get("/kernels")
    async with watching(client) as page:
        await page.until(lambda one: one.samples > 1)
        assert await last_activity() == before


async def test_the_policy_of_an_operator_stays(begin: BeginStock) -> None:
    policy = "frame-ancestors 'self' https://portal.example"
    setting = {"headers": {"Content-Security-Policy": policy}}
    server = begin(f"--ServerApp.tornado_settings={setting}")
    async with Client(server.url) as client:
        answer = await client.http.get("/kernels")
    assert answer.headers.get_list("content-security-policy") == [answer.headers["content-security-policy"]]
    assert answer.headers["content-security-policy"].startswith(f"{policy}; default-src 'none'")


async def test_a_base_url_comes_before_the_page(begin: BeginStock) -> None:
    server = begin("--ServerApp.base_url=/user/ada/")
    async with Client(server.url) as client:
        for path in ("/user/ada/kernels", "/user/ada/kernels/static/page.js"):
            assert (await client.http.get(path)).status_code == 200
        assert (await client.http.get("/kernels")).status_code == 404


async def test_there_is_a_page_only_where_the_kernels_are_ours(begin: BeginStock) -> None:
    theirs = "jupyter_server.services.kernels.kernelmanager.AsyncMappingKernelManager"
    async with Client(begin(f"--ServerApp.kernel_manager_class={theirs}").url) as client:
        assert (await client.http.get("/kernels")).status_code == 404
