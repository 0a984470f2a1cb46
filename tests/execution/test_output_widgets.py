"""Output widgets in cells that the server executes: what they capture is in their state, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..support.documents import Desk, SharedDocument
from ..support.messages import Json

WIDGETS = """
def widget(name, **state):
    state = {"_model_name": "OutputModel", "msg_id": "", "outputs": []} | state
    publish("comm_open", {"comm_id": name, "target_name": "jupyter.widget", "data": {"state": state}})

def update(name, **state):
    publish("comm_msg", {"comm_id": name, "data": {"method": "update", "state": state, "buffer_paths": []}})

def capture(name):
    update(name, msg_id=request["header"]["msg_id"])

def release(name):
    update(name, msg_id="")

def display(text, name=None, msg_type="display_data"):
    transient = {} if name is None else {"display_id": name}
    publish(msg_type, {"data": {"text/plain": text}, "metadata": {}, "transient": transient})

widget("a")
widget("b")
"""
TOLD = """
import json
states = {}
for comm in kernel.comms:
    if "outputs" in comm["data"].get("state", {}):
        states[comm["comm_id"]] = comm["data"]["state"]["outputs"]
stream(json.dumps(states))
"""


def stream(text: str, name: str = "stdout") -> Json:
    return {"output_type": "stream", "name": name, "text": text}


def shown(text: str) -> Json:
    return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}


async def told(doc: SharedDocument) -> Any:
    """What the kernel has been told of its widgets."""
    await doc.run("told")
    return json.loads(doc.text("told"))


async def open_document(desk: Desk, **sources: str) -> SharedDocument:
    doc = await desk.open(widgets=WIDGETS, told=TOLD, **sources)
    await doc.run("widgets")
    return doc


@pytest.mark.parametrize(
    ("code", "cell", "state"),
    [
        ("stream('in')", "beforeafter", [stream("in")]),
        (
            "stream('in')\nstream('err', 'stderr')\nstream('or', 'stderr')",
            "beforeafter",
            [stream("in"), stream("error", "stderr")],
        ),
        ("display('a')\nstream('in')", "beforeafter", [shown("a"), stream("in")]),
        (
            "publish('execute_result', {'data': {'text/plain': '1'}, 'metadata': {}, 'execution_count': 3})",
            "beforeafter",
            [{"output_type": "execute_result", "data": {"text/plain": "1"}, "metadata": {}, "execution_count": 3}],
        ),
        (
            "publish('error', {'ename': 'E', 'evalue': 'v', 'traceback': ['t']})",
            "beforeafter",
            [{"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"]}],
        ),
        ("stream('10 %\\r')\nstream('20 %\\r\\n')\nstream('x\\b')", "beforeafter", [stream("20 %\n")]),
        ("stream('x')\npublish('clear_output', {'wait': False})", "beforeafter", []),
        ("stream('x')\npublish('clear_output', {'wait': True})", "beforeafter", [stream("x")]),
        ("stream('x')\npublish('clear_output', {'wait': True})\nstream('y')", "beforeafter", [stream("y")]),
        ("display('1', 'd')\ndisplay('2', 'd', 'update_display_data')", "beforeafter", [shown("2")]),
        ("stream('a')\nupdate('a', outputs=[])\nstream('b')", "beforeafter", [stream("b")]),
        (
            "update('a', outputs=[{'output_type': 'stream', 'name': 'stdout', 'text': ['a', 'b']}])\nstream('c')",
            "beforeafter",
            [stream("abc")],
        ),
        ("capture('b')\nrelease('b')\nstream('in')", "beforeafter", [stream("in")]),
        ("release('a')\nstream(' out ')\ncapture('a')\nstream('in')", "before out after", [stream("in")]),
        (
            "publish('comm_msg', {'comm_id': 'a', 'data': {'method': 'custom', 'content': {}}})\nstream('x')",
            "beforeafter",
            [stream("x")],
        ),
    ],
)
async def test_what_is_captured_is_the_widgets(desk: Desk, code: str, cell: str, state: list[Json]) -> None:
    doc = await open_document(desk, a=f"stream('before')\ncapture('a')\n{code}\nrelease('a')\nstream('after')")
    await doc.run("a")
    assert doc.outputs("a") == [stream(cell)]
    assert await told(doc) == {"a": state}


async def test_nested_widgets(desk: Desk) -> None:
    code = "capture('a')\nstream('1')\ncapture('b')\nstream('2')\nrelease('b')\nstream('3')\nrelease('a')\nstream('4')"
    doc = await open_document(desk, a=code)
    await doc.run("a")
    assert doc.outputs("a") == [stream("4")]
    assert await told(doc) == {"a": [stream("13")], "b": [stream("2")]}


async def test_outputs_of_several_cells_are_added(desk: Desk) -> None:
    code = "capture('a')\nstream('{}')\nrelease('a')"
    doc = await open_document(desk, one=code.format("1"), two=code.format("2"))
    await doc.run("one", "two")
    assert doc.outputs("one") == doc.outputs("two") == []
    assert await told(doc) == {"a": [stream("12")]}


async def test_a_cell_that_ends_while_it_is_captured(desk: Desk) -> None:
    """As when an error leaves the widget: the kernel knows the outputs, and other cells are not captured."""
    doc = await open_document(desk, a="capture('a')\nstream('in')", b="stream('out')")
    await doc.run("a", "b")
    assert (doc.outputs("a"), doc.outputs("b")) == ([], [stream("out")])
    assert await told(doc) == {"a": [stream("in")]}


async def test_a_widget_that_is_closed_captures_no_more(desk: Desk) -> None:
    code = "capture('a')\nstream('in')\npublish('comm_close', {'comm_id': 'a', 'data': {}})\nstream('out')"
    doc = await open_document(desk, a=code)
    await doc.run("a")
    assert doc.outputs("a") == [stream("out")]


async def test_a_widget_that_was_not_seen_to_open(desk: Desk) -> None:
    doc = await open_document(desk, a="capture('unseen')\nstream('in')\nrelease('unseen')\nstream('out')")
    await doc.run("a")
    assert doc.outputs("a") == [stream("out")]
    assert await told(doc) == {"unseen": [stream("in")]}


async def test_a_failing_cell_shows_its_error_in_the_widget_and_stops_the_queue(desk: Desk) -> None:
    doc = await open_document(desk, a="capture('a')\n1 / 0", b="stream('b')")
    await doc.post(cells=[{"cell_id": "a"}, {"cell_id": "b"}])
    await doc.ended("a", "b")
    assert doc.outputs("a") == doc.outputs("b") == []
    assert (await told(doc))["a"][0]["ename"] == "ZeroDivisionError"


async def test_a_restart_forgets_widgets(desk: Desk) -> None:
    doc = await open_document(desk, a="capture('a')\nstream('in')")
    await doc.run("a")
    assert (await desk.client.http.post(f"/api/kernels/{doc.kernel_id}/restart")).status_code == 200
    await doc.run("widgets", "told")
    assert json.loads(doc.text("told")) == {}


async def test_pages_see_a_widget_while_its_cell_runs(desk: Desk) -> None:
    gate = desk.gate()
    doc = await open_document(desk, a=f"capture('a')\nstream('now')\n{gate.code}stream(' later')\nrelease('a')")

    def shows(text: str) -> Any:
        def wanted(message: Json) -> bool:
            state = message["content"].get("data", {}).get("state", {}) if message["msg_type"] == "comm_msg" else {}
            return state.get("outputs") == [stream(text)]

        return wanted

    async with await desk.client.connect(doc.kernel_id) as socket:
        await doc.execute("a")
        message = (await socket.until(shows("now")))[-1]
        assert (message["channel"], message["content"]["comm_id"]) == ("iopub", "a")
        assert message["content"]["data"]["method"] == "update"
        gate.open()
        await socket.until(shows("now later"))
    await doc.ended("a")


# --- what a reply asks for -----------------------------------------------------------------------


def replying(**payload: Any) -> str:
    return f"kernel.payload.append({payload!r})"


async def test_a_page_is_shown_in_the_cell(desk: Desk) -> None:
    doc = await desk.open(a=replying(source="page", data={"text/plain": "help"}, start=0))
    await doc.run("a")
    assert doc.outputs("a") == [shown("help")]


async def test_the_next_input_is_a_new_cell_below(desk: Desk) -> None:
    doc = await desk.open(a=replying(source="set_next_input", text="x = 1", replace=False), b="")
    await doc.run("a")
    await doc.until(lambda: len(doc.cells) == 3)
    new = doc.cells[1].to_py()
    assert (new["cell_type"], new["source"], new["outputs"]) == ("code", "x = 1", [])
    assert [cell["id"] for cell in doc.cells] == ["a", new["id"], "b"]
    await doc.run(new["id"])
    assert doc.count(new["id"]) == 2
    await doc.saved(new["id"], lambda cell: cell["source"] == "x = 1", 30)


async def test_the_next_input_can_replace_the_cell(desk: Desk) -> None:
    doc = await desk.open(a=replying(source="set_next_input", text="# %load é\nx = 1", replace=True))
    await doc.run("a")
    await doc.until(lambda: doc.cell("a")["source"] == "# %load é\nx = 1")
    assert len(doc.cells) == 1


async def test_an_edit_is_not_replaced(desk: Desk) -> None:
    gate = desk.gate()
    doc = await desk.open(a=gate.code + replying(source="set_next_input", text="loaded", replace=True))
    await doc.execute("a")
    await doc.set_source("a", "edited")
    await doc.heard()
    gate.open()
    await doc.until(lambda: len(doc.cells) == 2)
    assert [cell["source"].to_py() for cell in doc.cells] == ["edited", "loaded"]


async def test_outputs_that_a_user_hides_stay_hidden_and_are_there(desk: Desk) -> None:
    hidden = {"jupyter": {"outputs_hidden": True, "source_hidden": True}, "collapsed": True, "scrolled": False}
    cell = {"cell_type": "code", "id": "a", "source": "stream('x')", "metadata": hidden, "outputs": []}
    doc = await desk.open(cell | {"execution_count": None})
    await doc.run("a")
    assert doc.outputs("a") == [stream("x")]
    assert doc.cell("a")["metadata"].items() >= hidden.items()
