"""What breaks around the server, breaks nothing else: after each fault it answers, and nothing promised is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..support.client import Client, tidy_client
from ..support.keepers import is_running
from ..support.messages import Json, is_status, of_type, pack_default, pack_v1, text_of
from ..support.servers import Launch, Server, options

SEED = 20_261_120


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A server of this module's own, as its kernels die more often than a server may restart them."""
    server = Server(tmp_path_factory.mktemp("faulty"), *options(restart_limit=1000))
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def client(faulty: Server) -> AsyncIterator[Client]:
    async with tidy_client(faulty) as client:
        yield client


async def works(client: Client) -> None:
    """A new kernel starts, runs and stops."""
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        assert text_of(await socket.run("stream('fine')")) == "fine"
    assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204


async def test_each_request_is_answered_once_while_kernels_are_killed(faulty: Server, client: Client) -> None:
    """kill -9 at random moments under load: a reply and an idle for each request, from the kernel or in its place."""
    chance = random.Random(SEED)
    kernels = [await client.start() for _ in range(3)]
    done = asyncio.Event()
    states: list[str] = []
    kills = 0
    whole = "".join(f"{i}," for i in range(200))
    cut = 0

    async def load(kernel_id: str) -> None:
        nonlocal cut
        async with await client.connect(kernel_id, compression=None) as socket:
            while not done.is_set():
                msg_id = await socket.execute("for i in range(200): stream(f'{i},')")
                answers = await socket.answers(msg_id)
                [reply] = of_type(answers, "execute_reply")
                text = text_of(answers)
                # What a killed kernel had not handed to the network is gone, though its reply may have come.
                assert whole.startswith(text)
                cut += text != whole
                states.append(reply["content"]["status"])

    loads = [asyncio.create_task(load(kernel_id)) for kernel_id in kernels]
    while kills < 12 or (set(states) != {"ok", "error"} and kills < 200):
        await asyncio.sleep(chance.uniform(0.05, 0.4))  # the fault comes at no particular moment
        with contextlib.suppress(ValueError, psutil.NoSuchProcess):  # it is between two processes
            faulty.process_of(chance.choice(kernels)).kill()
        kills += 1
    done.set()
    await asyncio.gather(*loads)
    assert set(states) == {"ok", "error"}
    assert cut <= kills
    await works(client)


async def test_sockets_that_are_reset_at_random_lose_no_reply(client: Client) -> None:
    """After a reset the same session gets the reply and the idle of what it asked for before."""
    chance = random.Random(SEED)
    kernel_id = await client.start()
    for round_ in range(20):
        session = f"reset-{round_}"
        socket = await client.connect(kernel_id, session=session, compression=None)
        msg_id = await socket.execute("import time\nfor i in range(20): stream('x'); time.sleep(0.002)")
        for _ in range(chance.randrange(8)):
            await socket.receive()
        socket.ws.transport.abort()
        async with await client.connect(kernel_id, session=session, compression=None) as again:
            assert of_type(await again.answers(msg_id), "execute_reply")
    await works(client)


async def test_restarts_and_deletes_at_once_end_in_a_clean_server(faulty: Server, client: Client) -> None:
    chance = random.Random(SEED)
    kernels = [await client.start() for _ in range(6)]
    calls = []
    for kernel_id in kernels:
        urls = [("POST", "restart"), ("POST", "restart"), ("POST", "interrupt"), ("DELETE", ""), ("DELETE", "")]
        chance.shuffle(urls)
        calls += [client.http.request(method, f"/api/kernels/{kernel_id}/{one}".rstrip("/")) for method, one in urls]
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} <= {200, 204, 404, 409}
    assert [model["id"] for model in await client.kernels() if model["id"] in kernels] == []
    assert faulty.kernel_processes() == []
    await works(client)


def frames_from_hell() -> st.SearchStrategy[bytes | str]:
    """Anything, and whole messages with something broken in them."""
    message: Json = {
        "channel": "shell",
        "header": {"msg_id": "m", "msg_type": "kernel_info_request", "session": "s", "username": "", "version": "5.4"},
        "parent_header": {},
        "metadata": {},
        "content": {},
        "buffers": [b"buffer"],
    }
    whole = [pack_v1(message), pack_default(message)]

    def damage(data: bytes, position: int, piece: bytes) -> bytes:
        position %= len(data)
        return data[:position] + piece + data[position + len(piece) :]

    damaged = st.builds(damage, st.sampled_from(whole), st.integers(0, 500), st.binary(min_size=1, max_size=8))
    return st.one_of(st.binary(max_size=200), st.text(max_size=200), damaged)


@pytest.mark.parametrize("v1", [True, False])
async def test_a_fuzzer_at_the_websocket_hurts_only_itself(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    loop = asyncio.get_running_loop()

    async def throw(frames: list[bytes | str]) -> None:
        async with await client.connect(kernel_id, v1=v1) as socket:
            with contextlib.suppress(websockets.ConnectionClosed):
                for frame in frames:
                    await socket.ws.send(frame)
            with contextlib.suppress(websockets.ConnectionClosed):
                await socket.ws.ping()

    @settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(frames_from_hell(), min_size=1, max_size=4))
    def fuzz(frames: list[bytes | str]) -> None:
        asyncio.run_coroutine_threadsafe(throw(frames), loop).result(30)

    async with await client.connect(kernel_id) as bystander:
        await asyncio.to_thread(fuzz)
        assert text_of(await bystander.run("stream('unharmed')")) == "unharmed"


@pytest.mark.parametrize("path", ["/api/kernels", "/api/sessions"])
async def test_a_fuzzer_at_the_rest_api_never_gets_a_500(client: Client, path: str) -> None:
    loop = asyncio.get_running_loop()
    names = st.sampled_from(["name", "path", "type", "env", "kernel", "kernel_id", "notebook", "id"])
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
    values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=8)
    bodies = values.filter(lambda value: value is not None and value != {})

    async def post(body: object) -> int:
        response = await client.http.post(path, json=body)
        if response.status_code == 201:
            await client.http.delete(f"{path}/{response.json()['id']}")
        return response.status_code

    @settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck))
    @given(bodies)
    def fuzz(body: object) -> None:
        status = asyncio.run_coroutine_threadsafe(post(body), loop).result(60)
        assert status in (201, 400, 404, 422), body

    await asyncio.to_thread(fuzz)
    await works(client)


def fill(path: Path) -> None:
    """Write until the disk takes no more."""
    with path.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(1024))
    assert not shutil.disk_usage(path.parent).free


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own with no room left, but for a file `ballast`."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", folder], capture_output=True)
    if mount.returncode:
        pytest.skip(f"no file system can be mounted here: {mount.stderr.decode().strip()}")
    try:
        fill(folder / "ballast")
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


async def test_a_full_disk_for_connection_files_is_a_clear_error_and_recovers(full_disk: Path, launch: Launch) -> None:
    server = launch(*options(connection_dir=str(full_disk)))
    async with Client(server.url) as client:
        response = await client.http.post("/api/kernels", json={"name": "tiny_plain"})
        assert response.status_code == 500
        assert "could not be started: No space left on device" in response.json()["message"]
        assert await client.kernels() == []
        assert server.kernel_processes() == []
        assert os.listdir(full_disk) == ["ballast"]  # no half of a connection file
        (full_disk / "ballast").unlink()
        await works(client)


async def test_a_place_for_connection_files_that_takes_none_is_a_clear_error(launch: Launch) -> None:
    """The folder is there, but nothing can be written."""
    server = launch(*options(connection_dir="/proc/self/task"))
    async with Client(server.url) as client:
        response = await client.http.post("/api/kernels", json={"name": "tiny_plain"})
        assert response.status_code == 500
        assert "could not be started" in response.json()["message"]
        assert "/proc" not in response.json()["message"]
        assert await client.kernels() == []
        assert server.kernel_processes() == []


async def test_a_server_without_free_descriptors_refuses_kernels_and_recovers(launch: Launch) -> None:
    server = launch()
    process = psutil.Process(server.process.pid)
    async with Client(server.url) as client:
        await works(client)  # all that is imported on first use is there
        limits = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (10, limits[1]))  # the numbers below it are all in use
        response = await client.http.post("/api/kernels", json={"name": "tiny_plain"})
        assert response.status_code == 500
        assert server.process.poll() is None
        process.rlimit(psutil.RLIMIT_NOFILE, limits)
        await works(client)
        assert server.kernel_processes() == []


async def test_a_stopped_kernel_holds_up_neither_the_server_nor_its_end(launch: Launch) -> None:
    """SIGSTOP: it neither answers nor reads; it is still killed in the end."""
    server = launch(*options(shutdown_wait_time_s=1))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        process = server.process_of(kernel_id)
        process.suspend()
        async with await client.connect(kernel_id) as socket:
            for _ in range(100):
                await socket.execute("stream('x' * 10_000)")
            await works(client)
        async with asyncio.timeout(60):
            assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
    assert not is_running(process)


async def test_idle_is_heard_after_every_fault(client: Client) -> None:
    """A client that stays connected through the death of its kernel ends with an idle kernel."""
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        msg_id = await socket.execute("import os; os.kill(os.getpid(), 9)")
        answers = await socket.answers(msg_id)
        [reply] = of_type(answers, "execute_reply")
        assert reply["content"]["ename"] == "DeadKernelError"
        await socket.until(lambda message: is_status(message, "restarting"))
        await socket.until_status("idle")
        assert text_of(await socket.run("stream('back')")) == "back"
