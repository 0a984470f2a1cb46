"""/metrics: what Prometheus is told of kernels and clients, by each host of ours."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ..support.client import Client, tidy_client
from ..support.gateways import Gateway, gateways, option
from ..support.kept_servers import is_idle
from ..support.messages import text_of
from ..support.ports import free_port
from ..support.processes import ServerProcess
from ..support.scrapes import grown, numbers, parsed
from ..support.servers import NOT_NEEDED, Launch, Server, options
from ..support.stock import stock_servers
from ..support.waits import until


@pytest.fixture(scope="module", params=["jupyverse", "gateway", "jupyter_server"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    base = tmp_path_factory.mktemp("metrics")
    if request.param == "jupyverse":
        server = Server(base, *options(buffer_max_messages=50, restart_limit=5))
        server.wait_ready()
        yield server
        server.stop()
    elif request.param == "gateway":
        with gateways(base) as begin:
            yield begin("--JupyterWebsocketPersonality.list_kernels=True")
    else:
        with stock_servers(base) as begin_stock:
            yield begin_stock("--FpsMappingKernelManager.prewarm=0")


@pytest.fixture
async def client(host: ServerProcess) -> AsyncIterator[Client]:
    async with tidy_client(host) as client:
        yield client


async def test_a_cell_and_its_client_are_counted(client: Client) -> None:
    before = await numbers(client.http)
    assert before["fps_kernels_info{0.20.0}"] == 1
    kernel_id = await client.start()
    async with await client.connect(kernel_id, session="page") as socket:
        assert text_of(await socket.run("for n in range(7): stream('1234567890')")) == "1234567890" * 7
        during = grown(before, await numbers(client.http))
        assert during["websockets"] == during["websockets_opened_total"] == 1
        assert during["kernels{tiny_plain,idle}"] == during["kernel_start_seconds_count{cold,tiny_plain}"] == 1
        assert 0 < during["kernel_start_seconds_sum{cold,tiny_plain}"] < 60
        assert during["messages_total{shell,to_kernel}"] == during["messages_total{shell,from_kernel}"] == 1
        assert during["messages_total{iopub,from_kernel}"] == 7 + 3  # busy, execute_input, idle
        assert during["message_bytes_total{iopub,from_kernel}"] > 10 * during["messages_total{iopub,from_kernel}"] * 10
        assert during["message_bytes_total{shell,to_kernel}"] > 100
    (await client.http.delete(f"/api/kernels/{kernel_id}")).raise_for_status()
    after = grown(before, await numbers(client.http))
    assert "websockets" not in after
    assert after["messages_total{iopub,from_kernel}"] >= 10  # those of a kernel that is gone stay counted


async def test_restarts_and_deaths_are_counted_by_their_cause(client: Client) -> None:
    before = await numbers(client.http)
    kernel_id = await client.start()
    await client.until_kernel(kernel_id, is_idle)  # one that is starting would be ended before it answers
    (await client.http.post(f"/api/kernels/{kernel_id}/restart")).raise_for_status()
    pid = int(await client.evaluate(kernel_id, "os.getpid()"))
    psutil.Process(pid).send_signal(signal.SIGSEGV)
    await client.until_kernel(kernel_id, lambda model: model["execution_state"] in ("restarting", "starting"))
    await client.until_kernel(kernel_id, is_idle)
    after = grown(before, await numbers(client.http))
    assert after["kernel_restarts_total{user,tiny_plain}"] == after["kernel_restarts_total{death,tiny_plain}"] == 1
    assert after["kernel_deaths_total{tiny_plain,SIGSEGV}"] == 1
    assert after["kernel_start_seconds_count{cold,tiny_plain}"] == 3


async def test_a_start_that_fails_is_counted(client: Client) -> None:
    before = await numbers(client.http)
    await client.http.post("/api/kernels", json={"name": "tiny_exits"})

    async def is_counted() -> bool:
        return grown(before, await numbers(client.http)).get("kernel_start_failures_total{tiny_exits}") == 1

    await until(is_counted)


async def test_what_waited_for_a_client_is_counted_as_replayed(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, session="laptop") as socket:
        await socket.run("import time")
        await socket.execute("time.sleep(0.3)\nfor n in range(10): stream(str(n))")
    before = await numbers(client.http)
    async with await client.connect(kernel_id, session="other") as other:
        await other.run("pass")
        away = grown(before, await numbers(client.http))
        assert away["held_bytes"] > 10
    async with await client.connect(kernel_id, session="laptop") as socket:
        after = grown(before, await numbers(client.http))
        assert after["messages_replayed_total"] >= 10


async def test_what_bounds_and_rate_limits_have_done_is_counted(launch: Launch) -> None:
    server = launch(*options(buffer_max_messages=20, iopub_msg_rate_limit=1, iopub_data_rate_limit=2_000))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id, session="laptop") as socket:
            before = await numbers(client.http)
            await socket.run("for n in range(300): stream('x' * 100)")
            during = grown(before, await numbers(client.http))
            assert during["messages_merged_total"] > 0
            assert during["messages_truncated_total"] > 0
        before = await numbers(client.http)
        async with await client.connect(kernel_id, session="other") as other:
            await other.run("for n in range(300): publish('display_data', {'data': {}, 'metadata': {}})")
            assert (await numbers(client.http))["fps_kernels_sessions_away"] == 1
        async with await client.connect(kernel_id, session="laptop") as socket:
            await socket.until(lambda one: "messages are missing" in one["content"].get("text", ""))
            assert grown(before, await numbers(client.http))["messages_missing_total"] > 200


async def test_kernels_that_are_culled_are_counted(launch: Launch) -> None:
    server = launch(*options(cull_idle_timeout_s=0.2, cull_interval_s=0.1))
    async with Client(server.url) as client:
        await client.start()
        await client.until(lambda kernels: kernels == [])
        assert (await numbers(client.http))["fps_kernels_kernels_culled_total{tiny_plain}"] == 1


def test_who_may_use_the_api_may_scrape_it(tmp_path: Path) -> None:
    """As Prometheus does, with a token in its header; with another one or none nobody may."""
    token = "a-token-of-the-tests"
    lab = ["lab", *(word for name in NOT_NEEDED for word in ("--disable", name)), f"--token={token}"]
    with gateways(tmp_path) as begin:
        for server in (begin(f"--KernelGatewayApp.auth_token={token}"), begin(*lab)):
            url = f"{server.url}/metrics"
            assert httpx.get(url).status_code in (401, 403)
            assert httpx.get(url, headers={"Authorization": "Bearer another"}).status_code in (401, 403)
            response = httpx.get(url, headers={"Authorization": f"Bearer {token}"})
            assert parsed(response)["fps_kernels_websockets"] == 0
            assert parsed(response)["process_resident_memory_bytes"] > 2**20
            assert response.headers["cache-control"] == "no-store"
            accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
            response = httpx.get(url, headers={"Authorization": f"Bearer {token}", **accept})
            assert response.headers["content-type"].startswith("application/openmetrics-text")
            assert response.text.endswith("# EOF\n")


@pytest.fixture(scope="module", params=["gateway", "lab"])
def closed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URLs of a server that asks for a token, and of its numbers on a port of their own."""
    port = free_port()
    if request.param == "gateway":
        words = [option("auth_token", "a-token-of-the-tests"), option("metrics_port", port), option("base_url", "/a/b")]
    else:
        lean = [word for name in NOT_NEEDED for word in ("--disable", name)]
        words = ["lab", *lean, "--port", str(free_port()), "--metrics-port", str(port)]
    with gateways(tmp_path_factory.mktemp("closed")) as begin:
        yield begin(*words).url, f"http://127.0.0.1:{port}"


def test_a_port_of_its_own_needs_no_token(closed: tuple[str, str]) -> None:
    server, metrics = closed
    assert parsed(httpx.get(f"{metrics}/metrics"))["fps_kernels_websockets"] == 0
    assert httpx.head(f"{metrics}/metrics").status_code == 200
    assert httpx.get(f"{server}/metrics").status_code in (401, 403)


def test_a_port_of_its_own_serves_nothing_else(closed: tuple[str, str]) -> None:
    _, metrics = closed
    for path in ("/", "/api/kernels", "/a/b/api/kernels", "/lab", "/metrics/", "/healthz", "//metrics"):
        answer = httpx.get(metrics + path)
        assert (answer.status_code, answer.json()["message"]) == (404, "Not found: only /metrics is served here")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert httpx.request(method, f"{metrics}/metrics").status_code == 405
    with pytest.raises(InvalidStatus), connect(f"ws{metrics[4:]}/api/kernels/x/channels"):
        pass


@pytest.mark.parametrize(
    "headers", [{"Host": "attacker.example"}, {"Origin": "https://attacker.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_pages_of_other_sites_read_no_numbers(closed: tuple[str, str], headers: dict[str, str]) -> None:
    """Nor one whose own name resolves to this machine."""
    _, metrics = closed
    answer = httpx.get(f"{metrics}/metrics", headers=headers)
    assert answer.status_code in (403, 404)
    assert "fps_kernels" not in answer.text


def test_a_port_for_numbers_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lab = ["lab", f"--metrics-port={port}"]
        for words, name in (([option("metrics_port", port)], "metrics_port"), (lab, "--metrics-port")):
            gateway = Gateway(tmp_path, *words)
            assert gateway.wait_end() == 1
            said = f"fps-kernels: {name}: ip=127.0.0.1 port={port}: Address already in use"
            assert gateway.log.splitlines()[-1] == said
