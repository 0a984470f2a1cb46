"""What the command says while a notebook runs, on standard error: a bar on terminals, lines elsewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..log_text import printable
from ..serving.standard_streams import tell
from .notebook_json import Cell
from .terminal_text import first_line, shown_lines

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SOURCE_LINES = 5
"""Lines of a cell that are shown when it fails."""


class RunView:
    """What is said of a run. This one says only what went wrong.

    colours: whether tracebacks keep theirs.
    """

    def __init__(self, *, colours: bool = False) -> None:
        self._colours = colours

    def begin(self, total: int) -> None:
        """The kernel is ready. total: the number of cells to run."""

    def cell_begins(self, number: int, cell: Cell) -> None:
        """A cell is sent to the kernel. number: its position among the cells to run, from 1."""

    def cell_ends(self, number: int, how: str) -> None:
        """A cell has ended. how: in a word or two."""

    def end(self) -> None:
        """Nothing more runs. May be called twice."""

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to somebody else meanwhile."""
        yield

    def note(self, text: str) -> None:
        """Say something that was asked for in no way, but matters."""
        tell(printable(text))

    def failure(self, number: int, position: int, cell: Cell, error: dict[str, Any]) -> None:
        """Show a cell that has failed, and why. position: among all cells of the notebook, from 1."""
        source = [line for line in cell["source"].splitlines() if line.strip()]
        lines = [f"Cell {number} failed (number {position} of the notebook):"]
        lines += [f"    {line}" for line in shown_lines(source[:SOURCE_LINES], colours=False)]
        if len(source) > SOURCE_LINES:
            lines.append(f"    … ({len(source) - SOURCE_LINES} more lines)")
        traceback = error.get("traceback") or [f"{error.get('ename')}: {error.get('evalue')}"]
        lines += ["", *shown_lines(traceback, colours=self._colours)]
        tell("\n".join(lines))


class LinesView(RunView):
    """A line for each cell that has ended, as in the log of a build."""

    _total = 0
    _began = _cell_began = 0.0
    _text = ""

    def begin(self, total: int) -> None:
        self._total, self._began = total, monotonic()

    def cell_begins(self, number: int, cell: Cell) -> None:
        self._cell_began, self._text = monotonic(), first_line(cell["source"])

    def cell_ends(self, number: int, how: str) -> None:
        tell(f"[{number}/{self._total}] {how} after {monotonic() - self._cell_began:.1f} s: {self._text}")


class BarView(RunView):
    """A bar with the cell that runs, by rich."""

    def __init__(self, *, colours: bool, force: bool = False) -> None:
        super().__init__(colours=colours)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, force_terminal=force or None)
        self._progress: Progress = Progress(
            TextColumn("cell"),
            MofNCompleteColumn(),
            BarColumn(20),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            refresh_per_second=5,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID | None = None

    def begin(self, total: int) -> None:
        self._task = self._progress.add_task("", total=total)
        self._progress.start()

    def cell_begins(self, number: int, cell: Cell) -> None:
        if self._task is not None:
            room = max(10, self._console.width - 50)
            self._progress.update(self._task, description=first_line(cell["source"], room))

    def cell_ends(self, number: int, how: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=number)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def note(self, text: str) -> None:
        running = self._progress.live.is_started
        self._progress.stop()
        super().note(text)
        if running:
            self._progress.start()

    def failure(self, number: int, position: int, cell: Cell, error: dict[str, Any]) -> None:
        running = self._progress.live.is_started
        self._progress.stop()
        super().failure(number, position, cell, error)
        if running:
            self._progress.start()

    def end(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, description="")
        self._progress.stop()


def make_view(*, quiet: bool, progress: bool | None) -> RunView:
    """The view for this process's standard error.

    progress: whether there is a bar; None where there is a terminal that can show one.
    """
    terminal = sys.stderr.isatty()
    colours = terminal and not os.environ.get("NO_COLOR")
    if quiet:
        return RunView(colours=colours)
    if progress or (progress is None and terminal and os.environ.get("TERM", "") not in ("", "dumb", "unknown")):
        if importlib.util.find_spec("rich") is not None:
            return BarView(colours=colours, force=bool(progress))
        if progress:
            tell("fps-kernels run: the bar needs rich: install fps_kernels[gateway]; there are lines instead")
    return LinesView(colours=colours)
