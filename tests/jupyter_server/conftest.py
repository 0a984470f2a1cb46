"""Processes of a stock Jupyter Server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from ..support.client import Client, tidy_client
from ..support.kept_stock import KeptStock, keeping_stock
from ..support.servers import options
from ..support.stock import BeginStock, StockServer, stock_servers

READY = options(start_answer_s=10)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[BeginStock]:
    """Servers of the test's own."""
    with stock_servers(tmp_path) as begin:
        yield begin


@pytest.fixture
def kept_stock(tmp_path: Path) -> Iterator[KeptStock]:
    """Servers that keep kernels, with folders of the test's own."""
    with keeping_stock(tmp_path) as servers:
        yield servers


@pytest.fixture
def launch(begin: BeginStock) -> BeginStock:
    """The same for tests of other hosts, which want kernels that are ready."""
    return partial(begin, *READY)


@pytest.fixture(scope="module")
def begin_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BeginStock]:
    """Servers that several tests use."""
    with stock_servers(tmp_path_factory.mktemp("stock")) as begin:
        yield begin


@pytest.fixture(scope="module")
def server(begin_shared: BeginStock) -> StockServer:
    """One for all tests that need no options of their own."""
    return begin_shared(*READY)


@pytest.fixture
async def client(server: StockServer) -> AsyncIterator[Client]:
    async with tidy_client(server) as client:
        yield client
