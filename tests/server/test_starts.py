"""Starts that are answered at once, and what may be asked of a kernel that is starting or restarting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import websockets

from ..support.client import Client, tidy_client
from ..support.kernelspecs import KERNEL, add_kernelspec
from ..support.messages import Json, is_status, of_type, text_of
from ..support.servers import Launch, Server, options
from ..support.starts import refused_once_named


class Gate:
    """What kernels of two kernelspecs wait for: they start, or fail, when it is open."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def open(self) -> None:
        self.file.touch()


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as users have it, but for `restart_answer_s`."""
    base = tmp_path_factory.mktemp("hasty")
    server = Server(base, *options(start_answer_s=0, restart_answer_s=0))
    wait = f"until test -e {base / 'gate'}; do sleep 0.05; done"
    for name, command in {
        "waiting": f"{wait}; exec python {KERNEL} plain $0",
        "failing": f"{wait}; echo no licence >&2; exit 3",
    }.items():
        argv = ["sh", "-c", command, "{connection_file}"]
        add_kernelspec(server.share, name, {"argv": argv, "display_name": name, "language": "python"})
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def client(hasty: Server) -> AsyncIterator[Client]:
    async with tidy_client(hasty) as client:
        yield client


@pytest.fixture
def gate(hasty: Server) -> Iterator[Gate]:
    gate = Gate(hasty.share.parent / "gate")
    gate.file.unlink(missing_ok=True)
    yield gate
    gate.open()


async def until_dead(client: Client, kernel_id: str) -> Json:
    return await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "dead")


async def until_idle(client: Client, kernel_id: str) -> Json:
    return await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")


# --- the answer comes at once ----------------------------------------------------------------------------------------


async def test_a_start_is_answered_at_once_by_each_way_to_ask_for_one(client: Client) -> None:
    kernel = await client.http.post("/api/kernels", json={"name": "tiny_silent"})
    assert (kernel.status_code, kernel.json()["execution_state"]) == (201, "starting")
    session = await client.start_session(name="tiny_silent")
    assert session["kernel"]["execution_state"] == "starting"
    changed = await client.http.patch(f"/api/sessions/{session['id']}", json={"kernel": {"name": "tiny_silent"}})
    assert (changed.status_code, changed.json()["kernel"]["execution_state"]) == (200, "starting")
    kernels = {model["id"] for model in await client.kernels()}
    assert kernels == {kernel.json()["id"], changed.json()["kernel"]["id"]}  # not the one before


async def test_the_kernel_that_a_session_had_before_ends_though_nobody_waits_for_it(
    hasty: Server, client: Client
) -> None:
    session = await client.start_session(name="tiny_ignores_sigterm")
    await until_idle(client, session["kernel"]["id"])
    process = hasty.process_of(session["kernel"]["id"])
    await client.http.patch(f"/api/sessions/{session['id']}", json={"kernel": {"name": "tiny_plain"}})
    assert (await client.http.get(f"/api/kernels/{session['kernel']['id']}")).status_code == 404
    await asyncio.to_thread(process.wait, 30)


async def test_what_is_sent_before_a_kernel_answers_runs_in_order(client: Client, gate: Gate) -> None:
    session = await client.start_session(name="waiting")
    async with await client.connect(session["kernel"]["id"]) as socket:
        await socket.until_status("starting")
        msg_ids = [await socket.execute(f"stream('{number}')") for number in range(20)]
        gate.open()
        answers = await socket.all_answers(*msg_ids)
    assert "".join(text_of(answers[msg_id]) for msg_id in msg_ids) == "".join(map(str, range(20)))
    replies = [m["parent_header"]["msg_id"] for m in socket.received if m["header"]["msg_type"] == "execute_reply"]
    assert replies == msg_ids


async def test_a_launch_that_fails_is_answered_with_the_reason_and_leaves_no_kernel(client: Client) -> None:
    kernel = await client.http.post("/api/kernels", json={"name": "no_such_program"})
    body = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {"name": "no_such_program"}}
    session = await client.http.post("/api/sessions", json=body)
    for response in (kernel, session):
        assert response.status_code == 500
        assert "no-such-program" in response.json()["message"]
    assert (await client.kernels(), (await client.http.get("/api/sessions")).json()) == ([], [])


async def test_a_session_keeps_its_kernel_when_another_cannot_be_launched(client: Client) -> None:
    session = await client.start_session()
    url = f"/api/sessions/{session['id']}"
    response = await client.http.patch(url, json={"kernel": {"name": "no_such_program"}})
    assert response.status_code == 500
    assert "no-such-program" in response.json()["message"]
    assert (await client.http.get(url)).json()["kernel"]["id"] == session["kernel"]["id"]
    assert [model["id"] for model in await client.kernels()] == [session["kernel"]["id"]]


async def test_a_start_that_fails_after_its_launch_is_listed_as_dead_with_the_reason(client: Client) -> None:
    kernel_id = await client.start("tiny_exits")
    reason = (await until_dead(client, kernel_id))["reason"]
    assert "exited with code 3" in reason
    async with await client.connect(kernel_id) as socket:
        await socket.until_status("dead")
        [reply] = of_type(await socket.run("1"), "execute_reply")
        assert reason in reply["content"]["evalue"]
    assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204


@pytest.mark.parametrize("v1", [True, False])
async def test_a_program_that_waits_is_told_why_a_start_fails(client: Client, gate: Gate, v1: bool) -> None:
    kernel_id = await client.start("failing")
    async with await client.connect(kernel_id, v1=v1) as socket:
        msg_ids = [await socket.execute("1"), await socket.send("complete_request", {}), await socket.execute("2")]
        await (await socket.ws.ping())
        gate.open()
        answers = await socket.all_answers(*msg_ids)
        for msg_id in msg_ids:
            [reply] = [m["content"] for m in answers[msg_id] if m["channel"] == "shell"]
            assert reply["status"] == "error"
            assert "exited with code 3: no licence" in reply["evalue"]
        [error] = of_type(answers[msg_ids[0]], "error")  # below the first cell that waits
        assert "exited with code 3: no licence" in error["content"]["evalue"]
        dead = [m for m in socket.received if is_status(m, "dead")] or [await socket.until_status("dead")]
        assert dead[0]["content"]["reason"] == (await client.kernel(kernel_id))["reason"]


async def test_a_page_that_waits_is_led_to_the_reason_of_a_start_that_fails(client: Client, gate: Gate) -> None:
    """JupyterLab has a dialog for a kernel whose WebSocket is refused, and none for one that is told to be dead."""
    session = await client.start_session(name="failing")
    await client.http.patch(f"/api/sessions/{session['id']}", json={"name": "named"})
    kernel_id = session["kernel"]["id"]
    async with await client.connect(kernel_id, origin=client.url) as socket:
        msg_id = await socket.execute("1")
        gate.open()
        [error] = of_type(await socket.answers(msg_id), "error")
        assert "exited with code 3: no licence" in error["content"]["evalue"]
        code, reason = await socket.closed()
        assert (code, reason) == (1011, (await client.kernel(kernel_id))["reason"])
        assert not any(is_status(message, "dead") for message in socket.received)
    with pytest.raises(websockets.InvalidStatus) as refused:
        await client.connect(kernel_id, origin=client.url)
    assert refused.value.response.status_code == 500
    assert b"exited with code 3: no licence" in refused.value.response.body
    await client.http.post(f"/api/kernels/{kernel_id}/restart")
    await until_dead(client, kernel_id)


async def test_a_page_is_refused_once_it_has_named_its_session(client: Client, gate: Gate) -> None:
    session = await client.start_session(name="failing")
    gate.open()
    await until_dead(client, session["kernel"]["id"])
    assert b"exited with code 3: no licence" in await refused_once_named(client, session)


async def test_a_page_may_connect_to_a_kernel_that_died_after_it_was_ready(launch: Launch) -> None:
    server = launch(*options(restart_limit=0))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id, origin=client.url) as socket:
            server.process_of(kernel_id).kill()
            await socket.until_status("dead")
        async with await client.connect(kernel_id, origin=client.url) as socket:
            await socket.until_status("dead")


async def test_a_host_may_wait_with_its_answer(launch: Launch) -> None:
    server = launch(*options(start_answer_s=60))
    async with Client(server.url) as client:
        assert (await client.start_session(name="tiny_slow"))["kernel"]["execution_state"] == "idle"
        response = await client.http.post("/api/kernels", json={"name": "tiny_exits"})
        assert response.status_code == 500
        assert "exited with code 3" in response.json()["message"]


# --- a kernel that is starting or restarting -------------------------------------------------------------------------


async def post(client: Client, kernel_id: str, action: str) -> httpx.Response:
    if action == "delete":
        return await client.http.delete(f"/api/kernels/{kernel_id}")
    return await client.http.post(f"/api/kernels/{kernel_id}/{action}")


@pytest.mark.parametrize("state", ["starting", "restarting"])
async def test_interrupts_and_restarts_do_what_they_say_in_any_order(client: Client, gate: Gate, state: str) -> None:
    kernel_id = await unready(client, gate, state)
    for action in ("interrupt", "restart", "interrupt", "restart", "restart"):
        response = await post(client, kernel_id, action)
        assert response.status_code == (204 if action == "interrupt" else 200), response.text
    both = await asyncio.gather(*(post(client, kernel_id, action) for action in ("restart", "interrupt", "restart")))
    assert [response.status_code for response in both] == [200, 204, 200]
    assert (await client.kernel(kernel_id))["execution_state"] == "restarting"
    gate.open()
    await until_idle(client, kernel_id)
    assert await client.evaluate(kernel_id, "6 * 7") == "42"


@pytest.mark.parametrize("state", ["starting", "restarting"])
@pytest.mark.parametrize("before", [(), ("restart",), ("interrupt", "restart", "restart")])
async def test_a_kernel_is_deleted_twice_at_once(
    hasty: Server, client: Client, gate: Gate, state: str, before: tuple[str, ...]
) -> None:
    kernel_id = await unready(client, gate, state)
    for action in before:
        await post(client, kernel_id, action)
    async with await client.connect(kernel_id) as socket:
        msg_id = await socket.execute("1")
        await (await socket.ws.ping())
        both = await asyncio.gather(*(post(client, kernel_id, "delete") for _ in range(2)))
        assert sorted(response.status_code for response in both) in ([204, 204], [204, 404])  # 404: it is gone already
        assert of_type(await socket.answers(msg_id), "execute_reply")[0]["content"]["status"] == "error"
        assert (await socket.closed())[0] == 1000
    assert await client.kernels() == []
    assert hasty.kernel_processes() == []
    assert hasty.connection_files() == []
    for action in ("interrupt", "restart", "delete"):
        assert (await post(client, kernel_id, action)).status_code == 404


@pytest.mark.parametrize("state", ["starting", "restarting"])
async def test_the_end_of_a_session_ends_its_kernel_that_is_not_ready(
    hasty: Server, client: Client, gate: Gate, state: str
) -> None:
    kernel_id = await unready(client, gate, state)
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"id": kernel_id}}
    session = (await client.http.post("/api/sessions", json=body)).json()
    both = await asyncio.gather(*(client.http.delete(f"/api/sessions/{session['id']}") for _ in range(2)))
    assert sorted(response.status_code for response in both) == [204, 404]
    assert await client.kernels() == []
    assert hasty.kernel_processes() == []


@pytest.mark.parametrize("state", ["starting", "restarting"])
async def test_a_session_leaves_a_kernel_that_is_not_ready(client: Client, gate: Gate, state: str) -> None:
    kernel_id = await unready(client, gate, state)
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"id": kernel_id}}
    session = (await client.http.post("/api/sessions", json=body)).json()
    url = f"/api/sessions/{session['id']}"
    both = await asyncio.gather(*(client.http.patch(url, json={"kernel": {"name": "tiny_plain"}}) for _ in range(2)))
    assert [response.status_code for response in both] == [200, 200]
    kernel = (await client.http.get(url)).json()["kernel"]
    assert [model["id"] for model in await client.kernels()] == [kernel["id"]] != [kernel_id]
    await until_idle(client, kernel["id"])


@pytest.mark.parametrize("restart", [False, True])
async def test_the_server_ends_while_kernels_are_not_ready(launch: Launch, restart: bool) -> None:
    server = launch(*options(start_answer_s=0, restart_answer_s=0))
    async with Client(server.url) as client:
        for _ in range(2):
            kernel_id = await client.start("tiny_silent")
            if restart:
                await post(client, kernel_id, "restart")
    server.stop()
    assert server.kernel_processes() == []
    assert server.connection_files() == []


async def test_a_restart_goes_on_though_its_client_hangs_up(launch: Launch) -> None:
    server = launch(*options(restart_answer_s=3_600))
    async with Client(server.url) as client:
        kernel_id = await client.start("tiny_slow")
        restart = asyncio.create_task(post(client, kernel_id, "restart"))
        await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "restarting")
        restart.cancel()
        await asyncio.gather(restart, return_exceptions=True)
        await until_idle(client, kernel_id)
        assert await client.evaluate(kernel_id, "6 * 7") == "42"


async def unready(client: Client, gate: Gate, state: str) -> str:
    """A kernel that is starting, or restarting, until the gate is opened."""
    if state == "starting":
        return await client.start("waiting")
    gate.open()
    kernel_id = await client.start("waiting")
    await until_idle(client, kernel_id)
    gate.file.unlink()
    response = await post(client, kernel_id, "restart")
    assert (response.status_code, response.json()["execution_state"]) == (200, "restarting")
    return kernel_id
