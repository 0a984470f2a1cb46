"""Users whom a proxy names: each has sessions of their own, whatever the session_id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ..support.gateways import Begin, Gateway
from ..support.messages import is_status, text_of
from ..support.users import Proxied, proxy_secret_file


@pytest.fixture
def gateway(begin: Begin, tmp_path: Path) -> Gateway:
    secret = proxy_secret_file(tmp_path)
    return begin(
        "--KernelGatewayApp.proxy_user_header=X-Forwarded-User", f"--KernelGatewayApp.proxy_secret_file={secret}"
    )


@pytest.fixture
async def ada(gateway: Gateway) -> AsyncIterator[Proxied]:
    async with Proxied(gateway.url, "ada") as client:
        yield client


@pytest.fixture
async def bob(gateway: Gateway) -> AsyncIterator[Proxied]:
    async with Proxied(gateway.url, "bob") as client:
        yield client


async def test_another_user_with_the_same_session_id_takes_nothing(ada: Proxied, bob: Proxied) -> None:
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
            assert not any(
                m["parent_header"].get("msg_id") == msg_id and m["channel"] != "iopub" for m in thief.received
            )


async def test_the_same_user_takes_the_place_of_an_older_connection(ada: Proxied) -> None:
    kernel_id = await ada.start()
    first = await ada.connect(kernel_id)
    async with await ada.connect(kernel_id, session=first.session) as second:
        assert (await first.closed())[0] == 1000
        assert text_of(await second.run("stream('x')")) == "x"
