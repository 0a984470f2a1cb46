"""What executions need of the notebook that their outputs go into, and of its owner.

A server has shared documents (SharedNotebook); the command `fps-kernels run` has a file. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .outputs import Outputs


class ExecutedNotebook(Protocol):
    """A notebook whose cells are executed; each method is described in SharedNotebook."""

    name: str
    document: Any

    def position(self, cell_id: str) -> int | None: ...

    def find(self, cell_id: str) -> Any | None: ...

    def find_again(self, cell_id: str, position: int | None, code: str) -> str | None: ...

    def tags(self, cell_id: str) -> list[str]: ...

    def begin(self, cell_ids: Sequence[str]) -> None: ...

    def show_running(self, cell_ids: Sequence[str]) -> None: ...

    def write(self, cell_id: str, outputs: Outputs, timing: Mapping[str, str] | None = None) -> None: ...

    def finish(self, cell_id: str, outputs: Outputs, count: int | None, timing: Mapping[str, str]) -> None: ...

    def set_next_input(self, cell_id: str, text: str, *, instead_of: str | None) -> None: ...


class NotebookKeeper(Protocol):
    """Who keeps notebooks open while their cells wait or run; each method is described in SharedDocuments."""

    tells_saves: bool

    def hold(self, notebook: Any) -> None: ...

    def release(self, notebook: Any) -> None: ...

    def watch_saves(self, saving: Callable[[str], Callable[[], None]]) -> None: ...

    def unwatch_saves(self, saving: Callable[[str], Callable[[], None]]) -> None: ...
