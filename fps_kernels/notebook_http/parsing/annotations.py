"""Endpoints from annotations: comments with a verb and a path in the first lines of code cells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .cells import DEFAULT_COMMENT_PREFIX, Cell, comment_prefix_of, joined, read_cells, streams
from .endpoints import Endpoint, EndpointTable, check_path, doubts, unreachable
from .notebook_error import NotebookError

_VERB_AND_PATH = r"\s+(GET|PUT|POST|DELETE|PATCH|HEAD)\s+(/.*)"


def parse(
    cells: Sequence[Mapping[str, Any]],
    language: str = "",
    comment_prefix: Mapping[str | None, str] = DEFAULT_COMMENT_PREFIX,
) -> EndpointTable:
    """The endpoints of a notebook; all its code cells without an annotation are seeds.

    cells: all cells of the notebook, of any kind, as nbformat has them.
    language: the notebook's `metadata.language_info.name`.
    comment_prefix: how a comment begins, by language.
    Raises NotebookError when there is no endpoint, or one that cannot be served.
    """
    prefix = comment_prefix_of(language, comment_prefix)
    patterns = _Patterns(prefix)
    answers: dict[tuple[str, str], list[Cell]] = {}
    infos: dict[tuple[str, str], list[Cell]] = {}
    seeds: list[str] = []
    warnings: list[str] = []
    for cell in read_cells(cells):
        if cell.kind != "code":
            continue
        if found := patterns.endpoint.match(cell.source):
            answers.setdefault(_key(found, cell), []).append(cell)
        elif found := patterns.response_info.match(cell.source):
            infos.setdefault(_key(found, cell), []).append(cell)
        else:
            seeds.append(cell.source)
        if ignored := patterns.ignored(cell.source, annotated=found is not None):
            warnings.append(f"cell {cell.number}: {ignored!r} is not an annotation: {patterns.rule}")
    if not answers:
        raise NotebookError("; ".join([f"no cell has an annotation such as '{prefix} GET /hello'", *warnings]))
    endpoints = []
    first_cells: dict[str, int] = {}
    for (path, verb), parts in answers.items():
        first_cells.setdefault(path, parts[0].number)
        info = infos.get((path, verb))
        endpoints.append(
            Endpoint(
                path,
                verb,
                joined(parts),
                joined(info) if info else None,
                streams(parts, warnings),
                tuple(cell.number for cell in parts),
            )
        )
    for (path, verb), parts in infos.items():
        if (path, verb) not in answers:
            warnings.append(f"cell {parts[0].number}: ResponseInfo for {verb} {path}, which no cell answers")
    for path, number in first_cells.items():
        warnings += [f"cell {number}: {doubt}" for doubt in doubts(path)]
    for path, winner in unreachable(first_cells):
        reason = f"{winner} of cell {first_cells[winner]} gets its requests"
        warnings.append(f"cell {first_cells[path]}: {path} is never reached: {reason}")
    return EndpointTable(tuple(endpoints), tuple(seeds), tuple(warnings))


class _Patterns:
    """The forms of an annotation after a comment prefix, which is taken literally."""

    def __init__(self, prefix: str) -> None:
        comment = re.escape(prefix)
        self.endpoint = re.compile(comment + _VERB_AND_PATH)
        self.response_info = re.compile(comment + r"\s+ResponseInfo" + _VERB_AND_PATH)
        self.rule = (
            f"an annotation is the first line of a cell, such as '{prefix} GET /path', with its verb in upper case"
        )
        verb = r"(?:ResponseInfo\s+)?(?:GET|PUT|POST|DELETE|PATCH|HEAD|OPTIONS)"
        self._nearly = re.compile(rf"(?:\A\s*|^){comment}[^\S\n]*{verb}[^\S\n]+/.*", re.MULTILINE | re.IGNORECASE)

    def ignored(self, source: str, annotated: bool) -> str | None:
        """The first line that looks like an annotation but has no effect."""
        lines = [found[0].strip() for found in self._nearly.finditer(source)]
        if annotated and lines:
            # The cell's own annotation once more is what remains after merging cells.
            lines = [line for line in lines[1:] if line != lines[0]]
        return lines[0] if lines else None


def _key(found: re.Match[str], cell: Cell) -> tuple[str, str]:
    """The path and the verb of an annotation. Raises NotebookError."""
    verb, path = found[1], found[2].strip()
    try:
        check_path(path)
    except ValueError as exc:
        raise NotebookError(str(exc), cell.number) from None
    return path, verb
