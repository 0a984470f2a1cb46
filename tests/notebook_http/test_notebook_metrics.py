"""/metrics of a notebook that answers requests."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ..support.apis import FOREVER, Serve
from ..support.client import Client
from ..support.scrapes import grown, numbers
from ..support.waits import until


async def test_requests_are_counted_by_endpoint_and_status(serve: Serve, tmp_path: Path) -> None:
    gateway = serve("# GET /hello/:name\nstream('hello')", "# GET /bad\n1 / 0", FOREVER)
    async with Client(gateway.url) as client:
        before = await numbers(client.http)
        assert [(await client.http.get(f"/hello/{name}")).status_code for name in "abc"] == [200] * 3
        assert (await client.http.get("/bad")).status_code == 500
        assert (await client.http.get("/none")).status_code == 404
        after = grown(before, await numbers(client.http))
        assert after["http_requests_total{/hello/:name,GET,200}"] == 3
        assert after["http_requests_total{/bad,GET,500}"] == 1
        assert after["http_request_seconds_count{/hello/:name,GET}"] == 3
        assert after["http_wait_seconds_count"] == 4
        assert not any("none" in name for name in after)
        began = tmp_path / "began"
        runs = asyncio.create_task(client.http.get("/forever", params={"started": str(began)}))
        await until(began.exists)
        waits = asyncio.create_task(client.http.get("/hello/d"))

        async def one_waits() -> bool:
            now = await numbers(client.http)
            return (now["fps_kernels_http_kernels{running}"], now["fps_kernels_http_requests_waiting"]) == (1, 1)

        await until(one_waits)
        runs.cancel()  # its client hangs up, and the kernel is interrupted
        assert (await waits).status_code == 200
        await until(lambda: is_counted(client, "http_requests_total{/forever,GET,499}"))


async def is_counted(client: Client, name: str) -> bool:
    return (await numbers(client.http)).get(f"fps_kernels_{name}") == 1


async def test_a_notebook_may_have_metrics_of_its_own(serve: Serve) -> None:
    gateway = serve("# GET /metrics\nstream('mine')")
    async with Client(gateway.url) as client:
        assert (await client.http.get("/metrics")).text == "mine"
