"""Processes of a stock Jupyter Server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ..support.client import Client, tidy_client
from ..support.stock import BeginStock, StockServer, stock_servers


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[BeginStock]:
    """Servers of the test's own."""
    with stock_servers(tmp_path) as begin:
        yield begin


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockServer]:
    """One that several tests use."""
    with stock_servers(tmp_path_factory.mktemp("stock")) as begin:
        yield begin()


@pytest.fixture
async def client(server: StockServer) -> AsyncIterator[Client]:
    async with tidy_client(server) as client:
        yield client
