"""Server-side execution: what front ends ask for, and what they are answered."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from ..support.client import tidy_client
from ..support.documents import Desk
from ..support.notebooks import code_cell, markdown_cell
from ..support.outputs import stream
from ..support.servers import NOT_NEEDED_BY_DOCUMENTS, Server, options

SEED = 20_261_120


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with shared documents that lets dead kernels rest."""
    arguments = options(require_yjs=True, restart_limit=0)
    server = Server(tmp_path_factory.mktemp("strict"), *arguments, disable=NOT_NEEDED_BY_DOCUMENTS)
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def strict_desk(strict: Server) -> AsyncIterator[Desk]:
    async with tidy_client(strict) as client, Desk(client, strict.root) as desk:
        yield desk


# --- the shapes of a request ----------------------------------------------------------------------


async def test_a_cell_is_executed_and_its_document_shows_everything(desk: Desk) -> None:
    doc = await desk.open(a="stream('done')")
    response = await doc.post(cell_id="a")
    assert response.status_code == 200
    assert set(response.json()) == {"request_id"}
    await doc.ended("a")
    cell = doc.cell("a")
    assert cell["outputs"] == [stream("done")]
    assert cell["execution_count"] == 1
    assert "execution_state" not in cell
    assert cell["metadata"].get("trusted") is not True  # that is for the page of the user who ran it to say
    assert set(cell["metadata"]["execution"]) >= {
        "iopub.status.busy",
        "iopub.execute_input",
        "shell.execute_reply",
        "iopub.status.idle",
    }
    assert doc.states["a"] == [None, "running", None]


async def test_a_batch_is_executed_in_its_own_order(desk: Desk) -> None:
    doc = await desk.open(a="1", b="2", c="3")
    response = await doc.post(cells=[{"cell_id": cell_id} for cell_id in "cab"])
    assert response.status_code == 200
    await doc.ended("a", "b", "c")
    assert [doc.count(cell_id) for cell_id in "cab"] == [1, 2, 3]


async def test_a_source_that_has_the_hash_is_executed(desk: Desk) -> None:
    """The numbers are what a front end's murmur2 gives for these sources."""
    doc = await desk.open(a="stream('é')", b="stream('x')")
    cells = [{"cell_id": "a", "source_hash": "1423015195"}, {"cell_id": "b", "source_hash": 3602089778}]
    assert (await doc.post(cells=cells)).status_code == 200
    await doc.ended("a", "b")
    assert doc.text("a") + doc.text("b") == "éx"


async def test_a_request_keeps_the_id_that_the_client_gave_it(desk: Desk) -> None:
    doc = await desk.open(a="1")
    response = await doc.post(cells=[{"cell_id": "a"}], request_id="mine")
    assert response.json() == {"request_id": "mine"}
    await doc.ended("a")
    assert (await doc.request("mine"))["state"] == "done"


async def test_a_request_comes_after_the_one_it_names_though_it_arrives_earlier(desk: Desk) -> None:
    doc = await desk.open(a="1", b="2")
    later = await doc.post(cells=[{"cell_id": "a"}], request_id="later", previous_request_id="earlier")
    earlier = await doc.post(cells=[{"cell_id": "b"}], request_id="earlier")
    assert (later.status_code, earlier.status_code) == (200, 200)
    await doc.ended("a", "b")
    assert (doc.count("b"), doc.count("a")) == (1, 2)


async def test_a_request_whose_predecessor_never_comes_is_executed_all_the_same(desk: Desk) -> None:
    doc = await desk.open(a="stream('alone')")
    await doc.post(cells=[{"cell_id": "a"}], previous_request_id="lost")
    await doc.ended("a")
    assert doc.text("a") == "alone"


async def test_a_cell_can_be_named_by_its_number(desk: Desk) -> None:
    doc = await desk.open(a="1", b="stream('second')")
    assert (await doc.post(cell_idx=1)).status_code == 200
    await doc.ended("b")
    assert doc.text("b") == "second"
    assert doc.states["a"] == [None]


async def test_requests_are_answered_at_once_while_a_cell_runs(desk: Desk) -> None:
    gate = desk.gate()
    doc = await desk.open(a=gate.code, b="stream('b')", c="stream('c')")
    async with asyncio.timeout(60):
        first = await doc.execute("a")
        second = await doc.execute("b")
        await doc.request_until(first, lambda model: model["state"] == "running")
        assert (await doc.request(second))["state"] == "queued"
        assert doc.states["b"] == [None, "running"]
        third = await doc.execute("c")
    gate.open()
    await doc.ended("a", "b", "c")
    assert doc.text("b") + doc.text("c") == "bc"
    model = await doc.request(third)
    assert model == {
        "request_id": third,
        "document_id": doc.room,
        "state": "done",
        "cells": [{"cell_id": "c", "state": "ok", "execution_count": 3}],
        "input": None,
    }


async def test_cells_asked_for_in_parallel_are_executed_in_the_order_of_the_document(
    document_server: Server, desk: Desk
) -> None:
    """As "Run all" does it: on connections of their own, in one moment, which is made by stopping the server."""
    cell_ids = [f"cell{number}" for number in range(20)]
    doc = await desk.open(**{cell_id: f"stream({cell_id!r})" for cell_id in cell_ids})
    connections = [await asyncio.open_connection("127.0.0.1", document_server.port) for _ in cell_ids]
    document_server.process.send_signal(signal.SIGSTOP)
    for cell_id, (_, writer) in zip(random.Random(SEED).sample(cell_ids, 20), connections, strict=True):
        body = json.dumps({"document_id": doc.room, "cell_id": cell_id}).encode()
        head = f"POST /api/kernels/{doc.kernel_id}/execute HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    document_server.process.send_signal(signal.SIGCONT)
    for reader, writer in connections:
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
    await doc.ended(*cell_ids)
    assert [doc.count(cell_id) for cell_id in cell_ids] == list(range(1, 21))
    assert [doc.text(cell_id) for cell_id in cell_ids] == cell_ids


async def test_cells_without_code_are_skipped_and_do_not_count(desk: Desk) -> None:
    doc = await desk.open(a="1", b=" \n\t", c="3")
    await doc.run("a", "b", "c")
    assert [doc.count(cell_id) for cell_id in "abc"] == [1, None, 2]
    assert doc.outputs("b") == []


# --- which document -------------------------------------------------------------------------------


@pytest.mark.parametrize("document_id", [{}, {"document_id": None}, {"document_id": "json:notebook:stale"}])
async def test_a_document_that_is_not_named_is_found_by_the_cell(desk: Desk, document_id: dict[str, str]) -> None:
    cell_id = uuid.uuid4().hex
    doc = await desk.open(code_cell("stream('found')", id=cell_id))
    response = await desk.client.http.post(
        f"/api/kernels/{doc.kernel_id}/execute", json={"cell_id": cell_id} | document_id
    )
    assert response.status_code == 200
    await doc.ended(cell_id)
    assert doc.text(cell_id) == "found"


async def test_of_two_copies_of_a_notebook_that_of_the_kernel_s_session_is_meant(desk: Desk) -> None:
    cell_id = uuid.uuid4().hex
    one, other = [await desk.open(code_cell("stream('here')", id=cell_id)) for _ in range(2)]
    for doc in (one, other):
        session = await desk.client.start_session(path=doc.path.name)
        doc.kernel_id = session["kernel"]["id"]
    for doc in (other, one):
        assert (await doc.post(cell_id=cell_id, document_id=None)).status_code == 200
        await doc.ended(cell_id)
        assert doc.text(cell_id) == "here"
        await doc.clear_outputs(cell_id)


async def test_two_copies_of_a_notebook_cannot_be_told_apart_without_a_session(desk: Desk) -> None:
    cell_id = uuid.uuid4().hex
    one, other = [await desk.open(code_cell("1", id=cell_id)) for _ in range(2)]
    response = await one.post(cell_id=cell_id, document_id=None)
    assert response.status_code == 404
    for doc in (one, other):
        assert doc.cell(cell_id)["outputs"] == []


# --- what is refused ------------------------------------------------------------------------------


async def test_an_unknown_document_is_not_found(desk: Desk) -> None:
    doc = await desk.open(a="1")
    response = await doc.post(document_id="json:notebook:none", cell_id=uuid.uuid4().hex)
    assert response.status_code == 404
    assert response.json()["message"] == "No such shared document: json:notebook:none"


@pytest.mark.parametrize("choice", [{"cell_id": "none"}, {"cell_idx": 7}, {"cells": [{"cell_id": "none"}]}])
async def test_an_unknown_cell_is_not_found(desk: Desk, choice: dict[str, object]) -> None:
    doc = await desk.open(a="1")
    response = await doc.post(**choice)
    assert response.status_code == 404
    assert response.json()["message"].startswith("No such cell: ")


async def test_a_cell_that_is_not_code_is_refused(desk: Desk) -> None:
    doc = await desk.open(markdown_cell("# Title", id="text"), a="stream('fine')")
    before = doc.cell("text")
    response = await doc.post(cell_id="text")
    assert response.status_code == 400
    assert response.json()["message"] == "Cell text is not a code cell"
    await doc.run("a")
    assert doc.cell("text") == before


async def test_an_unknown_request_is_not_found(desk: Desk) -> None:
    doc = await desk.open(a="1")
    url = f"/api/kernels/{doc.kernel_id}/requests/none"
    assert (await desk.client.http.get(url)).status_code == 404
    assert (await desk.client.http.post(f"{url}/input", json={"value": "x"})).status_code == 404


WRONG_BODIES = [
    b"", b"{", b"[]", b'"a"', b"null", b"[" * 100_000,
    b'{"document_id": "DOC"}',
    b'{"document_id": 1, "cell_id": "a"}',
    b'{"document_id": "DOC", "cell_id": 1}',
    b'{"document_id": "DOC", "cell_id": ""}',
    b'{"document_id": "DOC", "cell_id": ["a"]}',
    b'{"document_id": "DOC", "cell_idx": "0"}',
    b'{"document_id": "DOC", "cell_idx": -1}',
    b'{"document_id": "DOC", "cell_idx": true}',
    b'{"document_id": "DOC", "cells": []}',
    b'{"document_id": "DOC", "cells": "a"}',
    b'{"document_id": "DOC", "cells": ["a"]}',
    b'{"document_id": "DOC", "cells": [{}]}',
    b'{"document_id": "DOC", "cells": [{"cell_id": "a", "source_hash": "x"}]}',
    b'{"document_id": "DOC", "cells": [{"cell_id": "a", "source_hash": 1.5}]}',
    b'{"document_id": "DOC", "cells": [{"cell_id": "a"}], "request_id": 1}',
    b'{"document_id": "DOC", "cells": [{"cell_id": "a"}], "previous_request_id": {}}',
]  # fmt: skip


async def test_a_wrong_body_is_refused_and_changes_nothing(desk: Desk) -> None:
    doc = await desk.open(a="stream('fine')")
    url = f"/api/kernels/{doc.kernel_id}/execute"
    for body in WRONG_BODIES:
        response = await desk.client.http.post(url, content=body.replace(b"DOC", doc.room.encode()))
        assert response.status_code == 422, body[:100]
        assert "JSON" in response.json()["message"], body[:100]
    assert doc.states["a"] == [None]
    await doc.run("a")
    assert doc.count("a") == 1


async def test_a_batch_is_accepted_as_a_whole_or_not_at_all(desk: Desk) -> None:
    doc = await desk.open(
        code_cell("1", id="a", outputs=[stream("old")]), markdown_cell("# Title", id="text"), code_cell("2", id="b")
    )
    before = [doc.cell(cell_id) for cell_id in ("a", "text", "b")]
    good = {"cell_id": "a", "source_hash": "1228156847"}
    for bad, status in [
        ({"cell_id": "text"}, 400),
        ({"cell_id": "none"}, 404),
        ({"cell_id": "b", "source_hash": "1"}, 409),
        ({}, 422),
    ]:
        response = await doc.post(cells=[good, bad], request_id="batch")
        assert response.status_code == status
    assert (await desk.client.http.get(f"/api/kernels/{doc.kernel_id}/requests/batch")).status_code == 404
    await doc.run("b")
    assert doc.count("b") == 1
    assert [doc.cell(cell_id) for cell_id in ("a", "text")] == before[:2]


async def test_a_source_that_has_changed_is_refused_and_the_cell_says_so(desk: Desk) -> None:
    gate = desk.gate()
    doc = await desk.open(a="1", b=gate.code + "stream('b')", c="stream('c')")
    await doc.execute("b", "c")
    await doc.set_source("a", "2")
    response = await doc.post(cell_id="a", source_hash="1228156847")
    assert response.status_code == 409
    await doc.ended("a")
    [output] = doc.outputs("a")
    assert output["output_type"] == "error"
    assert output["evalue"] == "The source of cell a has changed"
    gate.open()
    await doc.ended("b", "c")
    assert doc.text("b") + doc.text("c") == "bc"


async def test_a_request_that_is_sent_twice_is_executed_once(desk: Desk) -> None:
    """The second is refused, and leaves what the first shows in the cell alone."""
    gate = desk.gate()
    doc = await desk.open(a="stream('once,')\n" + gate.code + "stream('only')")
    body = {"cell_id": "a", "request_id": "mine"}
    assert (await doc.post(**body)).status_code == 200
    await doc.until(lambda: doc.text("a") == "once,")
    states = doc.states["a"]
    assert (await doc.post(**body)).status_code == 409
    gate.open()
    await doc.request_until("mine", lambda model: model["state"] == "done")
    await doc.ended("a")
    assert doc.outputs("a") == [stream("once,only")]
    assert doc.count("a") == 1
    assert states == [None, "running"]


async def test_an_unknown_kernel_is_not_found_and_the_cell_says_so(desk: Desk) -> None:
    doc = await desk.open(a="1")
    doc.kernel_id = str(uuid.uuid4())
    response = await doc.post(cell_id="a")
    assert response.status_code == 404
    await doc.ended("a")
    [output] = doc.outputs("a")
    assert output["evalue"] == f"Kernel does not exist: {doc.kernel_id}"


async def test_a_dead_kernel_executes_nothing_and_the_cell_says_why(strict: Server, strict_desk: Desk) -> None:
    doc = await strict_desk.open(a="1")
    strict.process_of(doc.kernel_id).kill()
    await strict_desk.client.until_kernel(doc.kernel_id, lambda model: model["execution_state"] == "dead")
    response = await doc.post(cell_id="a")
    assert response.status_code == 409
    assert "killed (SIGKILL)" in response.json()["message"]
    await doc.ended("a")
    [output] = doc.outputs("a")
    assert "killed (SIGKILL)" in output["evalue"]
    assert (await strict_desk.client.http.post(f"/api/kernels/{doc.kernel_id}/restart")).status_code == 200
    await doc.run("a")
    assert doc.outputs("a") == []
    assert doc.count("a") == 1


async def test_a_kernel_that_dies_for_good_frees_its_cells(strict: Server, strict_desk: Desk) -> None:
    gate = strict_desk.gate()
    doc = await strict_desk.open(a=f"stream('on')\n{gate.code}", b="2")
    await doc.execute("a", "b")
    await doc.until(lambda: doc.text("a") == "on")
    strict.process_of(doc.kernel_id).kill()
    await doc.ended("a", "b")
    first, error = doc.outputs("a")
    assert first == stream("on")
    assert "killed (SIGKILL)" in error["evalue"]
    assert doc.outputs("b") == []
