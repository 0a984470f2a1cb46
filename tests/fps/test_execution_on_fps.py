"""Cells of the shared documents of today's Jupyverse, which it executes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..execution.test_execution import *  # noqa: F403
from ..execution.test_execution_order import *  # noqa: F403
from ..execution.test_execution_outputs import *  # noqa: F403
from ..execution.test_execution_stdin import *  # noqa: F403
from ..execution.test_odd_kernels_execute import *  # noqa: F403
from ..support.client import tidy_client
from ..support.documents import Desk
from ..support.fps_servers import NOT_NEEDED_BY_DOCUMENTS
from ..support.notebooks import code_cell, write_notebook
from ..support.servers import Server, options

# The client of the tests has pycrdt 0.9, which fps-yjs 0.6.4 needs. It cuts the ids of newer ones, so that what it
# changes in a document of this server is not found there.
del test_a_cell_that_is_deleted_while_it_waits_is_let_go  # noqa: F821
del test_a_cell_that_is_moved_while_it_runs_gets_the_rest_of_its_outputs  # noqa: F821
del test_a_display_of_an_execution_before_is_not_updated_any_more  # noqa: F821
del test_a_question_ends_with_its_execution  # noqa: F821
del test_a_source_that_has_changed_is_refused_and_the_cell_says_so  # noqa: F821
del test_of_two_copies_of_a_notebook_that_of_the_kernel_s_session_is_meant  # noqa: F821
del test_outputs_that_a_user_clears_while_the_cell_runs_stay_cleared  # noqa: F821


@contextmanager
def documents(folder: Path, *arguments: str) -> Iterator[Server]:
    """A server with shared documents."""
    server = Server(folder, *options(require_yjs=True), *arguments, disable=NOT_NEEDED_BY_DOCUMENTS)
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def document_server(today: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As there."""
    with documents(tmp_path_factory.mktemp("documents"), *options(restart_limit=1000, start_answer_s=0)) as server:
        yield server


@pytest.fixture
async def desk(document_server: Server) -> AsyncIterator[Desk]:
    """As there."""
    async with tidy_client(document_server) as client, Desk(client, document_server.root) as desk:
        yield desk


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def strict(today: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As there."""
    with documents(tmp_path_factory.mktemp("strict"), *options(restart_limit=0)) as server:
        yield server


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def hasty(today: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As there."""
    delays = ["--set", "yrooms.document_cleanup_delay=0.5", "--set", "yrooms.document_save_delay=0.05"]
    with documents(tmp_path_factory.mktemp("hasty"), *delays) as server:
        yield server


async def test_what_another_program_writes_after_a_save_is_shown(desk: Desk) -> None:
    doc = await desk.open(a="stream('a')")
    await doc.run("a")
    await doc.saved("a", lambda cell: cell["outputs"])
    write_notebook(doc.path, code_cell("of another", id="other"))
    await doc.until(lambda: [cell["id"] for cell in doc.cells] == ["other"])
