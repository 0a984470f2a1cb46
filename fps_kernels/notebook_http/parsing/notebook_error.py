"""The error for a notebook that cannot be served."""

from __future__ import annotations

from ...errors import BadOption


class NotebookError(BadOption, ValueError):
    """A notebook cannot be served; the message says why, in one line.

    cell: the number of the cell at fault, from 0; None when no single cell is.
    """

    def __init__(self, reason: str, cell: int | None = None) -> None:
        super().__init__(reason if cell is None else f"cell {cell}: {reason}")
        self.cell = cell
