"""A notebook in a shared document (pycrdt), and what an execution writes into its cells.

The schema is that of YNotebook in jupyter_ydoc and fps-yjs: `cells` is an Array of Maps; those of code cells have
`source` (Text), `outputs` (Array), `metadata` (Map), `execution_count` and, while they run, `execution_state`, which
jupyter_ydoc also gives to cells that do not. Cells are looked up by their id each time: they may have been moved, or
replaced when the file changed on disk. Offsets into a Text are in UTF-8 bytes; an offset out of bounds makes pycrdt
panic.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pycrdt import Array, Map, Text

from ..errors import CellNotFound, NotACodeCell
from .outputs import Change, Output, Outputs

STATE_KEY = "execution_state"
"""The key of a cell that says whether it runs."""
RUNNING = "running"
"""Its value while it does."""


class SharedNotebook:
    """A notebook that is open as a shared document.

    name: the name by which the Yjs plugin knows the document.
    document: a YNotebook.
    changed: whether a cell was changed here since the owner of the notebook has last set this to False.
    """

    def __init__(self, name: str, document: Any) -> None:
        self.name = name
        self.document = document
        self.changed = False

    @property
    def cells(self) -> Any:
        """The Array of the cells' Maps."""
        return self.document.ycells

    def position(self, cell_id: str) -> int | None:
        """The position of a cell now; None if it is gone."""
        for number, cell in enumerate(self.cells):
            if cell.get("id") == cell_id:
                return number
        return None

    def find(self, cell_id: str) -> Any | None:
        """The Map of a cell; None if it is gone."""
        number = self.position(cell_id)
        return None if number is None else self.cells[number]

    def _find_code(self, cell_id: str) -> Any | None:
        """The Map of a cell that can have outputs; None if it is gone, or has become another kind of cell."""
        cell = self.find(cell_id)
        return cell if cell is not None and isinstance(cell.get("outputs"), Array) else None

    def cell_id_at(self, number: int) -> str:
        """The id of the cell at a position. Raises CellNotFound."""
        if not 0 <= number < len(self.cells):
            raise CellNotFound(str(number))
        return str(self.cells[number].get("id", ""))

    def code(self, cell_id: str) -> str:
        """The source of a code cell. Raises CellNotFound, NotACodeCell."""
        cell = self.find(cell_id)
        if cell is None:
            raise CellNotFound(cell_id)
        if cell.get("cell_type") != "code":
            raise NotACodeCell(cell_id)
        return str(cell["source"])

    def find_again(self, cell_id: str, position: int | None, code: str) -> str | None:
        """The id of a cell that was in the document at another time; None if it is gone.

        Cells of old notebooks have no ids in the file: each is found where it was, if it has the same source.
        """
        if self._find_code(cell_id) is not None:
            return cell_id
        if position is None or not 0 <= position < len(self.cells):
            return None
        found = str(self.cells[position].get("id", ""))
        return found if self._find_code(found) is not None and str(self.cells[position]["source"]) == code else None

    def tags(self, cell_id: str) -> list[str]:
        cell = self.find(cell_id)
        tags = json.loads(str(cell["metadata"])).get("tags") if cell is not None else None
        return tags if isinstance(tags, list) else []

    def begin(self, cell_ids: Sequence[str]) -> None:
        """Show cells that are going to be executed as running, without outputs and count.

        Nothing is said of trust: the document is for all, and whether HTML and JavaScript are trusted is up to the page
        of the user who runs the cell, as in JupyterLab.
        """
        with self.document.ydoc.transaction():
            for cell in filter(None, map(self._find_code, cell_ids)):
                cell["outputs"].clear()
                cell["execution_count"] = None
                cell["metadata"].pop("execution", None)
                cell[STATE_KEY] = RUNNING
        self.changed = True

    def show_running(self, cell_ids: Sequence[str]) -> None:
        """Show cells as running, with what they have."""
        with self.document.ydoc.transaction():
            for cell in filter(None, map(self._find_code, cell_ids)):
                cell[STATE_KEY] = RUNNING
        self.changed = True

    def write(self, cell_id: str, outputs: Outputs, timing: Mapping[str, str] | None = None) -> None:
        """Bring the outputs of a cell up to date, in one transaction. Does nothing when the cell is gone."""
        cell = self._find_code(cell_id)
        if cell is None:
            return
        with self.document.ydoc.transaction():
            if timing is not None:
                _begin_again_if_replaced(cell, outputs)
            if outputs.changed:
                _write_outputs(cell["outputs"], outputs)
            if timing is not None:
                cell["metadata"]["execution"] = dict(timing)
        self.changed = True

    def finish(self, cell_id: str, outputs: Outputs, count: int | None, timing: Mapping[str, str]) -> None:
        """Write the last outputs of a cell, and show it as idle: without a state."""
        cell = self._find_code(cell_id)
        if cell is None:
            return
        with self.document.ydoc.transaction():
            _begin_again_if_replaced(cell, outputs)
            if outputs.changed:
                _write_outputs(cell["outputs"], outputs)
            if timing:
                cell["metadata"]["execution"] = dict(timing)
            if count is not None:
                cell["execution_count"] = count
            cell.pop(STATE_KEY, None)
        self.changed = True

    def set_next_input(self, cell_id: str, text: str, *, instead_of: str | None) -> None:
        """Put code that the kernel proposes into a new cell below this one, as for `%recall`.

        instead_of: the cell's source that it replaces, as for `%load`; when somebody has changed that meanwhile,
          there is a new cell.
        """
        number = self.position(cell_id)
        if number is None:
            return
        source = self.cells[number]["source"]
        with self.document.ydoc.transaction():
            if instead_of is not None and str(source) == instead_of:
                source.clear()
                source += text
            else:
                cell: dict[str, Any] = {
                    "id": str(uuid.uuid4()),
                    "cell_type": "code",
                    "source": text,
                    "metadata": {"trusted": False},  # as in JupyterLab: it is the kernel's, not the user's
                    "outputs": [],
                    "execution_count": None,
                }
                self.cells.insert(number + 1, self.document.create_ycell(cell))
        self.changed = True

    def release(self, cell_ids: Sequence[str]) -> None:
        """Show cells as idle that are not going to be executed after all."""
        with self.document.ydoc.transaction():
            for cell in filter(None, map(self.find, cell_ids)):
                cell.pop(STATE_KEY, None)
        self.changed = True


def _begin_again_if_replaced(cell: Any, outputs: Outputs) -> None:
    """Start over with a cell that has lost the state that was set at the beginning, or has another one.

    It is another cell, with the outputs of some other time: the file was changed on disk, and the plugin has replaced
    all cells.
    """
    if cell.get(STATE_KEY) != RUNNING:
        cell["outputs"].clear()
        cell[STATE_KEY] = RUNNING
        outputs.write_anew()


def _write_outputs(ours: Any, outputs: Outputs) -> None:
    if not _are_as_left(ours, outputs):
        # They were cleared or edited by a user: what is there stays, and new outputs come after it.
        outputs.forget_written(len(ours))
    _apply(ours, outputs.base, outputs.take())


def _are_as_left(ours: Any, outputs: Outputs) -> bool:
    """Whether the outputs are as they were written, with a text at the end that can be edited.

    After the file was read again, the text of a stream is a plain string.
    """
    if len(ours) != outputs.base + outputs.written:
        return False
    if outputs.text_bytes is None:
        return True
    last = ours[len(ours) - 1]
    text = last.get("text") if isinstance(last, Map) else None
    return isinstance(text, Text) and len(text) == outputs.text_bytes


def _apply(ours: Any, base: int, change: Change) -> None:
    keep = base + change.keep
    if len(ours) > keep:
        del ours[keep:]
    if change.delete or change.append:
        text = ours[keep - 1]["text"]
        if change.delete:
            del text[_character_start(text, len(text) - change.delete) : len(text)]
        if change.append:
            text += change.append
    if change.insert:
        ours.extend([_shared(output) for output in change.insert])


def _character_start(text: Any, position: int) -> int:
    """A position in bytes, moved back to the start of a character: within one, pycrdt would panic."""
    data = str(text).encode()
    while position and data[position] & 0xC0 == 0x80:
        position -= 1
    return position


def _shared(output: Output) -> Map:
    if output["output_type"] == "stream":
        return Map({**output, "text": Text(output["text"])})
    return Map(output)
