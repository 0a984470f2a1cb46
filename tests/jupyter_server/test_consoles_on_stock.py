"""Programs that talk to a kernel of a stock Jupyter Server by its connection file: they go on over a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_core.utils import ensure_event_loop

from ..support.client import Client
from ..support.messages import Json
from ..support.stock import StockServer

InThread = Callable[..., asyncio.Future[Any]]


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


@pytest.fixture
async def console() -> AsyncIterator[InThread]:
    """console(function, *arguments) calls it in a thread of its own, whose event loop is closed afterwards.

    jupyter_client makes a loop for each thread that its blocking client is used in, and never closes it.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        yield partial(asyncio.get_running_loop().run_in_executor, thread)
        thread.submit(lambda: ensure_event_loop().close()).result()


async def test_a_client_of_jupyter_clients_goes_on(server: StockServer, client: Client, console: InThread) -> None:
    kernel_id = await client.start()
    kernel_client = BlockingKernelClient(connection_file=str(server.runtime / f"kernel-{kernel_id}.json"))
    kernel_client.load_connection_file()
    await console(kernel_client.start_channels)
    try:
        await console(kernel_client.wait_for_ready, 60)
        assert await console(ask, kernel_client, "x = 1; stream('before')") == "before"
        await restart(client, kernel_id)
        await console(kernel_client.wait_for_ready, 60)  # its sockets are connected again
        assert await console(ask, kernel_client, "stream(str('x' in globals()))") == "False"
        async with await client.connect(kernel_id) as socket:  # what it asks is seen by others, too
            await console(ask, kernel_client, "stream('from the console')")
            await socket.until(lambda m: m["content"].get("text") == "from the console")
    finally:
        await console(kernel_client.stop_channels)
        kernel_client.context.destroy(linger=0)
