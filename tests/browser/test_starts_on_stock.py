"""The tests of what is pressed while a kernel starts, with `jupyter lab`, whose kernels are ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.servers import TOKEN
from ..support.stock import StockServer, begin_stock_pages
from .test_starts import *  # noqa: F403
from .test_starts import Gate, replace_kernelspecs
from .test_starts import pytestmark as pytestmark


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def server(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[StockServer]:
    """`jupyter lab` with kernels that start when a test lets them."""
    server = begin_stock_pages(tmp_path_factory.mktemp("lab"), "jupyter-lab", TOKEN)
    replace_kernelspecs(server.share, gate)
    server.wait_ready(240)  # it imports much
    yield server
    server.stop()
