"""JupyterLab whose server is killed and started again, in a real browser: its cell goes on as if nothing had been."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from ..support.gateways import Gateway
from ..support.kept_gateways import KeptGateways, keeping_gateways
from ..support.lab import TIMEOUT_MS, Lab, browser_context, expect_ended, outputs
from ..support.ports import free_port
from ..support.servers import TOKEN
from .test_lab_keeps import OFF

LINES = 400
LOOP = f"import time\nfor n in range({LINES}):\n    print(n, flush=True)\n    time.sleep(0.02)"


@pytest.fixture
def labs(tmp_path: Path) -> Iterator[KeptGateways]:
    with keeping_gateways(tmp_path) as gateways:
        yield gateways


async def test_a_cell_goes_on_in_the_page_over_a_kill_of_its_server(
    labs: KeptGateways, chromium: str, tmp_path: Path
) -> None:
    labconfig = labs.base / "config" / "labconfig"
    labconfig.mkdir(parents=True)
    # Without shared documents: their page asks for a reload when a server has not opened them itself.
    (labconfig / "page_config.json").write_text(json.dumps({"disabledExtensions": dict.fromkeys(OFF, True)}))
    port = str(free_port())
    keep = ("--set", "kernels.keep_kernels=crash", "--set", f"kernels.state_dir={labs.state}")

    def begin() -> Gateway:
        return labs.start("lab", "--port", port, "--port-retries", "0", "--token", TOKEN, *keep)

    server = begin()
    async with browser_context(chromium) as context:
        page = await context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        lab = Lab(page, server.url)
        await page.goto(f"{server.url}/lab?token={TOKEN}")
        await lab.new_notebook()
        assert await lab.run("x = 41; x") == "41"
        cell = await lab.start(LOOP)
        await expect(outputs(cell)).to_contain_text("20\n")
        await page.screenshot(path=tmp_path / "before.png")
        labs.kill(server)
        server = begin()
        await expect(outputs(cell)).to_contain_text(f"{LINES - 1}\n")
        await expect_ended(cell)
        await page.screenshot(path=tmp_path / "after.png")
        assert "".join(await outputs(cell).all_inner_texts()).split() == [str(n) for n in range(LINES)]
        await expect(lab.dialog).to_have_count(0)
        assert await lab.run("x + 1") == "42"
        await page.goto("about:blank")
