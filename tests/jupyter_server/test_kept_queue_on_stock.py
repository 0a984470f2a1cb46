"""Cells of jupyter-collaboration's documents, with all browsers closed: they go on in the next Jupyter Server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from ..server.test_lab_keeps_queue import *  # noqa: F403
from ..server.test_lab_keeps_queue import Labs
from ..support.client import Client
from ..support.collaboration import collaboration_venv
from ..support.documents import Desk
from ..support.kept_stock import KeptStock, keeping_stock
from ..support.stock import StockServer
from ..support.waits import until

pytestmark = pytest.mark.timeout(1200)  # with the installation of the venv


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collaboration_venv(tmp_path_factory)


class SharedStock(Labs[StockServer]):
    """Jupyter Servers with shared documents on one folder, one after the other."""

    def __init__(self, servers: KeptStock, venv: Path) -> None:
        super().__init__(servers, servers.base / "root")
        environ = {"JUPYTER_DATA_DIR": str(servers.base)}  # a folder that is there, for the ids of files
        self._begin = partial(servers.begin, venv=venv, env=environ)

    def begin(self, keep: str = "crash", *options: str) -> StockServer:
        return self._begin(*options, keep=keep)


@pytest.fixture  # type: ignore[no-redef]
def labs(tmp_path: Path, venv: Path) -> Iterator[SharedStock]:
    """As there."""
    with keeping_stock(tmp_path) as servers:
        yield SharedStock(servers, venv)


async def test_a_notebook_that_is_gone_keeps_no_other_cell_from_its_end(labs: SharedStock) -> None:
    server = labs.begin()
    async with Client(server.url) as client, Desk(client, labs.root) as desk:
        gate = desk.gate()
        kernel_id = await client.start(KERNEL)  # noqa: F405
        gone = await desk.open(kernel=kernel_id, a=gate.code)
        stays = await desk.open(kernel=kernel_id, a="stream('one')")
        await gone.execute("a")
        await stays.execute("a")
    labs.servers.kill(server)
    gone.path.unlink()
    server = labs.begin()
    gate.open()
    await until(lambda: labs.text(stays.path, "a") == "one")
    assert "cannot be opened: its cells are not executed" in server.log.read_text()


async def test_a_document_that_nobody_opens_again_is_closed_when_its_cells_have_ended(labs: SharedStock) -> None:
    server = labs.begin()
    async with Client(server.url) as client, Desk(client, labs.root) as desk:
        gate = desk.gate()
        doc = await desk.open(kernel=await client.start(KERNEL), a=f"{gate.code}stream('one')")  # noqa: F405
        await doc.execute("a")
    labs.servers.kill(server)
    server = labs.begin("crash", "--YDocExtension.document_cleanup_delay=0.1")
    gate.open()
    await until(lambda: labs.text(doc.path, "a") == "one")
    async with Client(server.url) as client:

        async def is_closed() -> bool:
            answer = await client.http.put(f"/api/collaboration/fork/{doc.room}", json={})
            return answer.status_code == 404  # it has no room that could be forked

        await until(is_closed)
