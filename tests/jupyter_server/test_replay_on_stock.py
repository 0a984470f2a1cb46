"""The tests of what a client gets that comes back, on a stock Jupyter Server."""

import pytest

from ..server.test_replay import *  # noqa: F403
from ..support.servers import options
from ..support.stock import BeginStock, StockServer
from .conftest import READY


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def small(begin_shared: BeginStock) -> StockServer:
    """As there."""
    return begin_shared(*READY, *options(buffer_max_messages=100, client_max_bytes=8 << 20, restart_limit=0))


@pytest.fixture  # type: ignore[no-redef]
def host(server: StockServer) -> StockServer:
    return server
