"""Many kernels, at once and one after the other; nothing is left of them."""

from __future__ import annotations

import asyncio

import psutil

from ..support.client import Client
from ..support.kept_mode import KEPT
from ..support.messages import text_of
from ..support.servers import Launch, Server
from ..support.waits import until


def descriptors(server: Server) -> int:
    return psutil.Process(server.process.pid).num_fds()


def children(server: Server) -> list[psutil.Process]:
    """The server's child processes, but for the one watchman of all its kernels."""
    found = psutil.Process(server.process.pid).children()
    return [child for child in found if "kernel-reaper" not in child.cmdline()]


async def until_descriptors(server: Server, number: int) -> None:
    """Closing connections takes the server a moment. Fails when it does not come down to `number`."""
    await until(lambda: descriptors(server) <= number, 10)


async def start_and_stop(server: Server, number: int) -> None:
    """Kernels at once, each executing something on a socket of its own, then deleted at once."""

    async def use(client: Client) -> str:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            assert text_of(await socket.run(f"stream('{kernel_id}')")) == kernel_id
        return kernel_id

    async with Client(server.url) as client:
        kernel_ids = await asyncio.gather(*(use(client) for _ in range(number)))
        assert len(server.kernel_processes()) == len(await client.kernels()) == len(set(kernel_ids)) == number
        responses = await asyncio.gather(*(client.http.delete(f"/api/kernels/{one}") for one in kernel_ids))
        assert {response.status_code for response in responses} == {204}


async def test_twenty_kernels_at_once(launch: Launch) -> None:
    server = launch()
    await start_and_stop(server, 20)
    assert server.kernel_processes() == []
    assert server.connection_files() == []
    assert "Traceback" not in server.log.read_text()


async def test_a_hundred_kernels_leave_nothing(launch: Launch) -> None:
    server = launch()
    await start_and_stop(server, 2)  # what the server opens once and keeps
    before = descriptors(server)
    for _ in range(10):
        await start_and_stop(server, 10)
    assert server.kernel_processes() == []
    assert server.connection_files() == []
    assert children(server) == []
    await until_descriptors(server, before)


async def test_starts_that_fail_leave_nothing(launch: Launch) -> None:
    server = launch()
    async with Client(server.url) as client:
        assert (await client.http.post("/api/kernels", json={"name": "tiny_exits"})).status_code == 500
        before = descriptors(server)
        for name in ("tiny_exits", "no_such_program") * 5:
            assert (await client.http.post("/api/kernels", json={"name": name})).status_code == 500
        await until_descriptors(server, before)
    assert server.connection_files() == []
    assert children(server) == []


async def test_restarts_leave_nothing(launch: Launch) -> None:
    server = launch()
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            await client.http.post(f"/api/kernels/{kernel_id}/restart")
            before = descriptors(server)
            for _ in range(10):
                assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
            await until_descriptors(server, before)
            assert text_of(await socket.run("stream('alive')")) == "alive"
        assert len(server.kernel_processes()) == 1
        assert len(children(server)) == (0 if KEPT else 1)
        assert len(server.connection_files()) == 1


async def test_sockets_leave_nothing(launch: Launch) -> None:
    server = launch()
    async with Client(server.url) as client:
        kernel_id = await client.start()
        before = descriptors(server)
        for _ in range(5):
            sockets = await asyncio.gather(*(client.connect(kernel_id, v1=bool(i % 2)) for i in range(20)))
            await asyncio.gather(*(socket.run("stream('x' * 100_000)") for socket in sockets[:3]))
            for socket in sockets[::2]:
                socket.ws.transport.abort()
            await asyncio.gather(*(socket.ws.close() for socket in sockets[1::2]))
        await client.until_kernel(kernel_id, lambda model: model["connections"] == 0)
        await until_descriptors(server, before)
