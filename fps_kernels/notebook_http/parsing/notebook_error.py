"""What is wrong with a notebook that is to be an API."""

from __future__ import annotations

from ...errors import BadOption


class NotebookError(BadOption, ValueError):
    """The notebook cannot be served; the message says why, in one line.

    cell: the number of the cell at fault, as in the notebook, counted from 0; None: of the whole notebook.
    """

    def __init__(self, reason: str, cell: int | None = None) -> None:
        super().__init__(reason if cell is None else f"cell {cell}: {reason}")
        self.cell = cell
