"""What is traced with OpenTelemetry, on all hosts, into a collector that speaks OTLP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from ..support.client import Client
from ..support.collectors import Collector, collecting
from ..support.gateways import Gateway, option
from ..support.ports import free_port
from ..support.servers import NOT_NEEDED, Server, options
from ..support.stock import OPEN, OURS, StockServer

HOSTS = ("gateway", "lab", "jupyverse", "jupyter server")
TRACE = "0af7651916cd43dd8448eb211c80319c"
OF_A_PROXY = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


def lab_options() -> list[str]:
    lean = [word for name in NOT_NEEDED for word in ("--disable", name)]
    return ["lab", "--port", str(free_port()), "--no-token", "--set", "kernels.prewarm=0", *lean]


def begin(host: str, base: Path, env: dict[str, str]) -> Gateway | Server | StockServer:
    """A server that traces."""
    server: Gateway | Server | StockServer
    if host == "gateway":
        words = ["--JupyterWebsocketPersonality.list_kernels=True", option("traces", True)]
        server = Gateway(base, *words, env=env)
    elif host == "lab":
        server = Gateway(base, *lab_options(), "--set", "kernels.traces=true", env=env)
    elif host == "jupyverse":
        server = Server(base, *options(traces=True), env=env)
    else:
        server = StockServer(base, *OPEN, OURS.format("traces", True), env=env)
    return server


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module", params=HOSTS)
def server(
    request: pytest.FixtureRequest, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway | Server | StockServer]:
    collector.spans.clear()
    server = begin(request.param, tmp_path_factory.mktemp("server") / "base", collector.environ)
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def client(server: Gateway | Server | StockServer) -> AsyncIterator[Client]:
    async with Client(server.url) as client:
        yield client


async def test_a_start_and_what_is_executed(client: Client, collector: Collector) -> None:
    kernel_id = await client.start("tiny_plain")
    about = {"jupyter_kernel_id": kernel_id, "jupyter_kernel_name": "tiny_plain"}
    async with await client.connect(kernel_id, session="page-1") as socket:
        await socket.run("import time; secret = 'geheim'; time.sleep(0.2)")
        await socket.run("1 / 0")
        [start] = await collector.wait_for(1, "kernel.start", **about)
        fine, failed = await collector.wait_for(2, "kernel.execute", **about)
    assert not start.failed
    assert start.attributes["jupyter.kernel.start"] == "cold"
    assert start.service == "fps-kernels"
    assert 0 < start.duration_s < 60
    assert fine.duration_s >= 0.2
    assert (fine.attributes["jupyter.reply.status"], fine.failed) == ("ok", False)
    assert fine.attributes["jupyter.session.id"] == "page-1"
    assert (failed.attributes["jupyter.reply.status"], failed.failed) == ("error", True)
    assert failed.attributes["error.type"] == "ZeroDivisionError"
    assert fine.parent == failed.parent == ""
    assert fine.trace_id != failed.trace_id
    assert b"geheim" not in collector.received


async def test_both_protocols_and_all_clients_of_a_kernel(client: Client, collector: Collector) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=False) as one, await client.connect(kernel_id) as other:
        await one.run("1")
        await other.run("2")
        await other.send("kernel_info_request", {})
        await other.run("3")
    spans = await collector.wait_for(3, "kernel.execute", jupyter_kernel_id=kernel_id)
    assert len({span.attributes["jupyter.message.id"] for span in spans}) == 3


async def test_restarts_by_a_user_and_by_a_death(
    server: Gateway | Server | StockServer, client: Client, collector: Collector
) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        assert (await client.http.post(f"/api/kernels/{kernel_id}/restart", headers=OF_A_PROXY)).status_code == 200
        [by_user] = await collector.wait_for(1, "kernel.restart", jupyter_kernel_id=kernel_id)
        await socket.run("1")
        msg_id = await socket.execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        await socket.answers(msg_id)
        by_death = await collector.wait_for(
            1, "kernel.restart", jupyter_kernel_id=kernel_id, jupyter_kernel_restart="death"
        )
        [cell] = await collector.wait_for(1, "kernel.execute", jupyter_message_id=msg_id)
    assert by_user.attributes["jupyter.kernel.restart"] == "user"
    assert not by_user.failed
    assert by_death[0].attributes["jupyter.kernel.death"] == "SIGKILL"
    assert by_death[0].parent == ""
    assert (cell.failed, cell.attributes["error.type"]) == (True, "no_reply")


async def test_a_start_is_part_of_the_trace_of_its_request(
    server: Gateway | Server | StockServer, client: Client, collector: Collector
) -> None:
    """As of a proxy, or of a Hub. A stock Jupyter Server has its own instrumentation for that."""
    answer = await client.http.post("/api/kernels", json={"name": "tiny_plain"}, headers=OF_A_PROXY)
    kernel_id = answer.json()["id"]
    [start] = await collector.wait_for(1, "kernel.start", jupyter_kernel_id=kernel_id)
    if isinstance(server, Gateway):
        assert (start.trace_id, start.parent) == (TRACE, "b7ad6b7169203331")
    else:
        assert start.parent == ""


@pytest.mark.parametrize("sent", ["", "00-zz-1-01", f"00-{'0' * 32}-b7ad6b7169203331-01", "x" * 5000])
async def test_a_trace_that_is_none_is_left_out(client: Client, collector: Collector, sent: str) -> None:
    answer = await client.http.post("/api/kernels", json={"name": "tiny_plain"}, headers={"traceparent": sent})
    [start] = await collector.wait_for(1, "kernel.start", jupyter_kernel_id=answer.json()["id"])
    assert start.parent == ""


async def test_a_start_that_fails(client: Client, collector: Collector) -> None:
    await client.http.post("/api/kernels", json={"name": "tiny_exits"})
    [start] = await collector.wait_for(1, "kernel.start", jupyter_kernel_name="tiny_exits")
    assert start.failed


async def test_what_nobody_waits_for_any_more(client: Client, collector: Collector) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        msg_id = await socket.execute("import time; time.sleep(60)")
        await socket.until_status("busy")
        assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
    [cell] = await collector.wait_for(1, "kernel.execute", jupyter_message_id=msg_id)
    assert cell.failed


# --- ends, and what cannot be done ------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
def test_the_last_spans_are_exported_at_the_end(host: str, collector: Collector, tmp_path: Path) -> None:
    env = collector.environ | {"OTEL_BSP_SCHEDULE_DELAY": "600000", "OTEL_SERVICE_NAME": f"last {host}"}
    server = begin(host, tmp_path / "base", env)
    server.wait_ready()

    assert httpx.post(f"{server.url}/api/kernels", json={"name": "tiny_plain"}, timeout=60).status_code == 201
    server.stop()
    assert [one.name for one in collector.spans if one.service == f"last {host}"] == ["kernel.start"]


@pytest.mark.parametrize("host", HOSTS)
async def test_a_collector_that_is_away_disturbs_nothing(host: str, tmp_path: Path) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    server = begin(host, tmp_path / "base", env)
    server.wait_ready()
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            for _ in range(20):
                await socket.run("1")
    server.stop()
    assert server.process.returncode == 0


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "there is no exporter zipkin"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "carrier pigeon"}, "carrier pigeon: not one of http/protobuf, grpc"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "there is no exporter otlp_proto_grpc"),
    ],
)
@pytest.mark.parametrize("host", HOSTS)
def test_what_cannot_be_configured_is_one_line(host: str, env: dict[str, str], said: str, tmp_path: Path) -> None:
    server = begin(host, tmp_path / "base", env)
    assert server.wait_end() != 0
    log = server.log if isinstance(server, Gateway) else server.log.read_text()
    assert said in log
    if host != "jupyverse":  # which is another program's to say
        assert "Traceback" not in log
