"""Clients' sockets that a server hands to the keeper: what becomes of them when it is killed, or closes them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fps_kernels.keeper.last_words import HAND_OVER, MESSAGE, TAKE_BACK
from fps_kernels.kept.client_sockets import ClientSockets

from ..support.keepers import Keepers
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("keepers")

SIZE = 2_000_000
LISTENS = "0A"
"""The state of a socket that listens, in Linux's tables."""
SERVER = """
import socket, sys, time
state, port, size, hand_over = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "True"
client = socket.create_connection(("127.0.0.1", port))
if hand_over:
    import struct
    keeper = socket.socket(socket.AF_UNIX)
    keeper.connect(state)
    socket.send_fds(keeper, [struct.pack("!cQ", b"+", 1)], [client.fileno()])
client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * size)
client.sendall(bytes(size))
print("sent", flush=True)
time.sleep(600)
"""
"""Its socket stands for that of a WebSocket; who is the client of whom in TCP makes no difference."""


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection: of a server, and of its client."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    server.setblocking(False)
    client.settimeout(30)
    with server, client:
        yield server, client


def held(keepers: Keepers) -> int:
    """How many TCP sockets the keeper has: descriptors, as several may be the same socket."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        lines = Path("/proc/net", table).read_text().splitlines()[1:]
        inodes |= {f"socket:[{line.split()[9]}]" for line in lines if line.split()[3] != LISTENS}
    found = 0
    for descriptor in Path("/proc", str(keepers.pid()), "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(descriptor) in inodes
    return found


@pytest.mark.parametrize("hand_over", [True, False])
async def test_a_client_that_sends_hears_all_of_a_killed_server(keepers: Keepers, hand_over: bool) -> None:
    await keepers.connect()
    heard = 0
    with socket.create_server(("127.0.0.1", 0)) as listening:
        words = [str(keepers.state.clients), str(listening.getsockname()[1]), str(SIZE), str(hand_over)]
        pipe = asyncio.subprocess.PIPE
        server = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, *words, stdout=pipe)
        client, _ = await asyncio.to_thread(listening.accept)
        with client, contextlib.suppress(ConnectionError):
            client.settimeout(30)
            assert server.stdout is not None
            assert await server.stdout.readline() == b"sent\n"
            client.sendall(b"nobody will read this")
            server.kill()
            await server.wait()
            while data := await asyncio.to_thread(client.recv, 65_536):
                heard += len(data)
                client.sendall(b"nor this")
    assert (heard == SIZE) is hand_over  # without that, the rest of it is lost: what this test is about


async def test_what_is_taken_back_is_closed_when_the_server_closes_it(
    keepers: Keepers, pair: tuple[socket.socket, socket.socket]
) -> None:
    server, client = pair
    await keepers.connect()
    sockets = ClientSockets(keepers.state.clients)
    sockets.open()
    number = sockets.hand_over(server.fileno())
    await until(lambda: held(keepers) == 1)
    server.send(b"bye")
    sockets.take_back(number)
    server.close()
    assert await asyncio.to_thread(client.recv, 10) == b"bye"
    assert await asyncio.to_thread(client.recv, 10) == b""
    await until(lambda: held(keepers) == 0)
    sockets.close()


async def test_they_are_handed_over_again_to_the_next_program(
    keepers: Keepers, pair: tuple[socket.socket, socket.socket]
) -> None:
    server, client = pair
    keeper = await keepers.connect()
    sockets = ClientSockets(keepers.state.clients)
    sockets.open()
    sockets.hand_over(server.fileno())
    await until(lambda: held(keepers) == 1)
    pid = keepers.pid()
    await keeper.call("restart", timeout_s=60, python=sys.executable, now=False, wait_s=30)
    await until(lambda: held(keepers) == 1)
    assert keepers.pid() == pid
    sockets.close()  # as by the end of the process: the keeper ends the connection in order
    server.close()
    assert await asyncio.to_thread(client.recv, 10) == b""


async def test_garbage_harms_nobody(keepers: Keepers, pair: tuple[socket.socket, socket.socket]) -> None:
    server, _ = pair
    keeper = await keepers.connect()
    sockets = ClientSockets(keepers.state.clients)
    sockets.open()
    sockets.hand_over(server.fileno())
    await until(lambda: held(keepers) == 1)
    before = keepers.process().num_fds()
    for messages in (
        [b"x"],
        [MESSAGE.pack(b"?", 1)],
        [MESSAGE.pack(TAKE_BACK, 2**64 - 1)] * 1_000,
        [os.urandom(1_000)],
        [MESSAGE.pack(HAND_OVER, 7)[:3], MESSAGE.pack(HAND_OVER, 7)[3:]],
    ):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(keepers.state.clients))
            for message in messages:
                socket.send_fds(stranger, [message], [server.fileno()])
    await until(lambda: keepers.process().num_fds() == before)
    assert held(keepers) == 1
    assert (await keeper.call("kernels"))["kernels"] == []
    sockets.close()


async def test_without_a_keeper_a_server_goes_on(keepers: Keepers, pair: tuple[socket.socket, socket.socket]) -> None:
    server, client = pair
    sockets = ClientSockets(keepers.state.path / "nothing.sock")
    sockets.open()
    sockets.take_back(sockets.hand_over(server.fileno()))
    server.close()
    assert await asyncio.to_thread(client.recv, 10) == b""
    sockets.close()
    sockets.close()


async def test_a_keeper_that_hangs_holds_up_nothing_and_ends_nothing(
    keepers: Keepers, pair: tuple[socket.socket, socket.socket]
) -> None:
    server, client = pair
    await keepers.connect()
    sockets = ClientSockets(keepers.state.clients)
    sockets.open()
    first = sockets.hand_over(server.fileno())
    await until(lambda: held(keepers) == 1)
    keepers.process().suspend()
    try:
        for _ in range(2_000):  # more than the system keeps for one that does not read
            sockets.take_back(sockets.hand_over(server.fileno()))
        second = sockets.hand_over(server.fileno())
    finally:
        keepers.process().resume()
    await until(lambda: held(keepers) == 2)
    server.send(b"still there")
    assert await asyncio.to_thread(client.recv, 20) == b"still there"
    sockets.take_back(first)
    sockets.take_back(second)
    await until(lambda: held(keepers) == 0)
    client.send(b"yes")
    await asyncio.sleep(0)
    assert await asyncio.get_running_loop().sock_recv(server, 10) == b"yes"
    sockets.close()


async def test_a_socket_that_cannot_be_handed_over_ends_no_other(
    keepers: Keepers, pair: tuple[socket.socket, socket.socket]
) -> None:
    server, client = pair
    await keepers.connect()
    sockets = ClientSockets(keepers.state.clients)
    sockets.open()
    sockets.hand_over(server.fileno())
    closed = os.dup(server.fileno())
    os.close(closed)
    sockets.hand_over(closed)
    last = sockets.hand_over(server.fileno())
    await until(lambda: held(keepers) == 2)
    sockets.take_back(last)
    await until(lambda: held(keepers) == 1)
    server.send(b"still there")
    assert await asyncio.to_thread(client.recv, 20) == b"still there"
    sockets.close()
