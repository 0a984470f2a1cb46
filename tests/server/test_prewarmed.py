"""Kernels that are kept ready, as users have them: over HTTP, and from the gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ..support.client import Client
from ..support.gateways import Begin, gateways
from ..support.messages import text_of
from ..support.notebooks import write_notebook
from ..support.servers import Launch, options
from ..support.waits import until


async def test_a_notebook_gets_one_over_http(launch: Launch) -> None:
    server = launch(*options(prewarm=1))
    (server.root / "below").mkdir()
    async with Client(server.url) as client:
        assert await client.kernels() == []  # those that nobody has are not listed
        await until(lambda: "a prewarmed python3 kernel is ready" in server.log.read_text(), 60)
        session = await client.start_session("below/a.ipynb", kernel={"name": "python3"})
        assert f"kernel {session['kernel']['id']}: using a prewarmed kernel" in server.log.read_text()
        [model] = await client.kernels()
        assert model["execution_state"] == "idle"
        folder = server.root / "below"
        printed = await _printed(client, session["kernel"]["id"], "(os.getcwd(), os.environ['JPY_SESSION_NAME'])")
        assert printed == f"{(str(folder), str(folder / 'a.ipynb'))}\n"


async def _printed(client: Client, kernel_id: str, expression: str) -> str:
    async with await client.connect(kernel_id) as socket:
        return text_of(await socket.run(f"import os; print({expression})"))


@pytest.fixture
def begin(tmp_path: Path) -> Any:
    with gateways(tmp_path) as begin:
        yield begin


async def test_the_gateway_seeds_them_for_the_request(begin: Begin, tmp_path: Path) -> None:
    code = "import os; seeded = os.environ['KERNEL_USERNAME']"
    seed = write_notebook(tmp_path / "seed.ipynb", code, kernel="python3")
    gateway = begin("--KernelGatewayApp.prewarm=python3=1", seed)
    await asyncio.to_thread(gateway.wait_log, "a prewarmed python3 kernel is ready")
    async with Client(gateway.url) as client:
        kernel_id = await client.start("python3", env={"KERNEL_USERNAME": "alice"})
        assert f"kernel {kernel_id}: using a prewarmed kernel" in gateway.log
        assert await _printed(client, kernel_id, "(seeded, os.environ['KERNEL_GATEWAY'])") == "('alice', '1')\n"


def test_the_gateways_option_is_checked(begin: Begin) -> None:
    for variables, text in (({"KG_PREWARM": "python3"}, "KG_PREWARM='python3'"), ({"KG_PREWARM": "a=-1"}, "prewarm")):
        gateway = begin(env=variables, ready=False)
        assert gateway.process.wait(timeout=60) == 1
        assert text in gateway.log
