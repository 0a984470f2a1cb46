"""Server-side execution: what reaches the document, and the file."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any

import nbformat
import pytest

from fps_kernels.execution.cell_execution import FLUSH_INTERVAL_S

from ..support.client import tidy_client
from ..support.documents import Desk, SharedDocument
from ..support.outputs import stream
from ..support.servers import NOT_NEEDED_BY_DOCUMENTS, Server, options
from ..support.waits import until

SAVE_INTERVAL_S = 10
"""How often a document is saved while a cell prints without a pause."""


def display(text: str, display_id: str | None = None, msg_type: str = "display_data") -> str:
    """Code that displays something."""
    content: dict[str, Any] = {"data": {"text/plain": text}, "metadata": {}}
    if display_id is not None:
        content["transient"] = {"display_id": display_id}
    return f"publish({msg_type!r}, {content!r})\n"


def update(text: str, display_id: str) -> str:
    return display(text, display_id, "update_display_data")


def clear(*, wait: bool = False) -> str:
    return f"publish('clear_output', {{'wait': {wait}}})\n"


def shown(*texts: str) -> list[dict[str, Any]]:
    """Outputs of display_data."""
    return [{"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}} for text in texts]


async def outputs_of(desk: Desk, code: str) -> list[dict[str, Any]]:
    """What the document shows after one cell."""
    doc = await desk.open(a=code)
    await doc.run("a")
    return doc.outputs("a")


# --- streams --------------------------------------------------------------------------------------


async def test_streams_are_kept_to_the_byte(desk: Desk) -> None:
    code = r"""
stream('  a\n\n')
stream('é\t😀')
stream('warning', 'stderr')
stream('\n', 'stderr')
stream('b')
stream('\nc\n\n')
"""
    assert await outputs_of(desk, code) == [
        stream("  a\n\né\t😀"), stream("warning\n", "stderr"), stream("b\nc\n\n"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["10%\r", "20%\r", "30%"], "30%"),
        (["long line\rlong", "\nnext"], "long line\nnext"),
        (["a\r\nb\r\n"], "a\nb\n"),
        (["abc\b\bX"], "aX"),
        (["é😀\b!"], "é!"),
        (["done: 1", "\b2", "\b3\n"], "done: 3\n"),
    ],
)
async def test_carriage_returns_and_backspaces_are_applied(desk: Desk, texts: list[str], expected: str) -> None:
    """A flush between any two of them: the text that is in the document already changes, too."""
    code = "import time\n" + "time.sleep(0.06)\n".join(f"stream({text!r})\n" for text in texts)
    [output] = await outputs_of(desk, code)
    assert output["text"] == expected


async def test_a_tight_loop_of_prints_is_few_changes_of_the_document(desk: Desk) -> None:
    doc = await desk.open(a="for i in range(5_000): stream(f'line {i}\\n')")
    before, began = doc.updates, time.monotonic()
    await doc.run("a")
    took_s = time.monotonic() - began
    assert doc.outputs("a") == [stream("".join(f"line {i}\n" for i in range(5_000)))]
    # One for each interval, however long the machine needs, and those of the cell's state.
    assert doc.updates - before <= took_s / FLUSH_INTERVAL_S + 10


async def test_prints_are_seen_while_the_cell_runs(desk: Desk) -> None:
    gate = desk.gate()
    doc = await desk.open(a=f"stream('seen')\n{gate.code}")
    await doc.execute("a")
    await doc.until(lambda: doc.text("a") == "seen")
    assert not doc.has_ended("a")
    gate.open()
    await doc.ended("a")


async def test_a_large_output_is_cut_in_the_middle_with_a_notice(desk: Desk) -> None:
    """12 MB: the two ends are kept, in lines, and no more than 4 MB in all."""
    doc = await desk.open(a="for i in range(120): stream(str(i).ljust(99_999) + '\\n')")
    await doc.run("a")
    [output] = doc.outputs("a")
    lines = output["text"].split("\n")
    assert 1_000_000 < len(output["text"]) <= 4 * 1024 * 1024
    assert lines.count("[... the middle of this output was left out: it was too long ...]") == 1
    numbers = [int(line) for line in lines if line.strip().isdigit()]
    assert (numbers[:5], numbers[-5:]) == ([0, 1, 2, 3, 4], [115, 116, 117, 118, 119])


async def test_lone_surrogates_do_not_cost_the_rest_of_the_output(desk: Desk) -> None:
    code = r"""
stream('a\ud800b')
publish('display_data', {'data': {'text/plain': '\udfff!'}, 'metadata': {'\ud800': 1}})
stream('end')
raise ValueError('\ud800')
"""
    first, rich, last, error = await outputs_of(desk, code)
    assert (first, last) == (stream("a?b"), stream("end"))
    assert rich["data"] == {"text/plain": "?!"}
    assert (error["ename"], error["evalue"]) == ("ValueError", "?")


async def test_what_a_thread_prints_after_the_end_of_its_cell_is_shown_in_that_cell(desk: Desk) -> None:
    thread = """
import threading
go, parent = threading.Event(), kernel.parent
def late():
    go.wait()
    publish('stream', {'name': 'stdout', 'text': 'late'}, parent=parent)
threading.Thread(target=late).start()
stream('early,')
"""
    doc = await desk.open(a=thread, b="go.set()")
    await doc.run("a")
    assert doc.text("a") == "early,"
    await doc.run("b")
    await doc.until(lambda: doc.text("a") == "early,late")
    assert doc.outputs("a") == [stream("early,late")]
    assert doc.outputs("b") == []
    assert doc.states["a"] == [None, "running", None]


# --- other outputs --------------------------------------------------------------------------------


async def test_each_kind_of_output_is_shown(desk: Desk) -> None:
    code = """
publish('display_data', {'data': {'text/html': '<b>1</b>', 'application/json': {'a': [1, None, 1.5]}},
                         'metadata': {'text/html': {'isolated': True}}, 'transient': {}})
publish('execute_result', {'execution_count': 1, 'data': {'text/plain': '2'}, 'metadata': {}})
raise ValueError('three')
"""
    assert await outputs_of(desk, code) == [
        {
            "output_type": "display_data",
            "data": {"text/html": "<b>1</b>", "application/json": {"a": [1, None, 1.5]}},
            "metadata": {"text/html": {"isolated": True}},
        },
        {"output_type": "execute_result", "execution_count": 1, "data": {"text/plain": "2"}, "metadata": {}},
        {
            "output_type": "error",
            "ename": "ValueError",
            "evalue": "three",
            "traceback": ["ValueError('three')"],
        },
    ]


async def test_a_display_before_a_print_is_shown_before_it(desk: Desk) -> None:
    code = display("figure") + "stream('printed')\n" + display("again") + "stream('after')\n"
    assert await outputs_of(desk, code) == [*shown("figure"), stream("printed"), *shown("again"), stream("after")]


async def test_outputs_of_ipykernel_are_shown(desk: Desk) -> None:
    kernel_id = await desk.client.start("python3")
    code = """
import sys
from IPython.display import HTML, display
display(HTML('<b>1</b>')); print('printed'); print('warned', file=sys.stderr); 6 * 7
"""
    doc = await desk.open(kernel=kernel_id, a=code, b="1 / 0", c="print('not reached')")
    await doc.run("a", "b")
    outputs = doc.outputs("a")
    streams: dict[str, str] = defaultdict(str)
    for output in outputs:
        if output["output_type"] == "stream":
            streams[output["name"]] += output["text"]
    rest = [output for output in outputs if output["output_type"] != "stream"]
    assert streams == {"stdout": "printed\n", "stderr": "warned\n"}
    assert rest[0]["data"]["text/html"] == "<b>1</b>"
    assert rest[1] == {
        "output_type": "execute_result", "execution_count": 1, "data": {"text/plain": "42"}, "metadata": {},
    }  # fmt: skip
    assert doc.outputs("b")[0]["ename"] == "ZeroDivisionError"
    assert doc.cell("a")["metadata"]["execution"].keys() == {
        "iopub.status.busy", "iopub.execute_input", "shell.execute_reply.started", "shell.execute_reply",
        "iopub.status.idle",
    }  # fmt: skip


# --- displays that change -------------------------------------------------------------------------


async def test_a_display_is_updated_in_its_own_cell(desk: Desk) -> None:
    code = display("1", "it") + "stream('between')\n" + display("2", "it") + update("new", "it") + "stream('!')\n"
    assert await outputs_of(desk, code) == [*shown("new"), stream("between"), *shown("new"), stream("!")]


async def test_a_display_is_updated_from_other_cells_and_documents_after_its_end(desk: Desk) -> None:
    one = await desk.open(a=display("1", "it") + "stream('after')\n", b=update("2", "it"), c=display("1", "other"))
    two = await desk.open(kernel=one.kernel_id, a=display("1", "it"), b=update("3", "it"))
    await one.run("a", "c", "b")
    await one.until(lambda: one.outputs("a") == [*shown("2"), stream("after")])
    await two.run("a", "b")
    await one.until(lambda: one.outputs("a") == [*shown("3"), stream("after")])
    await two.until(lambda: two.outputs("a") == shown("3"))
    assert one.outputs("c") == shown("1")
    assert one.outputs("b") == two.outputs("b") == []
    assert one.states["a"] == [None, "running", None]


async def test_a_display_of_an_execution_before_is_not_updated_any_more(desk: Desk) -> None:
    """Only what the cell shows now has its ids."""
    doc = await desk.open(a=display("1", "it"), b=update("2", "it"))
    await doc.run("a")
    await doc.set_source("a", display("new", "another"))
    await doc.run("a", "b")
    assert doc.outputs("a") == shown("new")


# --- clear_output ---------------------------------------------------------------------------------


async def test_outputs_are_cleared_at_once(desk: Desk) -> None:
    gate = desk.gate()
    doc = await desk.open(a="stream('old')\n" + display("old") + gate.code + clear() + "stream('new')")
    await doc.execute("a")
    await doc.until(lambda: len(doc.outputs("a")) == 2)
    gate.open()
    await doc.ended("a")
    assert doc.outputs("a") == [stream("new")]


async def test_outputs_that_are_cleared_with_wait_stay_until_the_next_one(desk: Desk) -> None:
    gate = desk.gate()
    doc = await desk.open(a="stream('old')\n" + clear(wait=True) + gate.code + display("new"), b="1")
    await doc.execute("a")
    await doc.until(lambda: doc.outputs("a") == [stream("old")])
    gate.open()
    await doc.ended("a")
    assert doc.outputs("a") == shown("new")


@pytest.mark.parametrize(("wait", "left"), [(False, []), (True, [stream("old")])])
async def test_clearing_as_the_last_thing_waits_for_nothing(desk: Desk, wait: bool, left: list[Any]) -> None:
    doc = await desk.open(a="stream('old')\n" + clear(wait=wait), b="stream('b')")
    await doc.run("a", "b")
    assert doc.outputs("a") == left
    assert doc.outputs("b") == [stream("b")]


async def test_a_progress_that_clears_itself_ends_with_its_last_state(desk: Desk) -> None:
    code = "for i in range(500):\n    publish('clear_output', {'wait': True})\n    stream(f'{i} of 500')\n"
    assert await outputs_of(desk, code) == [stream("499 of 500")]


# --- the same cell again --------------------------------------------------------------------------


async def test_a_cell_that_is_executed_again_shows_only_the_new_outputs(desk: Desk) -> None:
    doc = await desk.open(a="n = globals().get('n', 0) + 1; stream(f'run {n}')")
    for n in (1, 2, 3):
        await doc.run("a")
        assert doc.outputs("a") == [stream(f"run {n}")]
        assert doc.count("a") == n


async def test_a_cell_executed_twice_while_it_runs_shows_the_second_execution(desk: Desk) -> None:
    gate = desk.gate()
    code = f"n = globals().get('n', 0) + 1; stream(f'run {{n}}')\n{gate.code}stream(f', end {{n}}')\n"
    doc = await desk.open(a=code)
    first = await doc.execute("a")
    await doc.until(lambda: doc.text("a") == "run 1")
    second = await doc.execute("a")
    await doc.until(lambda: doc.outputs("a") == [])
    gate.open()
    await doc.ended("a")
    assert doc.outputs("a") == [stream("run 2, end 2")]
    assert doc.count("a") == 2
    assert doc.states["a"] == ["running", None]
    for request_id in (first, second):
        assert (await doc.request(request_id))["cells"][0]["state"] == "ok"


async def test_a_cell_that_is_twice_in_a_batch_shows_the_second_execution(desk: Desk) -> None:
    doc = await desk.open(a="n = globals().get('n', 0) + 1; stream(f'run {n}')", b="stream('b')")
    await doc.post(cells=[{"cell_id": cell_id} for cell_id in ("a", "a", "b")])
    await doc.ended("a", "b")
    assert (doc.text("a"), doc.count("a")) == ("run 2", 2)
    assert (doc.text("b"), doc.count("b")) == ("b", 3)


# --- the file -------------------------------------------------------------------------------------


def has_outputs(number: int = 1) -> Any:
    return lambda cell: len(cell["outputs"]) == number


def assert_valid(notebook: dict[str, Any]) -> None:
    nbformat.validate(nbformat.from_dict(notebook))


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that saves documents at once, and closes them half a second after their last client left."""
    delays = ["--set", "yjs.document_cleanup_delay=0.5", "--set", "yjs.document_save_delay=0.05"]
    arguments = [*options(require_yjs=True), *delays]
    server = Server(tmp_path_factory.mktemp("hasty"), *arguments, disable=NOT_NEEDED_BY_DOCUMENTS)
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def hasty_desk(hasty: Server) -> AsyncIterator[Desk]:
    async with tidy_client(hasty) as client, Desk(client, hasty.root) as desk:
        yield desk


async def test_the_file_has_the_outputs_and_is_valid(desk: Desk) -> None:
    code = "stream('x')\n" + display("1", "it") + "publish('execute_result', {'execution_count': 1, 'data': {}})\n1 / 0"
    doc = await desk.open(a=code, b="2", c="3")
    await doc.run("a", "b")
    notebook = await doc.saved("a", lambda cell: "execution" in cell["metadata"])
    assert_valid(notebook)
    cell = notebook["cells"][0]
    assert [output["output_type"] for output in cell["outputs"]] == [
        "stream",
        "display_data",
        "execute_result",
        "error",
    ]
    assert cell["outputs"][0] == stream("x")
    assert [type(cell["execution_count"]), type(cell["outputs"][2]["execution_count"])] == [int, int]
    assert "execution_state" not in json.dumps(notebook)
    assert all("transient" not in output for output in cell["outputs"])


async def test_no_state_is_saved_while_cells_run_and_wait(desk: Desk) -> None:
    gate = desk.gate()
    doc = await desk.open(a=f"stream('on')\n{gate.code}", b="2")
    await doc.execute("a", "b")
    notebook = await doc.saved("a", has_outputs())  # the plugin saves after a second of silence
    assert_valid(notebook)
    assert "execution_state" not in json.dumps(notebook)
    gate.open()
    await doc.ended("a", "b")


async def test_a_cell_that_prints_without_a_pause_is_saved_meanwhile(desk: Desk) -> None:
    gate = desk.gate()
    printing = gate.code.replace("time.sleep(0.005)", "stream('.'); time.sleep(0.1)")
    doc = await desk.open(a=printing)
    await doc.execute("a")
    notebook = await doc.saved("a", has_outputs(), timeout_s=SAVE_INTERVAL_S + 5)
    assert not doc.has_ended("a")
    assert len(notebook["cells"][0]["outputs"][0]["text"]) > 50
    gate.open()
    await doc.ended("a")
    text = doc.text("a")
    await doc.saved("a", lambda cell: cell["outputs"][0]["text"] == text)


async def test_a_closed_browser_loses_nothing(hasty_desk: Desk) -> None:
    """The only client leaves in the middle of a cell, for longer than an unguarded document lives."""
    desk, gate = hasty_desk, hasty_desk.gate()
    doc = await desk.open(a=f"stream('before, ')\n{gate.code}\nstream('after')", b="stream('b')\n" + display("figure"))
    kernel_id = doc.kernel_id
    await doc.execute("a", "b")
    await doc.until(lambda: doc.text("a") == "before, ")
    await doc.close()
    await asyncio.sleep(1)  # a document without a lease is closed after half of that
    gate.open()
    notebook = await doc.saved("b", has_outputs(2))
    assert_valid(notebook)
    first, second = notebook["cells"]
    assert first["outputs"] == [stream("before, after")]
    assert second["outputs"] == [stream("b"), *shown("figure")]
    assert (first["execution_count"], second["execution_count"]) == (1, 2)
    again = await desk.reopen(doc.path, kernel_id)
    assert again.text("a") == "before, after"
    await again.run("b")
    assert again.count("b") == 3


async def test_changes_in_the_middle_of_saves_are_not_lost(hasty_desk: Desk) -> None:
    """The plugin alone cancels such a save, and then takes the file for somebody else's."""
    printing = "import time\nfor n in range(40): stream(f'{n} '); time.sleep(0.06 + n / 200)"
    doc = await hasty_desk.open(a=printing, large="#" * 4_000_000)
    await doc.execute("a")
    await doc.ended("a")
    text = "".join(f"{n} " for n in range(40))
    assert doc.text("a") == text
    await doc.saved("a", lambda cell: cell["outputs"] == [stream(text)])


async def test_a_client_that_comes_back_sees_what_happened_and_what_still_does(hasty_desk: Desk) -> None:
    desk, gate = hasty_desk, hasty_desk.gate()
    doc = await desk.open(a=f"stream('before, ')\n{gate.code}\nstream('after')")
    await doc.execute("a")
    await doc.until(lambda: doc.text("a") == "before, ")
    await doc.close()
    await asyncio.sleep(0.7)  # as above
    again = await desk.reopen(doc.path, doc.kernel_id)
    assert again.text("a") == "before, "
    assert again.cell("a")["execution_state"] == "running"
    gate.open()
    await again.until(lambda: "execution_state" not in again.cell("a"))
    assert again.outputs("a") == [stream("before, after")]


async def until_closed(doc: SharedDocument) -> None:
    """Ask until the server does not know the document any more: there is no event for REST."""

    async def closed() -> bool:
        response = await doc.post(cells=[{"cell_id": "none"}])
        return response.json()["message"] == f"No such shared document: {doc.room}"

    await until(closed, 60, every_s=0.1)


async def test_documents_are_closed_once_nobody_needs_them(hasty_desk: Desk) -> None:
    desk, gate = hasty_desk, hasty_desk.gate()
    # A cell is looked for by its id, too, and documents of other tests may still be open.
    doc = await desk.open(lone=f"stream('on')\n{gate.code}", b="2")
    await doc.execute("lone")
    await doc.until(lambda: doc.text("lone") == "on")
    await doc.close()
    gate.open()
    await until_closed(doc)
    response = await doc.post(cell_id="lone")
    assert response.status_code == 404
    assert doc.saved_cell("lone")["outputs"] == [stream("on")]
    again = await desk.reopen(doc.path, doc.kernel_id)
    await again.run("lone")
    assert again.text("lone") == "on"


async def test_clients_that_break_off_while_they_are_sent_changes_close_no_document(desk: Desk) -> None:
    """Neither that document, which they look at, nor another one."""
    doc = await desk.open(a="stream('here')", b="")
    bystander = await desk.open(a="stream('there')")
    for number in range(60):
        other = await desk.reopen(doc.path)
        for _ in range(number % 4 + 1):
            await other.set_source("b", f"{number}")
        await (other.close() if number % 3 else other.break_off())
    for one, text in ((doc, "here"), (bystander, "there")):
        await one.run("a")
        assert one.text("a") == text
