"""A real server with shared documents, and notebooks on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from ..support.client import tidy_client
from ..support.documents import Desk
from ..support.servers import NOT_NEEDED_BY_DOCUMENTS, Server, options


@pytest.fixture(scope="session")
def document_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with shared documents, for all tests that need no options of their own."""
    arguments = options(require_yjs=True, restart_limit=1000, start_answer_s=0)
    server = Server(tmp_path_factory.mktemp("documents"), *arguments, disable=NOT_NEEDED_BY_DOCUMENTS)
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def desk(document_server: Server) -> AsyncIterator[Desk]:
    """Notebooks on the server with shared documents; they are closed, and their kernels removed, after the test."""
    async with tidy_client(document_server) as client, Desk(client, document_server.root) as desk:
        yield desk
