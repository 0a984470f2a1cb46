"""Cells that the server executes, with its browsers closed: they go on in the next server."""

from __future__ import annotations

import json
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from ..execution.test_execution_stdin import ASK, answer, register
from ..support.client import Client
from ..support.documents import Desk
from ..support.gateways import Gateway
from ..support.kept_gateways import KeptGateways, keeping_gateways
from ..support.kept_servers import KeptServers
from ..support.notebooks import code_cell
from ..support.outputs import stream
from ..support.processes import ServerProcess
from ..support.servers import NOT_NEEDED_BY_DOCUMENTS
from ..support.waits import until

KERNEL = "tiny_plain"
CELLS = 20


S = TypeVar("S", bound=ServerProcess)


class Labs(ABC, Generic[S]):
    """Servers with shared documents on one folder, one after the other.

    root: the folder of the documents.
    """

    def __init__(self, servers: KeptServers[S], root: Path) -> None:
        self.servers = servers
        self.root = root

    @abstractmethod
    def begin(self, keep: str = "crash") -> S:
        """Start a server."""

    def cells(self, path: Path) -> dict[str, dict[str, object]]:
        """The cells of a file by their ids, or else by their numbers; none while it is being written."""
        try:
            cells = json.loads(path.read_text())["cells"]
        except ValueError:
            return {}
        return {cell.get("id", str(number)): cell for number, cell in enumerate(cells)}

    def outputs(self, path: Path, cell_id: str) -> list[dict[str, object]]:
        """The outputs of a cell, with the text of each in one piece: hosts write it as they like."""
        outputs: Any = self.cells(path).get(cell_id, {}).get("outputs", ())
        return [{**one, "text": "".join(one["text"])} if "text" in one else one for one in outputs]

    def text(self, path: Path, cell_id: str) -> str:
        cell = self.cells(path).get(cell_id, {})
        return "".join("".join(one.get("text", ())) for one in cell.get("outputs", ()))  # type: ignore[attr-defined]


class OwnLabs(Labs[Gateway]):
    """`fps-kernels lab`, one after the other."""

    def __init__(self, gateways: KeptGateways) -> None:
        super().__init__(gateways, gateways.base)
        self._start = gateways.start

    def begin(self, keep: str = "crash") -> Gateway:
        off = (word for name in NOT_NEEDED_BY_DOCUMENTS for word in ("--disable", name))
        sets = {"keep_kernels": keep, "state_dir": self.servers.state, "prewarm": 0, "require_yjs": True}
        options = (word for name, value in sets.items() for word in ("--set", f"kernels.{name}={value}"))
        return self._start("lab", "--no-token", *off, *options)


@pytest.fixture
def labs(tmp_path: Path) -> Iterator[OwnLabs]:
    with keeping_gateways(tmp_path) as gateways:
        yield OwnLabs(gateways)


@pytest.mark.parametrize("as_list", [True, False])
async def test_a_notebook_whose_browsers_are_closed_is_complete_over_a_kill(labs: Labs[Any], as_list: bool) -> None:
    lab = labs.begin()
    ids = [f"cell{number}" for number in range(CELLS)]
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        gate = desk.gate()
        sources = {one: f"stream('{one} ' + str(open('ran', 'a').write('{one} ')))" for one in ids}
        sources[ids[4]] = f"{gate.code}\n{sources[ids[4]]}"
        doc = await desk.open(kernel=await client.start(KERNEL), **sources)
        if as_list:
            assert (await doc.post(cells=[{"cell_id": one} for one in ids])).status_code == 200
        else:
            await doc.execute(*ids)
        await doc.ended(*ids[:4])
    labs.servers.kill(lab)
    lab = labs.begin()
    gate.open()
    await until(lambda: labs.text(doc.path, ids[-1]))
    assert [labs.text(doc.path, one) for one in ids] == [f"{one} {len(one) + 1}" for one in ids]
    assert [cell["execution_count"] for cell in labs.cells(doc.path).values()] == list(range(1, CELLS + 1))
    assert next(labs.root.rglob("ran")).read_text().split() == ids  # each of them once


async def test_a_cell_that_prints_all_the_time_has_each_line_once(labs: Labs[Any]) -> None:
    lab = labs.begin()
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        gate = desk.gate()
        loop = "for n in range({}): stream(str(n) + '\\n')\n"
        code = f"{loop.format(2000)}{gate.code}{loop.format(2000)}"
        doc = await desk.open(kernel=await client.start(KERNEL), a=code)
        await doc.execute("a")
        await doc.until(lambda: doc.text("a").endswith("1999\n"))
    for _ in range(2):
        labs.servers.kill(lab)
        lab = labs.begin()
    gate.open()
    await until(lambda: labs.cells(doc.path).get("a", {}).get("execution_count") == 1)
    assert labs.text(doc.path, "a").split() == [str(n) for n in range(2000)] * 2


async def test_what_has_ended_and_was_not_saved_is_there(labs: Labs[Any]) -> None:
    lab = labs.begin()
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        doc = await desk.open(kernel=await client.start(KERNEL), a="stream('one')", b="stream('two')\nraise ValueError")
        request = await doc.execute("a", "b")
        await doc.ended("a", "b")
        lab.process.send_signal(signal.SIGKILL)  # at once: it saves a second later
    lab.stop()
    in_time = labs.text(doc.path, "b") == ""  # a busy machine may have been too slow for that
    lab = labs.begin()
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        again = await desk.reopen(doc.path, doc.kernel_id)
        await again.until(lambda: again.text("b") == "two")
        if in_time:
            model = await again.request_until(request, lambda model: model["state"] == "done")
            assert [cell["state"] for cell in model["cells"]] == ["error"]
    await until(lambda: labs.text(doc.path, "b") == "two")
    assert labs.outputs(doc.path, "a") == [stream("one")]


async def test_how_a_cell_has_ended_is_known_over_two_kills(labs: Labs[Any]) -> None:
    lab = labs.begin()
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        gate = desk.gate()
        doc = await desk.open(kernel=await client.start(KERNEL), empty="", a=f"stream('on')\n{gate.code}")
        request = await doc.post(cells=[{"cell_id": "empty"}, {"cell_id": "a"}])
        await doc.saved("a", lambda cell: cell["outputs"])
    for _ in range(2):
        labs.servers.kill(lab)
        lab = labs.begin()
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        again = await desk.reopen(doc.path, doc.kernel_id)
        model = await again.request(request.json()["request_id"])
        assert [cell["state"] for cell in model["cells"]] == ["skipped", "running"]
        gate.open()
        await again.until(lambda: again.count("a") == 1)


async def test_a_cell_that_waits_for_input_is_answered_in_the_next_server(labs: Labs[Any]) -> None:
    lab = labs.begin()
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        doc = await desk.open(kernel=await client.start(KERNEL), a=ASK, b="stream('b')")
        await register(desk, doc)
        request = await doc.execute("a")
        await doc.execute("b")
        await doc.request_until(request, lambda model: model["input"])
    labs.servers.kill(lab)
    lab = labs.begin()
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        again = await desk.reopen(doc.path, doc.kernel_id)
        model = await again.request_until(request, lambda model: model["input"])
        assert (model["input"]["cell_id"], model["input"]["prompt"]) == ("a", "name? ")
        assert (await answer(desk, again, request, "Ada")).status_code < 300
        await again.until(lambda: again.text("b") == "b")
        assert again.text("a") == "answer: Ada"


async def test_an_old_notebook_whose_cells_have_no_ids_goes_on(labs: Labs[Any]) -> None:
    lab = labs.begin()
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        gate = desk.gate()
        cells = [code_cell(code) for code in (f"stream('one')\n{gate.code}", "stream('two')")]
        path = labs.root / "old.ipynb"
        for cell in cells:
            cell.pop("id", None)
        path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
        doc = await desk.reopen(path, await client.start(KERNEL))
        first, second = (cell["id"] for cell in doc.cells)
        await doc.execute(first, second)
        await doc.until(lambda: doc.text(first) == "one")
    labs.servers.kill(lab)
    labs.begin()
    gate.open()
    await until(lambda: len(found := labs.cells(path)) == 2 and all(one["execution_count"] for one in found.values()))
    assert [labs.text(path, one) for one in labs.cells(path)] == ["one", "two"]


async def test_what_waits_for_a_kernel_that_starts_is_executed_by_the_next_server(labs: Labs[Any]) -> None:
    lab = labs.begin()
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        kernel_id = await client.start("tiny_slow")
        doc = await desk.open(kernel=kernel_id, a="stream('one')")
        await doc.execute("a")
    labs.servers.kill(lab)
    labs.begin()
    await until(lambda: labs.text(doc.path, "a") == "one")


async def test_a_kernel_that_died_meanwhile_is_explained_below_its_cell(labs: Labs[Any]) -> None:
    lab = labs.begin()
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        doc = await desk.open(kernel=await client.start(KERNEL), a="stream('on')\nwhile True: pass", b="stream('b')")
        await doc.execute("a", "b")
        await doc.until(lambda: doc.text("a") == "on")
        process = lab.process_of(doc.kernel_id)
    labs.servers.kill(lab)
    process.kill()
    process.wait()
    lab = labs.begin()
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        again = await desk.reopen(doc.path, doc.kernel_id)
        await again.until(lambda: any(one["output_type"] == "error" for one in again.outputs("a")))
        assert again.text("a") == "on"
        assert again.outputs("b") == []


async def test_with_always_the_queue_outlives_a_server_that_is_stopped(labs: Labs[Any]) -> None:
    lab = labs.begin("always")
    async with Client(lab.url) as client, Desk(client, labs.root) as desk:
        gate = desk.gate()
        doc = await desk.open(kernel=await client.start(KERNEL), a=f"stream('one')\n{gate.code}", b="stream('two')")
        await doc.execute("a", "b")
        await doc.until(lambda: doc.text("a") == "one")
    assert lab.stop() == 0
    labs.begin("always")
    gate.open()
    await until(lambda: labs.text(doc.path, "b") == "two")
    assert labs.outputs(doc.path, "a") == [stream("one")]
