"""Programs at `fps-kernels lab` that come in as browsers do, with a cookie, and as users of a proxy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import websockets

from ..support.client import Client
from ..support.entrances import log_in
from ..support.gateways import Gateway
from ..support.messages import is_status, text_of
from ..support.ports import free_port
from ..support.servers import NOT_NEEDED
from ..support.users import Proxied, proxy_secret_file

LEAN = [*(word for name in NOT_NEEDED for word in ("--disable", name)), "--set", "kernels.prewarm=0"]
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One with a token, and with users of a proxy."""
    folder = tmp_path_factory.mktemp("lab")
    proxy = ["--proxy-user-header", "X-Forwarded-User", "--proxy-secret-file", str(proxy_secret_file(folder))]
    server = Gateway(folder / "lab", "lab", "--port", str(free_port()), *LEAN, "--token", TOKEN, *proxy)
    server.wait_ready()
    yield server
    server.stop()


async def test_a_program_with_the_cookie_does_what_a_page_does(server: Gateway) -> None:
    browser = log_in(server.url, TOKEN)
    cookie, xsrf = ({name: browser[name]} for name in ("Cookie", "X-XSRFToken"))
    async with Client(server.url) as client:
        client.http.headers.update(cookie)
        for wrong in ({}, {"X-XSRFToken": "x" * 32}):
            refused = await client.http.post("/api/kernels", json={"name": "tiny_plain"}, headers=wrong)
            assert (refused.status_code, "X-XSRFToken" in refused.json()["message"]) == (403, True)
        assert await client.kernels() == []
        client.http.headers.update(xsrf)
        kernel_id = await client.start()
        for v1 in (True, False):  # a WebSocket needs no XSRF token, but an Origin of ours if it has one
            for origin in (None, server.url):
                options: dict[str, Any] = {"additional_headers": cookie, "origin": origin}
                async with await client.connect(kernel_id, v1=v1, **options) as socket:
                    assert text_of(await socket.run("stream('in')")) == "in"
        for headers, origin in ((cookie, "http://127.0.0.1:1"), ({}, None), ({}, server.url)):
            with pytest.raises(websockets.InvalidStatus) as no:
                await client.connect(kernel_id, additional_headers=headers, origin=origin)
            assert no.value.response.status_code in (401, 403)
        del client.http.headers["X-XSRFToken"]
        assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 403
        assert (await client.http.delete(f"/api/kernels/{kernel_id}", headers=xsrf)).status_code == 204


async def test_another_user_of_the_proxy_with_the_same_session_id_takes_nothing(server: Gateway) -> None:
    async with Proxied(server.url, "ada") as ada, Proxied(server.url, "bob") as bob:
        kernel_id = await ada.start()
        async with await ada.connect(kernel_id) as socket:
            msg_id = await socket.execute("stream(reply_input('name?'))", allow_stdin=True)
            asked = (await socket.until(lambda m: m["msg_type"] == "input_request"))[-1]
            async with await bob.connect(kernel_id, session=socket.session) as thief:
                await thief.send("input_reply", {"value": "bob"}, channel="stdin", parent=asked["header"])
                await thief.answers(await thief.send("kernel_info_request", {}, channel="control"))
                await socket.send("input_reply", {"value": "ada"}, channel="stdin", parent=asked["header"])
                assert text_of(await socket.answers(msg_id)) == "ada"
                await thief.until(lambda m: is_status(m, "idle") and m["parent_header"].get("msg_id") == msg_id)
            heard = [m for m in thief.received if m["parent_header"].get("msg_id") == msg_id]
            assert {m["channel"] for m in heard} == {"iopub"}
            async with await ada.connect(kernel_id, session=socket.session) as second:
                assert (await socket.closed())[0] == 1000
                assert text_of(await second.run("stream('x')")) == "x"
        await ada.http.delete(f"/api/kernels/{kernel_id}")
