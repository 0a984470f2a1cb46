"""What hosts of jupyter_ydoc's notebooks have to hear of, and are told by wrapping only: saves, and reloads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from .notebook import RUNNING, STATE_KEY

Saved = Callable[[], None]


class SavesByTask:
    """What is to be called when a task has written the content of a document, for which the same task has asked."""

    def __init__(self) -> None:
        self._about_to_save: WeakKeyDictionary[asyncio.Task[Any], Saved] = WeakKeyDictionary()

    def note_content(self, saved: Saved) -> None:
        """The task has asked for the content of a document, perhaps to save it. saved: to be called when it was."""
        if (task := asyncio.current_task()) is not None:
            self._about_to_save[task] = saved

    def take_saved(self) -> Saved:
        """What is to be called when the content was saved that the task has asked for last."""
        task = asyncio.current_task()
        return self._about_to_save.pop(task, _nothing) if task is not None else _nothing


def _nothing() -> None:
    """What is called of a content that nobody has asked for."""


def show_reloads(document: Any) -> None:
    """Have running cells lose their state when the document is read from its file again. Idempotent.

    The document keeps cells whose file has other outputs, and changes only these. Without a state, the cell that runs
    is known to have lost its own.
    """
    if getattr(document.aset, "func", None) is not _set:
        document.aset = partial(_set, document.aset, document)


async def _set(aset: Callable[[Any], Awaitable[None]], document: Any, content: Any) -> None:
    await aset(content)
    with document.ydoc.transaction():
        for cell in document.ycells:
            if cell.get(STATE_KEY) == RUNNING:
                del cell[STATE_KEY]
