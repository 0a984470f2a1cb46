"""Cells in a shared notebook: how they are found, and what an execution does to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from fps_yjs.ydocs.ynotebook import YNotebook
from pycrdt import Array, Map, TransactionEvent

from fps_kernels.errors import CellNotFound, NotACodeCell
from fps_kernels.execution.cell_execution import CellState, Execution
from fps_kernels.execution.fps_yjs.cell_states import never_save_states
from fps_kernels.execution.notebook import STATE_KEY, SharedNotebook
from fps_kernels.execution.outputs import Outputs
from fps_kernels.kernel_driver.message import Message, make_frames

from ..support.documents import as_dict, shared_output
from ..support.notebooks import code_cell, markdown_cell
from ..support.notebooks import notebook as notebook_of
from ..support.outputs import OTHER, display, stream

TIMING = {"iopub.status.busy": "2025-01-01T00:00:00Z", "shell.execute_reply": "2025-01-01T00:00:01Z"}


@pytest.fixture
def notebook() -> SharedNotebook:
    document = YNotebook()
    first, second = code_cell(id="first", outputs=[OTHER]), code_cell(id="second", outputs=[OTHER])
    first |= {"source": "1 + 1\n", "execution_count": 3, "metadata": {"tags": ["a", "raises-exception"]}}
    second |= {"metadata": {"execution": {"old": "timing"}, "collapsed": True}}
    text = markdown_cell("# title", id="text")
    document.source = notebook_of(first, text, second)
    never_save_states(document)
    return SharedNotebook("json:notebook:0", document)


def found(notebook: SharedNotebook, cell_id: str) -> Map:
    """A cell that is there."""
    cell = notebook.find(cell_id)
    assert isinstance(cell, Map)
    return cell


def said(*texts: str) -> Outputs:
    outputs = Outputs()
    for text in texts:
        outputs.stream("stdout", text)
    return outputs


def updates(notebook: SharedNotebook, do: Callable[[], object]) -> int:
    """How many messages every front end is sent."""
    seen: list[TransactionEvent] = []
    subscription = notebook.document.ydoc.observe(seen.append)
    do()
    notebook.document.ydoc.unobserve(subscription)
    return len(seen)


def written(notebook: SharedNotebook, cell_id: str) -> list[dict[str, Any]]:
    return [as_dict(output) for output in found(notebook, cell_id)["outputs"]]


def as_json(notebook: SharedNotebook) -> list[dict[str, Any]]:
    return [json.loads(str(cell)) for cell in notebook.cells]


# --- finding -------------------------------------------------------------------------------------


def test_cells_are_found_where_they_are(notebook: SharedNotebook) -> None:
    assert [notebook.position(cell_id) for cell_id in ("first", "text", "second", "none")] == [0, 1, 2, None]
    assert found(notebook, "second")["id"] == "second"
    assert notebook.find("none") is None


def test_cells_are_found_again_after_one_before_them_went(notebook: SharedNotebook) -> None:
    del notebook.document.ycells[0]
    assert notebook.position("second") == 1
    assert found(notebook, "second")["id"] == "second"
    assert notebook.find("first") is None


def test_cells_are_found_by_their_number(notebook: SharedNotebook) -> None:
    assert [notebook.cell_id_at(number) for number in range(3)] == ["first", "text", "second"]


@pytest.mark.parametrize("number", [-1, 3, 10**30])
def test_a_number_that_no_cell_has_is_not_found(notebook: SharedNotebook, number: int) -> None:
    with pytest.raises(CellNotFound, match=str(number)):
        notebook.cell_id_at(number)


def test_the_code_of_a_cell_is_its_source(notebook: SharedNotebook) -> None:
    assert notebook.code("first") == "1 + 1\n"


def test_a_cell_that_is_not_there_has_no_code(notebook: SharedNotebook) -> None:
    with pytest.raises(CellNotFound, match="none"):
        notebook.code("none")


def test_markdown_is_not_code(notebook: SharedNotebook) -> None:
    with pytest.raises(NotACodeCell, match="text"):
        notebook.code("text")


def test_tags_are_those_of_the_metadata(notebook: SharedNotebook) -> None:
    assert notebook.tags("first") == ["a", "raises-exception"]
    assert notebook.tags("second") == []
    assert notebook.tags("none") == []


@pytest.mark.parametrize("tags", [None, "raises-exception", {"raises-exception": True}, 1])
def test_tags_that_are_no_list_are_none(notebook: SharedNotebook, tags: Any) -> None:
    found(notebook, "second")["metadata"]["tags"] = tags
    assert notebook.tags("second") == []


# --- what an execution does ----------------------------------------------------------------------


def test_a_cell_that_begins_has_no_outputs_and_no_count_and_is_running(notebook: SharedNotebook) -> None:
    notebook.begin(["first", "second"])
    for cell_id in ("first", "second"):
        cell = found(notebook, cell_id)
        assert len(cell["outputs"]) == 0
        assert cell["execution_count"] is None
        assert cell[STATE_KEY] == "running"
        assert "trusted" not in cell["metadata"]
        assert "execution" not in cell["metadata"]


def test_a_cell_that_begins_keeps_the_rest_of_its_metadata(notebook: SharedNotebook) -> None:
    notebook.begin(["first", "second"])
    assert notebook.tags("first") == ["a", "raises-exception"]
    assert found(notebook, "second")["metadata"]["collapsed"] is True
    assert notebook.code("first") == "1 + 1\n"


def test_only_what_was_named_begins(notebook: SharedNotebook) -> None:
    before = as_json(notebook)
    notebook.begin(["first"])
    assert as_json(notebook)[1:] == before[1:]


def test_a_cell_that_ended_has_its_count_and_no_state(notebook: SharedNotebook) -> None:
    notebook.begin(["first"])
    notebook.finish("first", said("2\n"), 7, TIMING)
    cell = found(notebook, "first")
    assert written(notebook, "first") == [stream("2\n")]
    assert cell["execution_count"] == 7
    assert STATE_KEY not in cell
    assert cell["metadata"]["execution"] == TIMING
    assert "trusted" not in cell["metadata"]


def test_a_cell_that_ended_without_count_or_timing_has_neither(notebook: SharedNotebook) -> None:
    notebook.begin(["second"])
    notebook.finish("second", Outputs(), None, {})
    cell = found(notebook, "second")
    assert cell["execution_count"] is None
    assert "execution" not in cell["metadata"]
    assert STATE_KEY not in cell


def test_a_cell_shows_its_timing_while_it_runs(notebook: SharedNotebook) -> None:
    notebook.begin(["first"])
    notebook.write("first", said("one"), TIMING)
    cell = found(notebook, "first")
    assert cell["metadata"]["execution"] == TIMING
    assert cell[STATE_KEY] == "running"
    assert written(notebook, "first") == [stream("one")]


def test_cells_that_are_released_are_idle_and_keep_what_they_have(notebook: SharedNotebook) -> None:
    notebook.begin(["first", "second"])
    notebook.write("first", said("one"))
    notebook.release(["first", "text", "none"])
    assert STATE_KEY not in found(notebook, "first")
    assert found(notebook, "second")[STATE_KEY] == "running"
    assert written(notebook, "first") == [stream("one")]


def test_cells_that_are_gone_or_no_code_are_left_alone(notebook: SharedNotebook) -> None:
    before = as_json(notebook)
    for cell_id in ("none", "text"):
        notebook.begin([cell_id])
        notebook.write(cell_id, said("lost"), TIMING)
        notebook.finish(cell_id, said("lost"), 1, TIMING)
        notebook.release([cell_id])
    assert as_json(notebook) == before


def test_a_cell_that_is_gone_does_not_keep_others_from_beginning(notebook: SharedNotebook) -> None:
    notebook.begin(["none", "text", "second"])
    assert found(notebook, "second")[STATE_KEY] == "running"


def test_every_step_is_one_update(notebook: SharedNotebook) -> None:
    outputs = said("one\n")
    assert updates(notebook, lambda: notebook.begin(["first", "second"])) == 1
    assert updates(notebook, lambda: notebook.write("first", outputs, TIMING)) == 1
    outputs.stream("stdout", "10%")
    assert updates(notebook, lambda: notebook.write("first", outputs)) == 1
    outputs.stream("stdout", "\r20%")
    outputs.add(display("x"), display_id="x")
    outputs.stream("stderr", "é")
    assert updates(notebook, lambda: notebook.write("first", outputs)) == 1
    outputs.update_display("x", {"text/plain": "y"}, {})
    assert updates(notebook, lambda: notebook.finish("first", outputs, 1, TIMING)) == 1
    assert updates(notebook, lambda: notebook.release(["first", "second"])) == 1
    assert written(notebook, "first") == [stream("one\n20%"), display("y"), stream("é", "stderr")]


def test_a_write_of_nothing_is_no_update(notebook: SharedNotebook) -> None:
    outputs = said("one\n")
    notebook.write("first", outputs)
    assert updates(notebook, lambda: notebook.write("first", outputs)) == 0


def test_a_loop_of_prints_costs_about_its_text(notebook: SharedNotebook) -> None:
    outputs, size = Outputs(), 0

    def count(event: TransactionEvent) -> None:
        nonlocal size
        size += len(event.update)

    notebook.begin(["first"])
    subscription = notebook.document.ydoc.observe(count)
    for number in range(1000):
        outputs.stream("stdout", f"{number:09}\n")
        notebook.write("first", outputs)
    notebook.document.ydoc.unobserve(subscription)
    assert 10_000 < size < 10_000 + 1000 * 40


@pytest.mark.parametrize("step", ["begin", "write", "finish", "release"])
def test_every_step_is_seen_as_a_change_to_save(notebook: SharedNotebook, step: str) -> None:
    notebook.changed = False
    match step:
        case "begin":
            notebook.begin(["first"])
        case "write":
            notebook.write("first", said("one"))
        case "finish":
            notebook.finish("first", said("one"), 1, {})
        case "release":
            notebook.release(["first"])
    assert notebook.changed


# --- what is saved -------------------------------------------------------------------------------


def check_file(notebook: SharedNotebook) -> None:
    source = notebook.document.source
    nbformat.validate(source)
    assert not any(STATE_KEY in cell for cell in source["cells"])


def test_a_file_is_valid_at_every_moment(notebook: SharedNotebook) -> None:
    outputs = said("one\n")
    notebook.begin(["first", "second"])
    check_file(notebook)
    outputs.add(display("x"))
    outputs.add({"output_type": "execute_result", "execution_count": 7, "data": {"text/plain": "2"}, "metadata": {}})
    outputs.add({"output_type": "error", "ename": "E", "evalue": "", "traceback": ["one"]})
    notebook.write("first", outputs, TIMING)
    check_file(notebook)
    notebook.finish("first", outputs, 7, TIMING)
    check_file(notebook)
    cell = notebook.document.source["cells"][0]
    assert [output["output_type"] for output in cell["outputs"]] == [
        "stream",
        "display_data",
        "execute_result",
        "error",
    ]
    assert cell["outputs"][0]["text"] == "one\n"
    assert cell["execution_count"] == cell["outputs"][2]["execution_count"] == 7


def test_a_file_has_no_state_though_a_front_end_sets_it_to_idle(notebook: SharedNotebook) -> None:
    notebook.begin(["first"])
    notebook.finish("first", said("one\n"), 1, TIMING)
    found(notebook, "first")[STATE_KEY] = "idle"
    check_file(notebook)
    assert found(notebook, "first")[STATE_KEY] == "idle", "it is the front end's"


def test_a_file_has_no_state_in_cells_that_a_front_end_made(notebook: SharedNotebook) -> None:
    new = {**code_cell(id="new"), STATE_KEY: "idle"}
    notebook.document.append_cell(new)
    check_file(notebook)
    assert isinstance(notebook.find("new"), Map)


def test_a_document_that_is_found_twice_is_saved_as_if_once(notebook: SharedNotebook) -> None:
    again = SharedNotebook(notebook.name, notebook.document)
    get_cell = notebook.document.get_cell
    never_save_states(notebook.document)
    assert notebook.document.get_cell is get_cell
    again.begin(["first"])
    check_file(notebook)


def test_a_document_that_was_read_anew_has_no_state_either(notebook: SharedNotebook) -> None:
    notebook.begin(["first"])
    notebook.document.source = notebook.document.source
    notebook.begin(["first"])
    check_file(notebook)


async def test_a_cell_whose_reply_comes_first_again_has_its_outputs_once(notebook: SharedNotebook) -> None:
    """The next server hears them again, in the order in which the sockets had them; the file has them already."""
    found(notebook, "first")["outputs"] = Array([shared_output(stream("2\n"))])
    execution = Execution(notebook, "first", "1 + 1")
    execution.resume()

    def hear(channel: str, msg_type: str, **content: Any) -> None:
        execution.on_message(Message(channel, make_frames(msg_type, content, "session", b"{}")))

    hear("shell", "execute_reply", status="ok", execution_count=1)
    hear("iopub", "status", execution_state="busy")
    hear("iopub", "stream", name="stdout", text="2\n")
    hear("iopub", "status", execution_state="idle")
    execution.end(CellState.OK)
    assert [as_dict(one)["text"] for one in found(notebook, "first")["outputs"]] == ["2\n"]
