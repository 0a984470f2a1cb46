"""A notebook of a file, as executions write into it, and what of it has changed since it was last saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..execution.output_messages import error_output
from ..execution.outputs import Change, Outputs
from .notebook_json import Cell, Notebook, cell_json, notebook_json


class FileNotebook:
    """A notebook in memory: an ExecutedNotebook.

    document: in the form of notebook_json.
    begun: whether cells are run, so that it is to be saved in any case.
    changed: set when there is something to save.
    finished: set when the execution of a cell has ended.
    """

    def __init__(self, name: str, document: Notebook) -> None:
        self.name = name
        self.document = document
        self.begun = False
        self.changed = asyncio.Event()
        self.finished = asyncio.Event()
        self._ids: dict[str, int] = {}
        self._dumped: dict[str, bytes] = {}
        self.index()

    def index(self) -> None:
        """Look at the cells anew: one was inserted, or taken out. Those without an id of their own get one here."""
        self._ids.clear()
        self._dumped.clear()
        for number, cell in enumerate(self.cells):
            name = cell.get("id")
            if not isinstance(name, str) or not name or name in self._ids:
                name = f"cell-{number}"
            self._ids[name] = number
        self.changed.set()

    @property
    def cells(self) -> list[Cell]:
        cells: list[Cell] = self.document["cells"]
        return cells

    @property
    def code_cells(self) -> list[tuple[int, str, Cell]]:
        """The position, the id and the cell of each code cell."""
        return [(at, name, self.cells[at]) for name, at in self._ids.items() if self.cells[at]["cell_type"] == "code"]

    def json(self) -> bytes:
        """The file of the notebook as it is now. Cells that have not changed are not dumped again."""
        self.changed.clear()
        pieces = []
        for name, at in self._ids.items():
            if name not in self._dumped:
                self._dumped[name] = cell_json(self.cells[at])
            pieces.append(self._dumped[name])
        return notebook_json(self.document, pieces)

    def _touch(self, cell_id: str) -> None:
        self._dumped.pop(cell_id, None)
        self.changed.set()

    def position(self, cell_id: str) -> int | None:
        return self._ids.get(cell_id)

    def find(self, cell_id: str) -> Cell | None:
        at = self._ids.get(cell_id)
        return None if at is None else self.cells[at]

    def find_again(self, cell_id: str, position: int | None, code: str) -> str | None:
        return cell_id if cell_id in self._ids else None

    def tags(self, cell_id: str) -> list[str]:
        cell = self.find(cell_id)
        return [] if cell is None else tags_of(cell)

    def clear(self) -> None:
        """Take out what an earlier execution has left in cells that are going to be executed, and of widgets."""
        self.document["metadata"].pop("widgets", None)
        for _, name, cell in self.code_cells:
            if not is_skipped(cell):
                self._clear(name, cell)

    def begin(self, cell_ids: Sequence[str]) -> None:
        for name in cell_ids:
            if (cell := self.find(name)) is not None:
                self._clear(name, cell)

    def _clear(self, name: str, cell: Cell) -> None:
        cell["outputs"] = []
        cell["execution_count"] = None
        cell["metadata"].pop("execution", None)
        self._touch(name)

    def show_running(self, cell_ids: Sequence[str]) -> None:
        """Nothing: a file does not say which cell runs."""

    def write(self, cell_id: str, outputs: Outputs, timing: Mapping[str, str] | None = None) -> None:
        if (cell := self.find(cell_id)) is None:
            return
        if outputs.changed:
            _apply(cell["outputs"], outputs.base, outputs.take())
        if timing is not None:
            cell["metadata"]["execution"] = dict(timing)
        self._touch(cell_id)

    def finish(self, cell_id: str, outputs: Outputs, count: int | None, timing: Mapping[str, str]) -> None:
        try:
            self.write(cell_id, outputs, timing or None)
            if count is not None and (cell := self.find(cell_id)) is not None:
                cell["execution_count"] = count
        finally:
            self.finished.set()

    def add_error(self, cell_id: str, ename: str, text: str) -> None:
        """Add an error to the outputs of a cell that the kernel itself has not told of."""
        if (cell := self.find(cell_id)) is not None:
            cell["outputs"].append(error_output(ename, text, [f"{ename}: {text}"]))
            self._touch(cell_id)

    def set_metadata(self, name: str, value: Any) -> None:
        """Set a value of the notebook's own metadata."""
        self.document["metadata"][name] = value
        self.changed.set()

    def set_next_input(self, cell_id: str, text: str, *, instead_of: str | None) -> None:
        """Nothing: what a kernel proposes to its user is not for a notebook that runs by itself."""


class NoKeeper:
    """In the place of who keeps shared documents open and saved: a file needs no NotebookKeeper but OutputFile."""

    tells_saves = False

    def hold(self, notebook: Any) -> None:
        """Nothing: it stays in memory."""

    def release(self, notebook: Any) -> None:
        """Nothing, as above."""

    def watch_saves(self, saving: Callable[[str], Callable[[], None]]) -> None:
        """Nothing: no server goes on with what runs here."""

    def unwatch_saves(self, saving: Callable[[str], Callable[[], None]]) -> None:
        """Nothing, as above."""


def tags_of(cell: Cell) -> list[str]:
    """The tags of a cell."""
    tags = cell["metadata"].get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def is_skipped(cell: Cell) -> bool:
    """Whether a code cell is not executed, and keeps what it has: its tag says so, or there is nothing in it."""
    return "skip-execution" in tags_of(cell) or not cell["source"].strip()


def _apply(outputs: list[dict[str, Any]], base: int, change: Change) -> None:
    keep = base + change.keep
    del outputs[keep:]
    if change.delete or change.append:
        text = outputs[-1]["text"]
        if change.delete:
            end = text[-change.delete :]  # at least as many bytes as are deleted
            text = text[: -len(end)] + end.encode()[: -change.delete].decode(errors="ignore")
        outputs[-1]["text"] = text + change.append
    outputs.extend(dict(output) for output in change.insert)
