"""Outputs of an execution in a shared document, as JupyterLab shows them while they change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fps_yjs.ydocs.ynotebook import YNotebook
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, ArrayEvent, Map, Text, TextEvent

from fps_kernels.execution import terminal
from fps_kernels.execution.fps_yjs.cell_states import never_save_states
from fps_kernels.execution.notebook import SharedNotebook
from fps_kernels.execution.output_messages import encodable
from fps_kernels.execution.outputs import NOTICE, OutputLimits, Outputs

from ..support.documents import as_dict
from ..support.examples import examples
from ..support.notebooks import code_cell, notebook
from ..support.outputs import OTHER, display, merged, stream
from ..support.terminals import terminal_text

Output = dict[str, Any]
CELL = "cell"


class Page:
    """What JupyterLab 4.6 shows of the outputs of a cell: it applies events, and never looks at the document.

    Of a transaction, it applies the first change of an output's text, to its last output; then the first
    change of the list: what is inserted, wherever that is, is put at the end.
    """

    def __init__(self, cells: Any, number: int) -> None:
        self.outputs = merged([as_dict(output) for output in cells[number]["outputs"]])
        self.number = number
        self._subscription = cells.observe_deep(self._on_events)
        self._cells = cells

    def _on_events(self, events: list[Any]) -> None:
        ours = [event for event in events if event.path[:2] == [self.number, "outputs"]]
        paths = [(event, event.path) for event in ours]
        texts: list[Any] = [event for event, path in paths if isinstance(event, TextEvent) and path[3:] == ["text"]]
        lists: list[Any] = [event for event, path in paths if isinstance(event, ArrayEvent) and len(path) == 2]
        for event in texts[:1]:
            self._change_text(event.delta)
        for event in lists[:1]:
            self._change_list(event.delta)

    def _change_text(self, delta: list[dict[str, Any]]) -> None:
        """Positions are of no use here: what is deleted goes from the end."""
        data = self.outputs[-1]["text"].encode()  # pycrdt counts in bytes
        for change in delta:
            data = data[: len(data) - change.get("delete", 0)] + change.get("insert", "").encode()
        self.outputs[-1] = {**self.outputs[-1], "text": data.decode()}

    def _change_list(self, delta: list[dict[str, Any]]) -> None:
        position = 0
        for change in delta:
            position += change.get("retain", 0)
            del self.outputs[position : position + change.get("delete", 0)]
            self.outputs = merged([*self.outputs, *map(as_dict, change.get("insert", []))])

    def close(self) -> None:
        self._cells.unobserve(self._subscription)


class Bench:
    """An execution that says things in the middle cell of a document of three, with a page that shows them."""

    def __init__(self, limits: OutputLimits | None = None) -> None:
        self.document = YNotebook()
        self.document.source = notebook(
            code_cell(id="before", outputs=[OTHER]),
            code_cell(id=CELL, outputs=[OTHER]),
            code_cell(id="after", outputs=[OTHER]),
        )
        never_save_states(self.document)
        self.notebook = SharedNotebook("json:notebook:0", self.document)
        self.outputs = Outputs(limits)
        self.notebook.begin([CELL])
        self.page = Page(self.document.ycells, 1)

    def write(self) -> None:
        self.notebook.write(CELL, self.outputs, {})

    @property
    def cell(self) -> Map:
        return self.find(CELL)

    def find(self, cell_id: str) -> Map:
        found = self.notebook.find(cell_id)
        assert isinstance(found, Map)
        return found

    @property
    def written(self) -> list[Output]:
        """In the document."""
        return [as_dict(output) for output in self.cell["outputs"]]

    def check(self) -> None:
        assert merged(self.written) == self.page.outputs
        self.check_others()

    def check_others(self) -> None:
        for cell_id in ("before", "after"):
            assert [as_dict(output) for output in self.find(cell_id)["outputs"]] == [OTHER]

    def close(self) -> None:
        self.page.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def error() -> Output:
    return {"output_type": "error", "ename": "E", "evalue": "é", "traceback": ["one", "two"]}


# --- any outputs at all --------------------------------------------------------------------------


@dataclass
class Reference:
    """What is to be shown, without a thought for how it gets there. raw: with the control characters."""

    raw: list[tuple[str | None, Output]] = field(default_factory=list)
    clear_next: bool = False

    def add(self, output: Output, display_id: str | None = None) -> None:
        if self.clear_next:
            self.clear()
        if output["output_type"] == "stream" and self.raw and self.raw[-1][1].get("name") == output["name"]:
            output = {**output, "text": self.raw.pop()[1]["text"] + output["text"]}
        self.raw.append((display_id, output))

    def clear(self) -> None:
        self.raw.clear()
        self.clear_next = False

    def update(self, display_id: str, data: Output, metadata: Output) -> None:
        self.raw = [
            (name, {**output, "data": data, "metadata": metadata} if name == display_id else output)
            for name, output in self.raw
        ]

    @property
    def outputs(self) -> list[Output]:
        return [{**one, "text": terminal_text(one["text"])} if "text" in one else one for _, one in self.raw]


texts = st.text(st.sampled_from("ab é█😀\n\r\b"), max_size=8)
names = st.sampled_from(["stdout", "stdout", "stdout", "stderr"])
display_ids = st.sampled_from("xy")
steps = st.one_of(
    st.tuples(st.just("stream"), names, texts),
    st.tuples(st.just("stream"), names, texts),
    st.tuples(st.just("display"), st.none() | display_ids, texts),
    st.tuples(st.just("update"), display_ids, texts),
    st.tuples(st.just("error")),
    st.tuples(st.just("clear"), st.booleans()),
    st.tuples(st.just("write")),
    st.tuples(st.just("write")),
)


def say(outputs: Outputs, step: tuple[Any, ...], reference: Reference | None = None) -> None:
    reference = reference or Reference()
    match step:
        case "stream", name, text:
            outputs.stream(name, text)
            reference.add(stream(text, name))
        case "display", display_id, text:
            outputs.add(display(text), len(text), display_id)
            reference.add(display(text), display_id)
        case "update", display_id, text:
            known = display_id in {name for name, _ in reference.raw}
            found = outputs.update_display(display_id, {"text/html": text}, {"updated": True})
            assert found == known or not reference.raw
            reference.update(display_id, {"text/html": text}, {"updated": True})
        case ("error",):
            outputs.add(error())
            reference.add(error())
        case "clear", True:
            outputs.clear(wait=True)
            reference.clear_next = True
        case "clear", False:
            outputs.clear()
            reference.clear()


@settings(max_examples=examples(300))
@given(st.lists(steps, max_size=40))
def test_document_and_page_show_what_was_said_whenever_it_is_written(steps: list[tuple[Any, ...]]) -> None:
    bench, reference = Bench(), Reference()
    for step in [*steps, ("write",)]:
        if step == ("write",):
            bench.write()
            assert bench.written == reference.outputs
            assert not bench.outputs.changed
            assert bench.outputs.pending_chars == 0
            bench.check()
        else:
            say(bench.outputs, step, reference)
        assert bench.outputs.display_ids == {name for name, _ in reference.raw if name}
    bench.close()


# --- the form of a change ------------------------------------------------------------------------


def test_text_that_grows_is_appended_to_the_text_that_is_there(bench: Bench) -> None:
    bench.outputs.stream("stdout", "one\n")
    bench.write()
    text = bench.cell["outputs"][0]["text"]
    assert isinstance(text, Text)
    for word in ("two é\n", "😀 10%", "\r█ 20%"):
        bench.outputs.stream("stdout", word)
        bench.write()
        bench.check()
    assert str(text) == "one\ntwo é\n█ 20%"


def test_a_change_says_only_what_is_new() -> None:
    outputs = Outputs()
    outputs.stream("stdout", "10% é")
    change = outputs.take()
    assert (change.keep, change.delete, change.append, change.insert) == (0, 0, "", [stream("10% é")])
    outputs.stream("stdout", "\r20%")
    outputs.add(error())
    change = outputs.take()
    assert (change.keep, change.delete, change.append, change.insert) == (1, 6, "20% é", [error()])
    assert outputs.take().insert == []


def test_an_update_of_a_display_inserts_all_from_there_on_again() -> None:
    outputs = Outputs()
    outputs.stream("stdout", "before")
    outputs.add(display("old"), display_id="x")
    outputs.stream("stdout", "after")
    outputs.take()
    assert outputs.update_display("x", {"text/plain": "new"}, {})
    change = outputs.take()
    assert (change.keep, change.delete, change.append) == (1, 0, "")
    assert change.insert == [display("new"), stream("after")]


def test_an_update_of_a_display_that_nobody_knows_changes_nothing() -> None:
    outputs = Outputs()
    outputs.add(display("old"), display_id="x")
    outputs.take()
    assert not outputs.update_display("y", {}, {})
    assert not outputs.changed


def test_a_clear_that_waits_changes_nothing_by_itself(bench: Bench) -> None:
    bench.outputs.add(display("old"))
    bench.write()
    bench.outputs.clear(wait=True)
    assert not bench.outputs.changed
    bench.write()
    assert bench.written == [display("old")]
    bench.outputs.add(display("new"))
    bench.write()
    assert bench.written == [display("new")]
    bench.check()


# --- changes by somebody else --------------------------------------------------------------------


def copy_of(cell: Map, *, plain: bool) -> Map:
    """The same cell, as a front end makes it anew to move it; plain: as the file's reader makes it."""
    old = json.loads(str(cell))
    outputs: list[Any] = old["outputs"]
    if not plain:
        outputs = [Map({**one, "text": Text(one["text"])} if "text" in one else one) for one in outputs]
    return Map({**old, "source": Text(old["source"]), "metadata": Map(old["metadata"]), "outputs": Array(outputs)})


def clear_outputs(bench: Bench) -> None:
    bench.cell["outputs"].clear()


def delete_last_output(bench: Bench) -> None:
    if len(bench.cell["outputs"]):
        del bench.cell["outputs"][len(bench.cell["outputs"]) - 1]


def add_an_output(bench: Bench) -> None:
    bench.cell["outputs"].append(Map(display("foreign")))


def shorten_a_text(bench: Bench) -> None:
    outputs = bench.cell["outputs"]
    if len(outputs) and isinstance(outputs[len(outputs) - 1], Map) and "text" in outputs[len(outputs) - 1]:
        outputs[len(outputs) - 1]["text"].clear()


def replace_a_text(bench: Bench) -> None:
    """As long as before, in bytes, and other characters."""
    outputs = bench.cell["outputs"]
    if len(outputs) and isinstance(outputs[len(outputs) - 1], Map) and "text" in outputs[len(outputs) - 1]:
        text = outputs[len(outputs) - 1]["text"]
        size = len(text)
        text.clear()
        text += "é" * (size // 2) + "x" * (size % 2)


def move(bench: Bench) -> None:
    cells = bench.document.ycells
    number = bench.notebook.position(CELL)
    with bench.document.ydoc.transaction():
        copy = copy_of(cells[number], plain=False)
        del cells[number]
        cells.insert(0, copy)


def read_from_disk(bench: Bench) -> None:
    bench.document.source = bench.document.source


def read_an_older_file(bench: Bench) -> None:
    old = [stream("é█😀" * 3), display("of old")]
    bench.document.source = notebook(
        code_cell(id="before", outputs=[OTHER]), code_cell(id=CELL, outputs=old), code_cell(id="after", outputs=[OTHER])
    )


def make_markdown(bench: Bench) -> None:
    number = bench.notebook.position(CELL)
    cell = Map({"cell_type": "markdown", "id": CELL, "source": Text("1"), "metadata": Map({})})
    with bench.document.ydoc.transaction():
        del bench.document.ycells[number]
        bench.document.ycells.insert(number, cell)


def delete(bench: Bench) -> None:
    del bench.document.ycells[bench.notebook.position(CELL)]


CHANGES: list[Callable[[Bench], None]] = [
    clear_outputs,
    delete_last_output,
    add_an_output,
    shorten_a_text,
    replace_a_text,
    move,
]


@pytest.mark.parametrize("change", [*CHANGES, make_markdown, delete], ids=lambda change: change.__name__)
@pytest.mark.parametrize("pending", [False, True])
def test_whatever_somebody_else_changes_new_outputs_come_after_it(
    bench: Bench, change: Callable[[Bench], None], pending: bool
) -> None:
    bench.outputs.add(display("first"))
    bench.outputs.stream("stdout", "é█😀\n10% █")
    bench.write()
    if pending:
        bench.outputs.stream("stdout", "\r20% é")
    change(bench)
    gone = change in (make_markdown, delete)
    kept = [] if gone else [one for one in merged(bench.written) if one["output_type"] != "stream"]
    bench.outputs.stream("stdout", "\nnew\n")
    bench.write()
    bench.outputs.add(display("last"))
    bench.outputs.stream("stdout", "end")
    bench.notebook.finish(CELL, bench.outputs, 7, {"shell.execute_reply": "now"})
    bench.check_others()
    if gone:
        assert change is make_markdown or bench.notebook.find(CELL) is None
        return
    now = bench.written
    assert now[-2:] == [display("last"), stream("end")]
    assert "\nnew\n" in "".join(one.get("text", "") for one in now[:-2])
    assert [one for one in now[:-2] if one["output_type"] != "stream"] == kept
    assert bench.cell["execution_count"] == 7


def test_a_cell_that_was_moved_goes_on_in_its_new_place(bench: Bench) -> None:
    bench.outputs.stream("stdout", "é 10%")
    bench.write()
    move(bench)
    bench.outputs.stream("stdout", "\ré 20%")
    bench.write()
    assert bench.notebook.position(CELL) == 0
    assert bench.written == [stream("é 20%")]


@pytest.mark.parametrize("change", [read_from_disk, read_an_older_file], ids=lambda change: change.__name__)
@pytest.mark.parametrize("pending", [False, True])
def test_all_outputs_are_written_anew_when_the_file_was_read_again(
    bench: Bench, change: Callable[[Bench], None], pending: bool
) -> None:
    bench.outputs.add(display("first"))
    bench.outputs.stream("stdout", "é█😀\n10% █")
    bench.write()
    if pending:
        bench.outputs.stream("stdout", "\r20% é")
    change(bench)
    bench.outputs.stream("stdout", "\nnew\n")
    bench.write()
    assert bench.cell["execution_state"] == "running"
    bench.outputs.add(display("last"))
    bench.notebook.finish(CELL, bench.outputs, 7, {"shell.execute_reply": "now"})
    percent = "20% é" if pending else "10% █"
    assert bench.written == [display("first"), stream(f"é█😀\n{percent}\nnew\n"), display("last")]
    assert bench.cell["execution_count"] == 7
    assert "execution_state" not in bench.cell
    bench.check_others()


def test_text_goes_on_in_a_file_that_was_read_again(bench: Bench) -> None:
    bench.outputs.stream("stdout", "one\n")
    bench.write()
    read_from_disk(bench)
    bench.outputs.stream("stdout", "two\n")
    bench.write()
    assert merged(bench.written) == [stream("one\ntwo\n")]


def test_no_character_is_cut_in_a_text_that_somebody_replaced(bench: Bench) -> None:
    bench.outputs.stream("stdout", "10% x")
    bench.write()
    replace_a_text(bench)
    bench.outputs.stream("stdout", "\r11% y")  # from the second byte on, which is within the first character
    bench.write()
    assert bench.written == [stream("1% y")]


def test_outputs_that_somebody_cleared_do_not_come_back(bench: Bench) -> None:
    bench.outputs.stream("stdout", "one\n")
    bench.outputs.add(display("old"), display_id="x")
    bench.write()
    clear_outputs(bench)
    bench.outputs.stream("stdout", "two\n")
    bench.write()
    assert bench.written == [stream("two\n")]
    assert bench.outputs.display_ids == set()
    bench.check()


def test_text_that_was_not_written_yet_when_somebody_cleared_is_not_lost(bench: Bench) -> None:
    bench.outputs.stream("stdout", "one\n")
    bench.write()
    bench.outputs.stream("stdout", "two\n")
    bench.outputs.add(error())
    clear_outputs(bench)
    bench.write()
    assert bench.written == [stream("two\n"), error()]
    bench.check()


def test_what_is_said_after_a_clear_is_not_lost_when_somebody_cleared_too(bench: Bench) -> None:
    bench.outputs.add(display("one"))
    bench.outputs.add(display("two"))
    bench.write()
    bench.outputs.clear()
    bench.outputs.add(display("three"))
    clear_outputs(bench)
    bench.write()
    assert bench.written == [display("three")]
    bench.check()


def test_a_clear_after_somebody_cleared_does_no_harm(bench: Bench) -> None:
    bench.outputs.add(display("one"))
    bench.write()
    bench.outputs.clear()
    clear_outputs(bench)
    bench.write()
    assert bench.written == []
    bench.check()


@settings(max_examples=examples(300))
@given(st.lists(steps | st.sampled_from(CHANGES), max_size=40))
def test_nothing_raises_whatever_somebody_else_does(steps: list[Any]) -> None:
    bench = Bench()
    for step in [*steps, ("write",), ("stream", "stdout", "\nthe last word"), ("write",)]:
        if callable(step):
            step(bench)
        elif step == ("write",):
            bench.write()
            bench.check_others()
        else:
            say(bench.outputs, step)
    assert bench.written[-1]["text"].endswith("the last word")
    bench.close()


# --- bounds --------------------------------------------------------------------------------------


def test_text_is_cut_in_the_middle_with_one_notice() -> None:
    bench = Bench(OutputLimits(max_text_chars=2000))
    for number in range(2000):
        bench.outputs.stream("stdout", f"line {number}\n")
        if number % 7 == 0:
            bench.write()
            bench.check()
            assert len(bench.written[0]["text"]) <= 2000
    bench.write()
    [output] = bench.written
    assert output["text"].count(NOTICE) == 1
    assert output["text"].startswith("line 0\nline 1\n")
    assert output["text"].endswith("line 1998\nline 1999\n")
    bench.close()


def test_the_number_of_outputs_is_bounded_with_one_notice() -> None:
    bench = Bench(OutputLimits(max_outputs=20))
    for number in range(500):
        bench.outputs.add(display(str(number)))
        if number % 3 == 0:
            bench.write()
            bench.check()
            assert len(bench.written) <= 20
    bench.write()
    plain = [output["data"]["text/plain"] for output in bench.written]
    assert plain.count(NOTICE.strip()) == 1
    assert plain[:5] == list("01234")
    assert plain[-5:] == [str(number) for number in range(495, 500)]
    bench.close()


def test_the_bytes_of_outputs_are_bounded() -> None:
    bench = Bench(OutputLimits(max_bytes=10_000))
    for number in range(200):
        bench.outputs.add(display(str(number) * 100), 1000)
        bench.write()
        bench.check()
        assert len(bench.written) <= 11
    assert bench.written[0] == display("0" * 100)
    assert bench.written[-1] == display("199" * 100)
    bench.close()


def test_the_text_of_many_streams_is_bounded() -> None:
    bench = Bench(OutputLimits(max_text_chars=1000))
    for number in range(500):
        bench.outputs.stream("stderr" if number % 2 else "stdout", f"{number:03} " * 10)
        bench.write()
        bench.check()
        assert sum(len(output.get("text", "")) for output in bench.written) <= 1100
    assert bench.written[0]["text"].startswith("000 ")
    assert bench.written[-1]["text"].startswith("499 ")
    bench.close()


@settings(max_examples=examples(200))
@given(st.lists(steps, max_size=80))
def test_document_and_page_agree_when_outputs_are_cut_all_the_time(steps: list[tuple[Any, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terminal, "MAX_LINE_CHARS", 5)
        bench = Bench(OutputLimits(max_text_chars=20, max_outputs=6, max_bytes=60))
        for step in [*steps, ("write",)]:
            if step == ("write",):
                bench.write()
                bench.check()
                assert len(bench.written) <= 6
            elif step[0] != "update":
                say(bench.outputs, step)
            else:
                bench.outputs.update_display(step[1], {"text/html": step[2]}, {}, len(step[2]))
        bench.close()


@settings(max_examples=examples(200))
@given(st.lists(steps | st.sampled_from(CHANGES), max_size=60))
def test_nothing_raises_when_outputs_are_cut_and_changed_by_somebody_else(steps: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terminal, "MAX_LINE_CHARS", 5)
        bench = Bench(OutputLimits(max_text_chars=20, max_outputs=6, max_bytes=60))
        for step in [*steps, ("write",)]:
            if callable(step):
                step(bench)
            elif step == ("write",):
                bench.write()
                bench.check_others()
            elif step[0] != "update":
                say(bench.outputs, step)
            else:
                bench.outputs.update_display(step[1], {"text/html": step[2]}, {}, len(step[2]))
        bench.close()


# --- values that JSON can hold and a document cannot ---------------------------------------------


def test_what_is_encodable_stays_as_it_is() -> None:
    value = {"a": [1, 1.5, True, None, "é😀"], "b": {"c": -(2**53) + 1}}
    assert encodable(value) == value


def test_lone_surrogates_are_replaced(bench: Bench) -> None:
    bench.outputs.stream(encodable("std\ud800"), encodable("a\udfff😀b"))
    data = {"application/json": {"key \ud800": ["\udc00", {"x": "\ud83d"}]}}
    bench.outputs.add(encodable({"output_type": "display_data", "data": data, "metadata": {}}))
    bench.write()
    assert bench.written == [
        stream("a?😀b", "std?"),
        {
            "output_type": "display_data",
            "data": {"application/json": {"key ?": ["?", {"x": "?"}]}},
            "metadata": {},
        },
    ]
    bench.check()


@pytest.mark.parametrize("number", [2**53, 2**60, -(2**60), 2**63, -(2**63) - 1, 2**64 - 1, 2**200])
def test_numbers_are_those_that_a_front_end_reads(bench: Bench, number: int) -> None:
    """JavaScript has no others; as a BigInt, JupyterLab could not write the output to a file."""
    data = {"application/json": [number]}
    bench.outputs.add(encodable({"output_type": "display_data", "data": data, "metadata": {}}))
    bench.write()
    [value] = bench.cell["outputs"][0]["data"]["application/json"]
    assert isinstance(value, float)
    assert value == float(number)


def test_a_number_beyond_all_bounds_does_not_break_the_document(bench: Bench) -> None:
    bench.outputs.add(encodable({"output_type": "display_data", "data": {"application/json": 10**400}, "metadata": {}}))
    bench.write()
    assert bench.document.source["cells"][1]["outputs"][0]["data"] == {"application/json": None}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(categories=["L", "N", "Cs", "Cc"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_whatever_json_holds_can_be_written(value: Any) -> None:
    bench = Bench()
    bench.outputs.add(encodable({"output_type": "display_data", "data": {"application/json": value}, "metadata": {}}))
    bench.write()
    bench.check()
    assert len(bench.document.source["cells"][1]["outputs"]) == 1
    bench.close()
