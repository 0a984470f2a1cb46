"""A real server for the tests, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ..support.client import Client, tidy_client
from ..support.servers import Launch, Server


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """launch(*arguments, full=False, env=None) starts a server of the test's own and waits until it answers."""
    servers: list[Server] = []

    def start(*arguments: str, full: bool = False, env: dict[str, str] | None = None) -> Server:
        server = Server(tmp_path / f"server{len(servers)}", *arguments, full=full, env=env)
        servers.append(server)
        server.wait_ready()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that need no options of their own."""
    server = Server(tmp_path_factory.mktemp("shared"))
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """A client of the shared server; its kernels and sessions are removed after the test."""
    async with tidy_client(server) as client:
        yield client
