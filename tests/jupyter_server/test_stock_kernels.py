"""Kernels of a stock Jupyter Server: what its users have of ours, and what of theirs stays as it is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import websockets

from ..support.client import Client, Socket
from ..support.kernelspecs import KERNEL, add_kernelspec
from ..support.messages import Json, is_status, of_type, text_of
from ..support.starts import refused_once_named
from ..support.stock import BeginStock, StockServer, since


async def until_idle(client: Client, kernel_id: str) -> Json:
    return await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")


def connection_file(server: StockServer, kernel_id: str) -> Json:
    return json.loads((server.runtime / f"kernel-{kernel_id}.json").read_text())


async def test_the_log_says_who_runs_the_kernels(server: StockServer) -> None:
    assert "fps_kernels 0.20.0 runs the kernels" in server.log.read_text()


@pytest.mark.parametrize("v1", [True, False])
async def test_a_cell_runs(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        assert socket.v1 is v1
        assert text_of(await socket.run("stream('hello')")) == "hello"


async def test_a_start_is_answered_when_the_process_runs(begin: BeginStock) -> None:
    server = begin()
    async with Client(server.url) as client:
        session = await client.start_session(name="tiny_silent")
        assert session["kernel"]["execution_state"] == "starting"
        assert server.process_of(session["kernel"]["id"]).is_running()
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:  # what is sent before the kernel answers runs
            msg_ids = [await socket.execute(f"stream('{number}')") for number in range(20)]
            answers = await socket.all_answers(*msg_ids)
    assert [text_of(answers[msg_id]) for msg_id in msg_ids] == [str(number) for number in range(20)]


@pytest.mark.parametrize("v1", [True, False])
async def test_a_client_that_comes_back_misses_nothing(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1, session="mine") as socket:
        await until_idle(client, kernel_id)
        await socket.execute("import time; stream('a'); time.sleep(0.5); stream('b'); stream('c')")
        await socket.until(lambda m: m["header"]["msg_type"] == "stream")
    await until_idle(client, kernel_id)
    async with await client.connect(kernel_id, v1=v1, session="mine") as socket:
        got = await socket.until(lambda m: m["header"]["msg_type"] == "execute_reply")
        got += await socket.until(lambda m: is_status(m, "idle")) if not any(is_status(m, "idle") for m in got) else []
    assert text_of(got).endswith("bc")


async def test_a_death_is_explained_and_the_kernel_restarted(server: StockServer, client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        await until_idle(client, kernel_id)
        msg_id = await socket.execute("import time; time.sleep(600)")
        await socket.until_status("busy")
        server.process_of(kernel_id).send_signal(signal.SIGKILL)
        answers = await socket.answers(msg_id)
        [error] = of_type(answers, "error")
        assert "killed (SIGKILL)" in error["content"]["evalue"]
        await socket.until_status("idle")
        assert text_of(await socket.run("stream('back')")) == "back"


async def test_a_kernel_that_dies_too_often_stays_with_its_reason_and_can_be_restarted(begin: BeginStock) -> None:
    server = begin("--KernelRestarter.restart_limit=0")
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            await until_idle(client, kernel_id)
            os.kill(server.process_of(kernel_id).pid, signal.SIGKILL)
            await socket.until_status("dead")
            assert [model["id"] for model in await client.kernels()] == [kernel_id]
            response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
            assert response.status_code == 200, response.text
            assert text_of(await socket.run("stream('back')")) == "back"


async def test_a_restart_keeps_ports_key_and_connection_file(server: StockServer, client: Client) -> None:
    kernel_id = await client.start()
    await until_idle(client, kernel_id)
    before, process = connection_file(server, kernel_id), server.process_of(kernel_id)
    async with await client.connect(kernel_id) as socket:
        await socket.run("x = 1")
        response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
        assert (response.status_code, response.json()["execution_state"]) == (200, "idle")
        assert connection_file(server, kernel_id) == before
        assert server.process_of(kernel_id) != process
        assert text_of(await socket.run("stream(str('x' in globals()))")) == "False"


async def test_an_interrupt(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        await until_idle(client, kernel_id)
        msg_id = await socket.execute("import time; stream('asleep'); time.sleep(600)")
        await socket.until(
            lambda message: message["msg_type"] == "stream"
        )  # a kernel ignores SIGINT before a cell runs
        assert (await client.http.post(f"/api/kernels/{kernel_id}/interrupt")).status_code == 204
        [error] = of_type(await socket.answers(msg_id), "error")
    assert error["content"]["ename"] == "KeyboardInterrupt"


async def test_a_kernel_that_is_deleted_leaves_nothing(server: StockServer, client: Client) -> None:
    kernel_id = await client.start()
    await until_idle(client, kernel_id)
    process = server.process_of(kernel_id)
    async with await client.connect(kernel_id) as socket:
        assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
        assert (await socket.closed())[0] == 1000
    await asyncio.to_thread(process.wait, 30)
    assert not any(kernel_id in name for name in server.connection_files())
    assert (await client.http.get(f"/api/kernels/{kernel_id}")).status_code == 404


@pytest.mark.parametrize("path", ["kernels", "sessions"])
async def test_a_launch_that_fails_says_why_and_leaves_nothing(server: StockServer, client: Client, path: str) -> None:
    before = server.connection_files()
    body: Json = {"name": "no_such_program"}
    if path == "sessions":
        body = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": body}
    response = await client.http.post(f"/api/{path}", json=body)
    assert response.status_code == 500
    assert "no-such-program" in response.json()["message"]
    assert (await client.kernels(), server.connection_files()) == ([], before)


async def test_a_start_that_fails_later_says_why(begin: BeginStock) -> None:
    server = begin()
    async with Client(server.url) as client:
        kernel_id = await client.start("tiny_exits")
        await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "dead")
        async with await client.connect(kernel_id) as socket:
            await socket.until_status("dead")
            [reply] = of_type(await socket.run("1"), "execute_reply")
        assert "exited with code 3" in reply["content"]["evalue"]
        with pytest.raises(websockets.InvalidStatus) as refused:  # JupyterLab asks why, and shows a dialog
            await client.connect(kernel_id, origin=client.url)
        assert refused.value.response.status_code == 500


async def test_a_page_is_refused_once_it_has_named_its_session(
    server: StockServer, client: Client, tmp_path: Path
) -> None:
    command = f"until test -e {tmp_path / 'open'}; do sleep 0.05; done; echo no licence >&2; exit 3"
    argv = ["sh", "-c", command, "{connection_file}"]
    add_kernelspec(server.share, "failing", {"argv": argv, "display_name": "Failing", "language": "python"})
    session = await client.start_session(name="failing")
    (tmp_path / "open").touch()
    await client.until_kernel(session["kernel"]["id"], lambda model: model["execution_state"] == "dead")
    assert b"exited with code 3: no licence" in await refused_once_named(client, session)


async def test_max_kernels(begin: BeginStock) -> None:
    server = begin("--FpsMappingKernelManager.max_kernels=1")
    async with Client(server.url) as client:
        first, second = await asyncio.gather(
            *(client.http.post("/api/kernels", json={"name": "tiny_plain"}) for _ in range(2))
        )
        assert sorted([first.status_code, second.status_code]) == [201, 403]
        [kernel] = await client.kernels()
        await client.http.delete(f"/api/kernels/{kernel['id']}")
        await client.start()


async def test_a_start_that_failed_neither_counts_nor_keeps_the_server_from_ending(begin: BeginStock) -> None:
    server = begin("--FpsMappingKernelManager.max_kernels=1")
    async with Client(server.url) as client:
        assert (await client.http.post("/api/kernels", json={"name": "no_such_program"})).status_code == 500
        await client.start()
    assert await asyncio.to_thread(server.stop) == 0


ONCE_TAKEN = """
import json, os, shutil, sys, time
kernel, seen, ends, file = sys.argv[1:]
if not os.path.exists(seen):
    shutil.copy(file, seen)
    port = json.load(open(file))["iopub_port"]
    print(f"zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1:{port}')", file=sys.stderr)
    sys.exit(1) if ends == "True" else time.sleep(600)
os.execv(sys.executable, [sys.executable, kernel, "plain", file])
"""


@pytest.mark.parametrize("ends", [True, False])
async def test_a_kernel_whose_port_is_taken_gets_others(
    server: StockServer, client: Client, tmp_path: Path, ends: bool
) -> None:
    seen = tmp_path / "seen.json"
    argv = [sys.executable, "-c", ONCE_TAKEN, str(KERNEL), str(seen), str(ends), "{connection_file}"]
    add_kernelspec(server.share, f"once_taken_{ends}", {"argv": argv, "display_name": "x", "language": "python"})
    kernel_id = await client.start(f"once_taken_{ends}")
    await until_idle(client, kernel_id)
    first, second = json.loads(seen.read_text()), connection_file(server, kernel_id)
    ports = [name for name in first if name.endswith("_port")]
    assert len(ports) == 5
    assert not {first[name] for name in ports} & {second[name] for name in ports}
    assert first["key"] == second["key"]
    assert await client.evaluate(kernel_id, "'well'") == "well"


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("max_kernels=-1", "greater than or equal to 0"),
        ("buffer_max_messages=0", "greater than or equal to 1"),
        ("heartbeat_timeout_s=0", "greater than 0"),
        ("client_max_bytes=many", "client_max_bytes"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, option: str, what: str) -> None:
    server = StockServer(tmp_path, f"--FpsMappingKernelManager.{option}")
    assert server.wait_end() != 0
    assert what in server.log.read_text()


async def test_clients_are_told_when_the_server_ends(begin: BeginStock) -> None:
    server = begin()
    async with Client(server.url) as client:
        kernel_id = await client.start()
        await until_idle(client, kernel_id)
        process = server.process_of(kernel_id)
        async with await client.connect(kernel_id) as socket:
            await socket.run("1")
            assert await asyncio.to_thread(server.stop) == 0
            assert (await socket.closed())[0] in (1001, 1012)
    await asyncio.to_thread(process.wait, 30)


async def test_kernels_end_with_a_server_that_is_killed(begin: BeginStock) -> None:
    server = begin()
    async with Client(server.url) as client:
        kernel_id = await client.start("tiny_ignores_sigterm")
        await until_idle(client, kernel_id)
        process = server.process_of(kernel_id)
        await asyncio.to_thread(server.stop, signal.SIGKILL)
    await asyncio.to_thread(process.wait, 60)


async def test_the_limits_that_somebody_sets_merge_and_drop_nothing(begin: BeginStock) -> None:
    server = begin("--ZMQChannelsWebsocketConnection.iopub_msg_rate_limit=20")
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            answers = await socket.run("[stream(f'{n},') for n in range(500)]")
    streams = of_type(answers, "stream")
    assert text_of(streams) == "".join(f"{n}," for n in range(500))
    assert len(streams) < 500


async def test_the_default_limits_of_jupyter_server_drop_nothing(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        answers = await socket.run("[stream(f'{n},') for n in range(5000)]")
    assert text_of(answers) == "".join(f"{n}," for n in range(5000))


async def test_message_types_that_are_not_allowed(begin: BeginStock) -> None:
    server = begin("--MappingKernelManager.allowed_message_types=['kernel_info_request']")
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            [reply] = of_type(await socket.run("1"), "execute_reply")
    assert reply["content"]["status"] == "error"
    assert "not allowed" in reply["content"]["evalue"]


async def test_tracebacks_that_are_not_allowed(begin: BeginStock) -> None:
    server = begin("--MappingKernelManager.allow_tracebacks=False")
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            answers = await socket.run("1/0")
    [error] = of_type(answers, "error")
    assert "ZeroDivision" not in json.dumps(error)
    assert "security reasons" in "".join(error["content"]["traceback"])


async def test_compression(begin: BeginStock) -> None:
    server = begin("--ServerApp.websocket_compression_options={}")
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            assert socket.ws.response is not None
            assert "permessage-deflate" in socket.ws.response.headers["Sec-WebSocket-Extensions"]
            assert text_of(await socket.run("stream('x' * 1_000_000)")) == "x" * 1_000_000


async def echo(socket: Socket, size: int) -> int:
    answers = await socket.run(f"stream(str(len({'x' * size!r})))")
    return int(text_of(answers))


async def test_a_message_may_be_larger_than_10_mib(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        assert await echo(socket, 16 * 1024 * 1024) == 16 * 1024 * 1024


async def test_a_malformed_message_closes_its_websocket_only(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as good:
        for v1 in (True, False):
            async with await client.connect(kernel_id, v1=v1) as bad:
                await bad.ws.send(b"\xff" * 10)
                assert (await bad.closed())[0] in (1003, 1007)
        assert text_of(await good.run("stream('well')")) == "well"


async def test_culling_is_jupyter_servers(begin: BeginStock) -> None:
    server = begin("--MappingKernelManager.cull_idle_timeout=1", "--MappingKernelManager.cull_interval=1")
    async with Client(server.url) as client:
        await client.start()
        await client.until(lambda kernels: kernels == [])


async def test_a_kernels_restart_is_told_to_callbacks_and_in_events(begin: BeginStock) -> None:
    server = begin()
    async with Client(server.url) as client:
        url = f"ws{server.url[4:]}/api/events/subscribe"
        async with websockets.connect(url, proxy=None) as events:
            kernel_id = await client.start()
            await client.http.post(f"/api/kernels/{kernel_id}/restart")
            await client.http.delete(f"/api/kernels/{kernel_id}")
            actions = [json.loads(await asyncio.wait_for(events.recv(), 60))["action"] for _ in range(3)]
    assert actions == ["start", "restart", "shutdown"]


async def test_the_gauge_of_kernels(client: Client) -> None:
    async def running() -> float:
        text = (await client.http.get("/metrics")).text
        found = [
            line for line in text.splitlines() if line.startswith('kernel_currently_running_total{type="tiny_plain"')
        ]
        return float(found[0].split()[-1]) if found else 0.0

    before = await running()
    kernel_id = await client.start()
    assert await running() == before + 1
    await client.http.delete(f"/api/kernels/{kernel_id}")
    assert await running() == before


async def test_a_client_needs_the_token(begin: BeginStock) -> None:
    server = begin("--IdentityProvider.token=secret", open_to_all=False)
    async with Client(server.url) as client:
        assert (await client.http.post("/api/kernels")).status_code == 403
        client.http.headers["Authorization"] = "token secret"
        kernel_id = await client.start()
    url = f"ws{server.url[4:]}/api/kernels/{kernel_id}/channels"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(url, proxy=None)
    assert refused.value.response.status_code == 403
    async with websockets.connect(f"{url}?token=secret", proxy=None):
        pass


async def test_a_page_of_another_origin_is_refused(client: Client) -> None:
    kernel_id = await client.start()
    with pytest.raises(websockets.InvalidStatus) as refused:
        await client.connect(kernel_id, origin="http://evil.example")
    assert refused.value.response.status_code == 403


@since("2.21")
async def test_a_kernel_id_that_a_client_chooses_replaces_no_file(server: StockServer, client: Client) -> None:
    chosen = str(uuid.uuid4())
    theirs = server.runtime / f"kernel-{chosen}.json"
    theirs.write_text("a kernel of another server")
    response = await client.http.post("/api/kernels", json={"name": "tiny_plain", "kernel_id": chosen})
    assert (response.status_code, response.json()["id"]) == (201, chosen)
    for _ in range(2):
        async with await client.connect(chosen) as socket:
            assert text_of(await socket.run("stream('mine')")) == "mine"
        assert (await client.http.post(f"/api/kernels/{chosen}/restart")).status_code == 200
    assert (await client.http.delete(f"/api/kernels/{chosen}")).status_code == 204
    assert [path for path in server.runtime.glob(f"kernel-{chosen}*")] == [theirs]
    assert theirs.read_text() == "a kernel of another server"
    theirs.unlink()


@since("2.21")
@pytest.mark.parametrize("chosen", ["", "../x", "/x", "a b", "x\n", "x\x1b", "é", "x" * 101, 1])
async def test_a_kernel_id_that_is_no_name_of_a_file_is_refused(client: Client, chosen: Any) -> None:
    response = await client.http.post("/api/kernels", json={"name": "tiny_plain", "kernel_id": chosen})
    assert (response.status_code, "kernel id" in response.json()["message"]) == (400, True)
    assert await client.kernels() == []
