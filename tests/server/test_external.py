"""Kernels that others start: they are found by their connection files, and left alone."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from ..support.client import Client
from ..support.externals import CHANNELS, ExternalKernel
from ..support.messages import Json, text_of
from ..support.servers import Launch, Server, options

SLEEP = "import time; stream('on')\nwhile True: time.sleep(0.05)"


Run = Callable[..., ExternalKernel]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """run(mode="plain", transport="tcp") starts an external kernel, which is ended after the test."""
    kernels: list[ExternalKernel] = []

    def start(mode: str = "plain", transport: str = "tcp") -> ExternalKernel:
        kernels.append(ExternalKernel(tmp_path, mode, transport))
        return kernels[-1]

    yield start
    for kernel in kernels:
        kernel.stop()


def arguments(folder: Path) -> list[str]:
    return options(allow_external_kernels=True, external_connection_dir=str(folder))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the server watches. It makes it."""
    return tmp_path_factory.mktemp("external") / "made" / "by" / "the" / "server"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, watched: Path) -> Iterator[Server]:
    """A server that takes in external kernels, and may start none of its own."""
    server = Server(tmp_path_factory.mktemp("host"), *arguments(watched), *options(max_kernels=0))
    server.wait_ready()
    yield server
    server.stop()


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture
async def visitor(host: Server, watched: Path) -> AsyncIterator[Client]:
    """A client of the host; there are no external kernels before and after the test."""
    async with Client(host.url) as client:
        yield client
        clear(watched)
        await client.until(lambda kernels: not kernels)


async def appeared(client: Client, name: str = "external_plain", state: str = "idle") -> Json:
    """Wait until there is one kernel of this name, in this state; returns its model."""

    def is_there(kernels: list[Json]) -> bool:
        return [model["execution_state"] for model in kernels if model["name"] == name] == [state]

    return next(model for model in await client.until(is_there) if model["name"] == name)


# --- coming ---------------------------------------------------------------------------------------


async def test_an_external_kernel_is_listed(visitor: Client, watched: Path, run: Run) -> None:
    run().show(watched)
    model = await appeared(visitor)
    assert model["connections"] == 0
    assert model == await visitor.kernel(model["id"])


@pytest.mark.parametrize(
    ("v1", "transport"), [(True, "tcp"), (False, "tcp"), (True, "ipc")], ids=["v1", "default", "ipc"]
)
async def test_an_external_kernel_executes(visitor: Client, watched: Path, run: Run, v1: bool, transport: str) -> None:
    kernel = run(transport=transport)
    kernel.show(watched)
    model = await appeared(visitor)
    async with await visitor.connect(model["id"], v1=v1) as socket:
        answers = await socket.run("import os; stream(str(os.getpid()))")
    assert text_of(answers) == str(kernel.process.pid)


async def test_a_session_attaches_to_an_external_kernel(visitor: Client, watched: Path, run: Run) -> None:
    run().show(watched)
    model = await appeared(visitor)
    session = await visitor.start_session(kernel={"id": model["id"]})
    assert session["kernel"]["id"] == model["id"]


async def test_several_external_kernels(visitor: Client, watched: Path, run: Run) -> None:
    for mode in ("plain", "message_interrupt"):
        run(mode).show(watched)
    plain, other = await appeared(visitor), await appeared(visitor, "external_message_interrupt")
    assert plain["id"] != other["id"]


async def test_a_busy_external_kernel_is_attached(visitor: Client, watched: Path, run: Run) -> None:
    kernel = run()
    shown = kernel.show(watched)
    model = await appeared(visitor)
    async with await visitor.connect(model["id"]) as socket:
        await socket.execute(SLEEP)
        await socket.until(lambda m: m["msg_type"] == "stream")
        shown.unlink()
        await socket.closed()
    kernel.show(watched)
    again = await appeared(visitor, state="busy")
    assert again["id"] == model["id"]


async def test_external_kernels_do_not_count_as_started(visitor: Client, watched: Path, run: Run) -> None:
    run().show(watched)
    await appeared(visitor)  # though max_kernels is 0
    assert (await visitor.http.post("/api/kernels", json={"name": "tiny_plain"})).status_code == 403


async def test_a_kernel_that_is_there_before_the_server_is_found(launch: Launch, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    run().show(folder)
    server = launch(*arguments(folder))
    async with Client(server.url) as client:
        await appeared(client)


async def test_the_same_file_has_the_same_id_in_another_run(launch: Launch, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    run().show(folder)
    ids = set()
    for _ in range(2):
        server = launch(*arguments(folder))
        async with Client(server.url) as client:
            ids.add((await appeared(client))["id"])
        server.stop()
    assert len(ids) == 1
    assert uuid.UUID(ids.pop())


# --- files that are none, or not yet --------------------------------------------------------------


async def test_a_half_written_file_is_ignored_until_it_is_whole(visitor: Client, watched: Path, run: Run) -> None:
    late, marker = run("message_interrupt"), run()
    whole = late.file.read_bytes()
    shown = watched / late.name
    shown.write_bytes(whole[: len(whole) // 2])
    marker.show(watched)
    model = await appeared(visitor)
    assert await visitor.kernels() == [model]
    with shown.open("ab") as file:
        file.write(whole[len(whole) // 2 :])
    await appeared(visitor, "external_message_interrupt")


def broken(**changes: object) -> bytes:
    whole = {f"{channel}_port": 1 for channel in CHANNELS} | {"ip": "127.0.0.1", "key": "k", "transport": "tcp"}
    return json.dumps({key: value for key, value in (whole | changes).items() if value is not None}).encode()


async def test_files_that_are_no_connection_files_are_ignored(visitor: Client, watched: Path, run: Run) -> None:
    files = {
        "empty": b"",
        "binary": b"\0\xff" * 100,
        "list": b"[]",
        "object": b"{}",
        "nested": b"[" * 50_000,
        "huge": broken(padding="x" * 200_000),
        "enormous": b" " * 20_000_000,
        "no port": broken(shell_port=None),
        "port no number": broken(iopub_port="x"),
        "port too large": broken(hb_port=70_000),
        "port negative": broken(hb_port=-1),
        "no ip": broken(ip=None),
        "ip no string": broken(ip=5),
        "transport": broken(transport="carrier pigeon"),
        "scheme": broken(signature_scheme="none"),
        "scheme no string": broken(signature_scheme=5),
        "key no string": broken(key=5),
    }
    for name, data in files.items():
        (watched / f"{name}.json").write_bytes(data)
    (watched / "folder.json").mkdir()
    (watched / "nowhere.json").symlink_to(watched / "nothing")
    os.mkfifo(watched / "pipe.json")
    marker = run()
    (watched / "other.txt").write_bytes(marker.file.read_bytes())
    marker.show(watched)
    model = await appeared(visitor)
    assert await visitor.kernels() == [model]


# --- life -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "action"), [("DELETE", ""), ("POST", "/restart")])
async def test_an_external_kernel_is_not_ours_to_end(
    visitor: Client, watched: Path, run: Run, method: str, action: str
) -> None:
    kernel = run()
    kernel.show(watched)
    model = await appeared(visitor)
    response = await visitor.http.request(method, f"/api/kernels/{model['id']}{action}")
    assert response.status_code == 403
    assert "external" in response.json()["message"]
    assert await visitor.kernels() == [model]
    assert await visitor.evaluate(model["id"], "os.getpid()") == str(kernel.process.pid)


async def test_an_external_kernel_that_is_still_starting_becomes_idle(visitor: Client, watched: Path, run: Run) -> None:
    run("control_first").show(watched)
    await appeared(visitor, "external_control_first", "idle")


async def test_an_external_kernel_outlives_its_sessions(visitor: Client, watched: Path, run: Run) -> None:
    run().show(watched)
    model = await appeared(visitor)
    session = await visitor.start_session(kernel={"id": model["id"]})
    assert (await visitor.http.delete(f"/api/sessions/{session['id']}")).status_code == 204
    assert await visitor.evaluate(model["id"], "'alive'") == "alive"


async def test_an_external_kernel_is_interrupted_by_message(visitor: Client, watched: Path, run: Run) -> None:
    run("message_interrupt").show(watched)
    model = await appeared(visitor, "external_message_interrupt")
    async with await visitor.connect(model["id"]) as socket:
        msg_id = await socket.execute(SLEEP)
        await socket.until(lambda m: m["msg_type"] == "stream")
        assert (await visitor.http.post(f"/api/kernels/{model['id']}/interrupt")).status_code == 204
        [reply] = [m for m in await socket.answers(msg_id) if m["msg_type"] == "execute_reply"]
    assert reply["content"]["ename"] == "Interrupted"


# --- going ----------------------------------------------------------------------------------------


async def test_the_removal_of_the_file_removes_the_kernel(visitor: Client, watched: Path, run: Run) -> None:
    kernel = run()
    shown = kernel.show(watched)
    model = await appeared(visitor)
    session = await visitor.start_session(kernel={"id": model["id"]})
    async with await visitor.connect(model["id"]) as socket:
        shown.unlink()
        assert (await socket.closed())[0] == 1000
        assert socket.received[-1]["content"]["execution_state"] == "dead"
    await visitor.until(lambda kernels: not kernels)
    assert (await visitor.http.get(f"/api/sessions/{session['id']}")).status_code == 404
    assert kernel.process.poll() is None


async def test_a_file_that_comes_back_has_its_id_back(visitor: Client, watched: Path, run: Run) -> None:
    kernel = run()
    shown = kernel.show(watched)
    first = await appeared(visitor)
    shown.unlink()
    await visitor.until(lambda kernels: not kernels)
    kernel.show(watched)
    assert (await appeared(visitor))["id"] == first["id"]
    assert await visitor.evaluate(first["id"], "'alive'") == "alive"


async def test_a_file_that_changes_is_another_kernel_under_the_same_id(
    visitor: Client, watched: Path, run: Run
) -> None:
    old, new = run(), run("message_interrupt")
    shown = old.show(watched)
    model = await appeared(visitor)
    new.show(watched).rename(shown)
    assert (await appeared(visitor, "external_message_interrupt"))["id"] == model["id"]
    assert await visitor.evaluate(model["id"], "os.getpid()") == str(new.process.pid)


async def test_the_end_of_the_server_leaves_an_external_kernel_running(
    launch: Launch, tmp_path: Path, run: Run
) -> None:
    folder = tmp_path / "watched"
    kernel = run()
    servers = [launch(*arguments(folder)) for _ in range(2)]
    async with Client(servers[0].url) as leaving, Client(servers[1].url) as staying:
        shown = kernel.show(folder)
        await appeared(leaving)
        model = await appeared(staying)
        assert servers[0].stop() in (0, 143, -15)
        assert shown.exists()
        assert await staying.evaluate(model["id"], "os.getpid()") == str(kernel.process.pid)


# --- dying ----------------------------------------------------------------------------------------

GONE = "The kernel died: nothing listens on its ports any more"


async def dead(client: Client, kernel_id: str) -> Json:
    return await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "dead")


@pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])
async def test_a_kernel_that_is_killed_is_dead_and_its_requests_are_answered(
    visitor: Client, watched: Path, run: Run, v1: bool
) -> None:
    kernel = run()
    kernel.show(watched)
    model = await appeared(visitor)
    async with await visitor.connect(model["id"], v1=v1) as socket:
        running = await socket.execute(SLEEP)
        await socket.until(lambda m: m["msg_type"] == "stream")
        waiting = await socket.execute("1")
        kernel.stop()
        answers = await socket.all_answers(running, waiting)
        for msg_id in (running, waiting):
            [reply] = [m for m in answers[msg_id] if m["msg_type"] == "execute_reply"]
            assert (reply["content"]["status"], reply["content"]["evalue"]) == ("error", GONE)
        if not any(m["content"].get("execution_state") == "dead" for m in socket.received):
            await socket.until_status("dead")
        late = await socket.execute("2")
        [reply] = [m for m in await socket.answers(late) if m["msg_type"] == "execute_reply"]
        assert GONE in reply["content"]["evalue"]
    assert (await dead(visitor, model["id"]))["reason"] == GONE
    response = await visitor.http.post(f"/api/kernels/{model['id']}/interrupt")
    assert (response.status_code, GONE in response.json()["message"]) == (409, True)


async def test_a_dead_kernel_can_be_removed_and_comes_back_with_its_file(
    visitor: Client, watched: Path, run: Run
) -> None:
    kernel = run()
    shown = kernel.show(watched)
    model = await appeared(visitor)
    session = await visitor.start_session(kernel={"id": model["id"]})
    kernel.stop()
    await dead(visitor, model["id"])
    assert (await visitor.http.delete(f"/api/kernels/{model['id']}")).status_code == 204
    assert (await visitor.http.get(f"/api/sessions/{session['id']}")).status_code == 404
    marker = run("message_interrupt")
    marker.show(watched)
    other = await appeared(visitor, "external_message_interrupt")  # so the folder has been looked at since
    assert await visitor.kernels() == [other]
    assert shown.exists()
    kernel.restart()
    os.utime(shown)
    assert (await appeared(visitor))["id"] == model["id"]
    assert await visitor.evaluate(model["id"], "os.getpid()") == str(kernel.process.pid)


async def test_a_dead_kernel_goes_with_its_file(visitor: Client, watched: Path, run: Run) -> None:
    kernel = run()
    shown = kernel.show(watched)
    model = await appeared(visitor)
    kernel.stop()
    await dead(visitor, model["id"])
    shown.unlink()
    await visitor.until(lambda kernels: not kernels)


async def test_a_kernel_that_its_owner_restarts_is_back(visitor: Client, watched: Path, run: Run) -> None:
    kernel = run()
    kernel.show(watched)
    model = await appeared(visitor)
    session = await visitor.start_session(kernel={"id": model["id"]})
    async with await visitor.connect(model["id"]) as socket:
        running = await socket.execute(SLEEP)
        await socket.until(lambda m: m["msg_type"] == "stream")
        kernel.restart()
        [reply] = [m for m in await socket.answers(running) if m["msg_type"] == "execute_reply"]
        assert reply["content"]["status"] == "error"
    await visitor.until_kernel(model["id"], lambda model: model["execution_state"] == "idle")
    assert await visitor.evaluate(model["id"], "os.getpid()") == str(kernel.process.pid)
    assert (await visitor.http.get(f"/api/sessions/{session['id']}")).json()["kernel"]["id"] == model["id"]


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that soon takes silence for death."""
    base = tmp_path_factory.mktemp("hasty")
    server = Server(base, *arguments(base / "watched"), *options(external_heartbeat_timeout_s=5))
    server.wait_ready()
    yield server
    server.stop()


async def test_a_kernel_that_hangs_is_dead_until_it_goes_on(hasty: Server, run: Run) -> None:
    kernel = run()
    async with Client(hasty.url) as client:
        shown = kernel.show(hasty.log.parent / "watched")
        model = await appeared(client)
        async with await client.connect(model["id"]) as socket:
            await socket.run("1")
            kernel.process.send_signal(signal.SIGSTOP)
            msg_id = await socket.execute("2")
            [reply] = [m for m in await socket.answers(msg_id) if m["msg_type"] == "execute_reply"]
            assert "it has not answered its heartbeat for 5 s" in reply["content"]["evalue"]
        await dead(client, model["id"])
        kernel.process.send_signal(signal.SIGCONT)
        await client.until_kernel(model["id"], lambda model: model["execution_state"] == "idle")
        assert await client.evaluate(model["id"], "os.getpid()") == str(kernel.process.pid)
        shown.unlink()
        await client.until(lambda kernels: not kernels)


async def test_a_file_that_a_kernel_left_is_told_and_can_be_removed(hasty: Server, run: Run) -> None:
    kernel = run()
    kernel.stop()
    async with Client(hasty.url) as client:
        shown = kernel.show(hasty.log.parent / "watched")
        [model] = await client.until(lambda kernels: kernels and kernels[0]["execution_state"] == "dead")
        assert model["reason"] == "The kernel cannot be reached: nothing listens on its ports"
        kernel.restart()  # it was only late
        await client.until_kernel(model["id"], lambda model: model["execution_state"] == "idle")
        kernel.stop()
        await dead(client, model["id"])
        assert (await client.http.delete(f"/api/kernels/{model['id']}")).status_code == 204
        assert await client.kernels() == []
        shown.unlink()


async def test_files_and_kernels_with_odd_names(visitor: Client, watched: Path, run: Run) -> None:
    names = [b"sp ace.json", b".hidden.json", "größe.json".encode(), b"not-utf-8-\xff.json", b"line\nend.json"]
    kernel = run()
    info = json.loads(kernel.file.read_text())
    for number, name in enumerate(names):
        text = json.dumps(info | {"kernel_name": f"{number}\n\ud800\x1b[2J"})
        (watched / os.fsdecode(name)).write_text(text)
    kernels = await visitor.until(lambda kernels: len(kernels) == len(names))
    assert len({model["id"] for model in kernels}) == len(names)
    assert sorted(model["name"] for model in kernels) == [f"{number}\\n\\ud800\\x1b[2J" for number in range(5)]
    for model in kernels:
        await visitor.until_kernel(model["id"], lambda model: model["execution_state"] == "idle")
        assert await visitor.evaluate(model["id"], "os.getpid()") == str(kernel.process.pid)
