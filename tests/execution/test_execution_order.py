"""Server-side execution: one cell after the other, and what becomes of them when something fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from ..support.documents import Desk, Gate, SharedDocument
from ..support.kernelspecs import add_kernelspec
from ..support.messages import Json
from ..support.notebooks import code_cell
from ..support.outputs import stream
from ..support.servers import Server


def states_of(model: Json) -> list[str]:
    """Of the cells of a request."""
    return [cell["state"] for cell in model["cells"]]


async def batch(doc: SharedDocument, *cell_ids: str) -> str:
    """Queue cells in one request; returns its id."""
    response = await doc.post(cells=[{"cell_id": cell_id} for cell_id in cell_ids])
    assert response.status_code == 200, response.text
    return response.json()["request_id"]


async def start_and_hold(desk: Desk, then: str = "") -> tuple[SharedDocument, Gate, str]:
    """A notebook whose cell a has printed and is held up, with b and c behind it; and the id of their request."""
    gate = desk.gate()
    doc = await desk.open(a=f"stream('on')\n{gate.code}{then}", b="stream('b')", c="stream('c')")
    request_id = await batch(doc, "a", "b", "c")
    await doc.until(lambda: doc.text("a") == "on")
    return doc, gate, request_id


# --- errors ---------------------------------------------------------------------------------------


async def test_after_an_error_the_cells_behind_it_are_idle_again(desk: Desk) -> None:
    gate = desk.gate()
    doc = await desk.open(a=gate.code, b="stream('b'); 1 / 0", c="stream('c')", d="stream('d')")
    request_id = await batch(doc, "a", "b", "c")
    await doc.execute("d")
    gate.open()
    await doc.ended("a", "b", "c", "d")
    assert [output["output_type"] for output in doc.outputs("b")] == ["stream", "error"]
    for cell_id in "cd":
        assert (doc.outputs(cell_id), doc.count(cell_id)) == ([], None)
        assert "execution_state" not in doc.cell(cell_id)
    model = await doc.request(request_id)
    assert (model["state"], states_of(model)) == ("done", ["ok", "error", "aborted"])
    assert model["cells"][2]["reason"] == "a cell before it failed"
    await doc.run("c")
    assert doc.text("c") == "c"


async def test_a_cell_that_is_meant_to_fail_stops_nothing(desk: Desk) -> None:
    doc = await desk.open(code_cell("1 / 0", id="a", tags=["x", "raises-exception"]), code_cell("stream('b')", id="b"))
    request_id = await batch(doc, "a", "b")
    await doc.ended("a", "b")
    assert doc.outputs("a")[0]["ename"] == "ZeroDivisionError"
    assert doc.outputs("b") == [stream("b")]
    assert states_of(await doc.request(request_id)) == ["error", "ok"]


# --- interrupt, restart, death --------------------------------------------------------------------


async def test_an_interrupt_ends_the_cell_and_frees_those_behind_it(desk: Desk) -> None:
    doc, _, request_id = await start_and_hold(desk)
    assert (await desk.client.http.post(f"/api/kernels/{doc.kernel_id}/interrupt")).status_code == 204
    await doc.ended("a", "b", "c")
    assert doc.outputs("a")[0] == stream("on")
    assert doc.outputs("a")[1]["ename"] == "KeyboardInterrupt"
    assert doc.outputs("b") == doc.outputs("c") == []
    model = await doc.request(request_id)
    assert states_of(model) == ["error", "aborted", "aborted"]
    assert model["cells"][1]["reason"] == "The kernel was interrupted"
    await doc.run("b")
    assert doc.text("b") == "b"


async def test_a_restart_frees_all_cells_and_they_can_be_run_again(desk: Desk) -> None:
    doc, gate, request_id = await start_and_hold(desk)
    assert (await desk.client.http.post(f"/api/kernels/{doc.kernel_id}/restart")).status_code == 200
    await doc.ended("a", "b", "c")
    assert doc.outputs("a") == [stream("on")]
    assert states_of(await doc.request(request_id)) == ["aborted"] * 3
    gate.open()
    await doc.run("a", "b", "c")
    assert [doc.text(cell_id) for cell_id in "abc"] == ["on", "b", "c"]
    assert [doc.count(cell_id) for cell_id in "abc"] == [1, 2, 3]


async def test_cells_asked_for_during_a_restart_are_executed_after_it(desk: Desk) -> None:
    doc, _, _ = await start_and_hold(desk)
    restart = asyncio.create_task(desk.client.http.post(f"/api/kernels/{doc.kernel_id}/restart"))
    await doc.ended("a", "b", "c")
    await doc.execute("b", "c")
    assert (await restart).status_code == 200
    await doc.ended("b", "c")
    assert [(doc.text(cell_id), doc.count(cell_id)) for cell_id in "bc"] == [("b", 1), ("c", 2)]


async def test_the_death_of_a_kernel_is_told_in_the_cell_and_frees_the_others(
    document_server: Server, desk: Desk
) -> None:
    doc, gate, request_id = await start_and_hold(desk)
    other = await desk.open(a="stream('other')")
    document_server.process_of(doc.kernel_id).kill()
    await doc.ended("a", "b", "c")
    printed, error = doc.outputs("a")
    assert printed == stream("on")
    assert (error["output_type"], error["ename"]) == ("error", "DeadKernelError")
    assert "killed (SIGKILL)" in error["evalue"]
    assert doc.outputs("b") == doc.outputs("c") == []
    model = await doc.request(request_id)
    assert states_of(model) == ["error", "aborted", "aborted"]
    assert "killed (SIGKILL)" in model["cells"][0]["reason"]
    gate.open()
    await doc.run("a", "b")  # while the kernel is restarted by itself
    assert (doc.text("a"), doc.text("b")) == ("on", "b")
    assert (doc.count("a"), doc.count("b")) == (1, 2)
    await other.run("a")
    assert other.text("a") == "other"


async def test_the_removal_of_a_kernel_frees_its_cells(desk: Desk) -> None:
    doc, _, _ = await start_and_hold(desk)
    assert (await desk.client.http.delete(f"/api/kernels/{doc.kernel_id}")).status_code == 204
    await doc.ended("a", "b", "c")
    assert doc.outputs("a")[0] == stream("on")
    assert doc.outputs("b") == doc.outputs("c") == []
    doc.kernel_id = await desk.client.start()
    await doc.run("b")
    assert doc.outputs("b") == [stream("b")]


async def test_cells_wait_for_a_kernel_that_starts(desk: Desk) -> None:
    gate = desk.root / "gate"
    response = asyncio.create_task(desk.client.start("tiny_slow", env={"KERNEL_GATE": str(gate)}))
    [model] = await desk.client.until(lambda kernels: len(kernels) == 1)
    assert model["execution_state"] == "starting"
    doc = await desk.open(kernel=model["id"], a="stream('a')", b="stream('b')")
    await doc.execute("a", "b")
    assert (await desk.client.kernel(doc.kernel_id))["execution_state"] == "starting"
    gate.touch()
    await doc.ended("a", "b")
    assert (doc.text("a"), doc.text("b")) == ("a", "b")
    assert (doc.count("a"), doc.count("b")) == (1, 2)
    await response


async def test_a_kernel_that_does_not_start_frees_its_cells(desk: Desk, document_server: Server) -> None:
    may_exit = desk.root / "may_exit"
    command = f"until test -e {may_exit}; do sleep 0.02; done; exit 4"
    add_kernelspec(
        document_server.share,
        "exits_late",
        {"argv": ["sh", "-c", command, "{connection_file}"], "display_name": "Exits late", "language": "python"},
    )
    doc = await desk.open(kernel=await desk.client.start("exits_late"), a="1", b="2")
    await doc.execute("a", "b")
    may_exit.touch()
    await doc.ended("a", "b")
    assert "died at start: exited with code 4" in doc.outputs("a")[0]["evalue"]
    assert doc.outputs("b") == []


# --- two documents --------------------------------------------------------------------------------


async def test_two_documents_on_one_kernel_keep_the_order_of_the_requests(desk: Desk) -> None:
    gate = desk.gate()
    one = await desk.open(a=gate.code, b="1", c="1")
    two = await desk.open(kernel=one.kernel_id, a="1", b="1")
    await one.execute("a")
    for doc, cell_id in [(one, "c"), (two, "b"), (one, "b"), (two, "a")]:
        request_id = await batch(doc, cell_id)
    gate.open()
    await one.ended("a", "b", "c")
    await two.ended("a", "b")
    assert [doc.count(cell_id) for doc, cell_id in [(one, "a"), (one, "c"), (two, "b"), (one, "b"), (two, "a")]] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert (await two.request(request_id))["document_id"] == two.room


async def test_an_error_stops_the_cells_of_the_other_document_of_that_kernel_only(desk: Desk) -> None:
    gate = desk.gate()
    one = await desk.open(a=f"{gate.code}\n1 / 0")
    two = await desk.open(kernel=one.kernel_id, a="stream('never')")
    three = await desk.open(a=f"{gate.code}stream('here')")
    for doc in (one, two, three):
        await doc.execute("a")
    gate.open()
    for doc in (one, two, three):
        await doc.ended("a")
    assert two.outputs("a") == []
    assert three.outputs("a") == [stream("here")]


# --- users who edit meanwhile ---------------------------------------------------------------------


async def test_the_source_is_that_of_the_request(desk: Desk) -> None:
    doc, gate, _ = await start_and_hold(desk)
    await doc.set_source("b", "stream('edited')")
    gate.open()
    await doc.ended("a", "b", "c")
    assert doc.text("b") == "b"


async def test_a_cell_that_is_deleted_while_it_waits_is_let_go(desk: Desk) -> None:
    doc, gate, request_id = await start_and_hold(desk)
    await doc.delete("b")
    # An answer of the server's own to what was sent after the deletion: it has been heard.
    await doc.heard()
    gate.open()
    await doc.ended("a", "c")
    assert states_of(await doc.request_until(request_id, lambda model: model["state"] == "done")) == [
        "ok", "skipped", "ok",
    ]  # fmt: skip
    assert (doc.text("c"), doc.count("c")) == ("c", 2)
    assert [cell["id"] for cell in doc.cells] == ["a", "c"]


async def test_a_cell_that_is_deleted_while_it_runs_does_not_hold_up_the_others(desk: Desk) -> None:
    doc, gate, request_id = await start_and_hold(desk, "stream('more')")
    await doc.delete("a")
    await doc.heard()
    gate.open()
    await doc.ended("b", "c")
    assert (doc.text("b"), doc.text("c")) == ("b", "c")
    assert states_of(await doc.request(request_id)) == ["ok", "ok", "ok"]
    assert [cell["id"] for cell in doc.cells] == ["b", "c"]


async def test_a_cell_that_is_moved_while_it_runs_gets_the_rest_of_its_outputs(desk: Desk) -> None:
    doc, gate, _ = await start_and_hold(desk, "stream(', moved')\npublish('display_data', {'data': {}})")
    await doc.move("a", 2)
    await doc.heard()
    gate.open()
    await doc.ended("a", "b", "c")
    assert [cell["id"] for cell in doc.cells] == ["b", "c", "a"]
    assert doc.text("a") == "on, moved"
    assert len(doc.outputs("a")) == 2
    assert doc.count("a") == 1


async def test_cells_inserted_before_the_one_that_runs_change_nothing(desk: Desk) -> None:
    doc, gate, _ = await start_and_hold(desk, "stream(', still here')")
    await doc.insert(0, code_cell("1", id="new"))
    await doc.heard()
    gate.open()
    await doc.ended("a", "b", "c")
    assert doc.text("a") == "on, still here"
    assert doc.outputs("new") == []


async def test_outputs_that_a_user_clears_while_the_cell_runs_stay_cleared(desk: Desk) -> None:
    doc, gate, _ = await start_and_hold(desk, "stream('\\nrest')\npublish('display_data', {'data': {}})")
    await doc.clear_outputs("a")
    await doc.heard()
    gate.open()
    await doc.ended("a", "b", "c")
    assert [output["output_type"] for output in doc.outputs("a")] == ["stream", "display_data"]
    assert doc.text("a") == "\nrest"


@pytest.mark.parametrize("outputs", [[], [stream("on")], [stream("of before"), stream("!", "stderr")]])
async def test_a_file_that_is_changed_on_disk_while_a_cell_runs_keeps_its_outputs(
    desk: Desk, outputs: list[Any]
) -> None:
    """The plugin replaces the whole document then. As many outputs as there were, fewer or more."""
    doc, gate, request_id = await start_and_hold(desk, "stream(', changed')\npublish('display_data', {'data': {}})")
    await doc.saved("a", lambda cell: cell["outputs"])
    notebook = doc.file()
    notebook["cells"][0]["outputs"] = outputs
    notebook["cells"].append(code_cell("stream('new')", id="new"))
    for _ in range(30):  # the plugin overlooks what is written between its own save and its look at that
        doc.path.write_text(json.dumps(notebook))
        with contextlib.suppress(TimeoutError):
            await doc.until(lambda: len(doc.cells) == 4, timeout_s=2)
            break
    assert len(doc.cells) == 4
    gate.open()
    await doc.until(lambda: doc.count("c") == 3)
    assert states_of(await doc.request(request_id)) == ["ok"] * 3
    assert doc.outputs("a")[:-1] == [stream("on, changed")]
    assert doc.outputs("a")[-1]["output_type"] == "display_data"
    assert doc.count("a") == 1
    assert (doc.text("b"), doc.text("c")) == ("b", "c")
    await doc.run("new")
    assert doc.text("new") == "new"
    await doc.saved("a", lambda cell: len(cell["outputs"]) == 2)
