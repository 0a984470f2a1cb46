"""The tests of other hosts on today's Jupyverse: all their servers are processes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ..support.client import Client, tidy_client
from ..support.fps_servers import generation as generation
from ..support.fps_servers import today as today
from ..support.servers import Launch, Server

FOLDER = Path(__file__).parent


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """As for other hosts: launch(*arguments, env=None) starts a server of the test's own."""
    servers: list[Server] = []

    def start(*arguments: str, env: dict[str, str] | None = None) -> Server:
        server = Server(tmp_path / f"server{len(servers)}", *arguments, env=env)
        servers.append(server)
        server.wait_ready()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(today: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests that need no options of their own."""
    server = Server(tmp_path_factory.mktemp("shared"))
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with tidy_client(server) as client:
        yield client


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out paths that are no UTF-8: anycorn answers those by itself, with 400."""
    left_out = [item for item in items if FOLDER in item.path.parents and "%ff" in item.name]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
