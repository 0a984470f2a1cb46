"""Cells of the shared documents of jupyter-collaboration, which a stock Jupyter Server executes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pycrdt
import pytest

from ..execution.test_execution import *  # noqa: F403
from ..execution.test_execution_order import *  # noqa: F403
from ..execution.test_execution_outputs import *  # noqa: F403
from ..execution.test_execution_stdin import *  # noqa: F403
from ..execution.test_odd_kernels_execute import *  # noqa: F403
from ..support.client import tidy_client
from ..support.collaboration import begin_collaborating, collaboration_venv
from ..support.documents import Desk
from ..support.servers import options
from ..support.stock import BeginStock, StockServer

del test_cells_wait_for_a_kernel_that_starts  # noqa: F821  # here, such a kernel is listed only with start_answer_s=0
if not hasattr(pycrdt, "Provider"):
    # pycrdt 0.9, which fps-yjs needs, cuts the ids of newer ones, and does not find what it is to delete.
    del test_outputs_that_a_user_clears_while_the_cell_runs_stay_cleared  # noqa: F821

pytestmark = pytest.mark.timeout(1200)  # with the installation of the venv


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collaboration_venv(tmp_path_factory)


@pytest.fixture(scope="module")
def begin_shared(venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BeginStock]:
    """Servers with shared documents, which several tests use."""
    with begin_collaborating(venv, tmp_path_factory.mktemp("collaboration")) as begin:
        yield begin


@pytest.fixture(scope="module")
def document_server(begin_shared: BeginStock) -> StockServer:
    """As there."""
    return begin_shared(*options(restart_limit=1000))


@pytest.fixture
async def desk(document_server: StockServer) -> AsyncIterator[Desk]:
    """As there."""
    async with tidy_client(document_server) as client, Desk(client, document_server.root) as desk:
        yield desk


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def strict(begin_shared: BeginStock) -> StockServer:
    """As there."""
    return begin_shared(*options(restart_limit=0))


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def hasty(begin_shared: BeginStock) -> StockServer:
    """As there."""
    delays = ("--YDocExtension.document_cleanup_delay=0.5", "--YDocExtension.document_save_delay=0.05")
    return begin_shared(*delays)


async def test_what_a_cell_put_out_is_saved_by_the_room_while_others_have_it_open(begin_shared: BeginStock) -> None:
    """Ctrl+S is often pressed as a cell ends, and JupyterLab asks about a file that is saved just then."""
    server = begin_shared("--YDocExtension.document_save_delay=2")
    async with tidy_client(server) as client, Desk(client, server.root) as desk:
        doc = await desk.open(a="stream('a')")
        await doc.run("a")
        ended = time.time()
        await doc.saved("a", lambda cell: cell["outputs"])
        assert doc.path.stat().st_mtime > ended + 1
