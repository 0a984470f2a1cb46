"""Patch of fps-yjs 0.6.4: the state of a cell is not saved.

While a cell runs, and often after that, its Map in the shared document has a key `execution_state`. In a file the key
would be invalid, and untrue after the server's end. YNotebook leaves out only the key of an older schema, and front
ends set the key again after the end of a cell, so it is not enough to remove it there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..notebook import STATE_KEY


def never_save_states(document: Any) -> None:
    """Have a YNotebook leave out the states of its cells when it is saved. Idempotent."""
    if getattr(document.get_cell, "func", None) is not _get_cell:
        document.get_cell = partial(_get_cell, document.get_cell)


def _get_cell(get_cell: Any, number: int) -> dict[str, Any]:
    cell: dict[str, Any] = get_cell(number)
    cell.pop(STATE_KEY, None)
    return cell
