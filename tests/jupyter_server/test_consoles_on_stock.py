"""Programs that talk to a kernel of a stock Jupyter Server by its connection file: they go on over a restart."""

from __future__ import annotations

import asyncio

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from ..support.client import Client
from ..support.messages import Json
from ..support.stock import StockServer


def ask(kernel_client: BlockingKernelClient, code: str) -> str:
    """What the code writes to stdout."""
    texts: list[str] = []

    def hook(message: Json) -> None:
        if message["msg_type"] == "stream":
            texts.append(message["content"]["text"])

    kernel_client.execute_interactive(code, output_hook=hook, timeout=60)
    return "".join(texts)


async def restart(client: Client, kernel_id: str) -> None:
    response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
    assert (response.status_code, response.json()["execution_state"]) == (200, "idle")


# jupyter_client leaves the loop of each thread open that its blocking client is used in.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_client_of_jupyter_clients_goes_on(server: StockServer, client: Client) -> None:
    kernel_id = await client.start()
    kernel_client = BlockingKernelClient(connection_file=str(server.runtime / f"kernel-{kernel_id}.json"))
    kernel_client.load_connection_file()
    kernel_client.start_channels()
    try:
        await asyncio.to_thread(kernel_client.wait_for_ready, 60)
        assert await asyncio.to_thread(ask, kernel_client, "x = 1; stream('before')") == "before"
        await restart(client, kernel_id)
        await asyncio.to_thread(kernel_client.wait_for_ready, 60)  # its sockets are connected again
        assert await asyncio.to_thread(ask, kernel_client, "stream(str('x' in globals()))") == "False"
        async with await client.connect(kernel_id) as socket:  # what it asks is seen by others, too
            await asyncio.to_thread(ask, kernel_client, "stream('from the console')")
            await socket.until(lambda m: m["content"].get("text") == "from the console")
    finally:
        kernel_client.stop_channels()
        kernel_client.context.destroy(linger=0)
