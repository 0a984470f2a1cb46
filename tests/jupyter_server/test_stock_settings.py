"""What somebody has set of Jupyter Server's signatures, origins and proxies: it counts for our kernels, too."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import websockets

from ..support.client import Client, tidy_client
from ..support.messages import text_of
from ..support.stock import BeginStock, StockServer
from ..support.waits import until

HOME = "https://notebooks.example.org"


@pytest.fixture(scope="module")
def strict(begin_shared: BeginStock) -> StockServer:
    return begin_shared(
        "--Session.signature_scheme=hmac-sha512",
        "--Session.key=a key of the user's own",
        "--ServerApp.allow_origin_pat=https://[a-z]*[.]example[.]org",
        "--ServerApp.trust_xheaders=True",
    )


@pytest.fixture
async def client(strict: StockServer) -> AsyncIterator[Client]:
    async with tidy_client(strict) as client:
        yield client


async def test_messages_are_signed_as_the_user_says(strict: StockServer, client: Client) -> None:
    kernel_id = await client.start("python3")
    [file] = strict.runtime.glob(f"kernel-{kernel_id}.json")
    connection = json.loads(file.read_text())
    assert (connection["signature_scheme"], connection["key"]) == ("hmac-sha512", "a key of the user's own")
    for _ in range(2):  # also after a restart
        async with await client.connect(kernel_id) as socket:
            assert text_of(await socket.run("print(6 * 7)")) == "42\n"
        assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200


async def test_pages_of_origins_of_a_pattern_may_connect(client: Client) -> None:
    kernel_id = await client.start("python3")
    async with await client.connect(kernel_id, origin=HOME) as socket:
        assert text_of(await socket.run("print(6 * 7)")) == "42\n"
    for other in ("https://example.org", f"{HOME}.evil.test", "null"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await client.connect(kernel_id, origin=other)
        assert refused.value.response.status_code == 403, other


async def test_the_address_that_a_proxy_names_is_logged(strict: StockServer, client: Client) -> None:
    kernel_id = await client.start()
    forwarded = {"X-Real-Ip": "203.0.113.7", "X-Forwarded-Proto": "https"}
    with pytest.raises(websockets.InvalidStatus):
        await client.connect(kernel_id, origin="https://evil.test", additional_headers=forwarded)

    def lines() -> list[str]:  # written after the answer
        return [line for line in strict.log.read_text().splitlines() if "403" in line and "203.0.113.7" in line]

    [line] = await until(lines)
    assert f"/api/kernels/{kernel_id}/channels" in line
