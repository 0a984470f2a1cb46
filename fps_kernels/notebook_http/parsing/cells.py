"""The cells of a notebook file, with what their numbers, kinds and metadata say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_COMMENT_PREFIX: Mapping[str | None, str] = {None: "#", "scala": "//"}
"""By language; None: all others. The original's manual says /// for Scala, its code has // in every version."""


@dataclass(frozen=True, slots=True)
class Cell:
    """number: among all cells of the notebook, from 0. stream: what the metadata say, None when nothing."""

    number: int
    kind: str
    source: str
    stream: Any = None


def read_cells(cells: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """Of nbformat dicts; a source may be a list of lines, and is called input in nbformat 3."""
    read = []
    for number, cell in enumerate(cells):
        source = cell.get("source", cell.get("input", ""))
        text = source if isinstance(source, str) else "".join(source)
        metadata = cell.get("metadata") or {}
        read.append(Cell(number, cell.get("cell_type", ""), text, metadata.get("stream")))
    return read


def comment_prefix_of(language: str, comment_prefix: Mapping[str | None, str]) -> str:
    """How a comment begins. Names of languages know no case: the one of R is written R and r."""
    by_language = {(name or "").lower(): prefix for name, prefix in comment_prefix.items()}
    return by_language.get(language.lower()) or by_language.get("") or "#"


def joined(cells: Sequence[Cell]) -> str:
    """Their sources, a newline after each."""
    return "".join(f"{cell.source}\n" for cell in cells)


def streams(cells: Sequence[Cell], warnings: list[str]) -> bool:
    """Whether any of the cells says {"stream": true}; another value than true and false gets a warning."""
    for cell in cells:
        if cell.stream is not None and not isinstance(cell.stream, bool):
            warnings.append(f"cell {cell.number}: its metadata has stream={cell.stream!r}, neither true nor false")
    return any(cell.stream is True for cell in cells)
