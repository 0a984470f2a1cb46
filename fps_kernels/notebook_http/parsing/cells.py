"""The cells of a notebook file, with their numbers, kinds and metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_COMMENT_PREFIX: Mapping[str | None, str] = {None: "#", "scala": "//"}
"""How a comment begins, by language; None stands for all others.

The manual of Kernel Gateway says /// for Scala; its code has // in every version.
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a notebook.

    number: its position among all cells, from 0.
    stream: the value of `stream` in its metadata; None if there is none.
    """

    number: int
    kind: str
    source: str
    stream: Any = None


def read_cells(cells: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """The cells of a notebook, from nbformat's dicts.

    A source may be a list of lines; in nbformat 3 its name is "input".
    """
    read = []
    for number, cell in enumerate(cells):
        source = cell.get("source", cell.get("input", ""))
        text = source if isinstance(source, str) else "".join(source)
        metadata = cell.get("metadata")
        stream = metadata.get("stream") if isinstance(metadata, dict) else None
        read.append(Cell(number, cell.get("cell_type", ""), text, stream))
    return read


def comment_prefix_of(language: str, comment_prefix: Mapping[str | None, str]) -> str:
    """How a comment begins in a language, whose name may be in any case: R is written R and r."""
    by_language = {(name or "").lower(): prefix for name, prefix in comment_prefix.items()}
    return by_language.get(language.lower()) or by_language.get("") or "#"


def joined(cells: Sequence[Cell]) -> str:
    """The sources of cells, each with a newline after it."""
    return "".join(f"{cell.source}\n" for cell in cells)


def streams(cells: Sequence[Cell], warnings: list[str]) -> bool:
    """Whether any of the cells has the metadata {"stream": true}.

    warnings: gets a line for each value that is neither true nor false.
    """
    for cell in cells:
        if cell.stream is not None and not isinstance(cell.stream, bool):
            warnings.append(f"cell {cell.number}: its metadata has stream={cell.stream!r}, which is not a boolean")
    return any(cell.stream is True for cell in cells)
