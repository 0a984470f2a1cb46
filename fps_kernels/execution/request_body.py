"""What a client asks for: cells of a document, in one of the shapes that front ends send."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Self

import msgspec

from ..errors import InvalidBody, InvalidExecution, InvalidField, MissingField
from ..json_model import EXPECTED, Text, Unfit, convert, decode, parse

MAX_CELLS = 10_000
MAX_ID_CHARS = 256
_SURROGATE = re.compile("[\ud800-\udfff]")


CELLS_EXPECTED = EXPECTED | {"array": f"a list of 1 to {MAX_CELLS} cells"}


@dataclass(frozen=True, slots=True)
class CellChoice:
    """A cell, by its id or its number. source_hash: of the source that the client means, in decimal."""

    cell_id: str | None = None
    number: int | None = None
    source_hash: str | None = None


@dataclass(frozen=True, slots=True)
class RequestBody:
    """The body of an execution request.

    as_list: whether the cells came as a list, whose order holds. previous_request_id: the request after
    which this one comes, though it may arrive earlier.
    """

    document_id: str | None
    cells: tuple[CellChoice, ...]
    as_list: bool = False
    request_id: str | None = None
    previous_request_id: str | None = None


class Id(str):
    """An id. JSON can hold halves of surrogate pairs, but what is answered in UTF-8 could not name them."""

    @classmethod
    def from_json(cls, value: Any) -> Self:
        if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARS or _SURROGATE.search(value):
            raise Unfit(f"a string of 1 to {MAX_ID_CHARS} characters")
        return cls(value)


class Index(int):
    """The number of a cell, from 0."""

    @classmethod
    def from_json(cls, value: Any) -> Self:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise Unfit("a number from 0 on")
        return cls(value)


class Hash(str):
    """A hash of a source, in decimal; in JSON it may be a number, too."""

    @classmethod
    def from_json(cls, value: Any) -> Self:
        if isinstance(value, int) and not isinstance(value, bool):
            return cls(value)
        if not isinstance(value, str) or not value.isdecimal() or len(value) > 10:
            raise Unfit("a decimal number")
        return cls(value)


class Shape(msgspec.Struct, frozen=True):
    """What tells the shapes of a body apart: `cells` counts more than `cell_id`, and that more than `cell_idx`."""

    cells: Any = None
    cell_id: Any = None
    cell_idx: Any = None


class Cell(msgspec.Struct, frozen=True):
    """A cell in a list."""

    cell_id: Id
    source_hash: Hash | None = None


class ByList(msgspec.Struct, frozen=True):
    """Cells whose order holds."""

    cells: Annotated[list[Cell], msgspec.Meta(min_length=1, max_length=MAX_CELLS)]
    document_id: Id | None = None
    request_id: Id | None = None
    previous_request_id: Id | None = None


class ById(msgspec.Struct, frozen=True):
    """One cell, by its id."""

    cell_id: Id
    source_hash: Hash | None = None
    document_id: Id | None = None
    request_id: Id | None = None


class ByNumber(msgspec.Struct, frozen=True):
    """One cell, by its place among the cells of the document."""

    cell_idx: Index
    document_id: Id | None = None
    request_id: Id | None = None


class Input(msgspec.Struct, frozen=True):
    """The body of an answer to input()."""

    value: Text | None = None


def parse_input(data: bytes) -> str:
    """The text that answers an input(). Raises InvalidBody, InvalidField, MissingField."""
    value = parse(data, Input).value
    if value is None:
        raise MissingField("value")
    return value


def parse_body(data: bytes) -> RequestBody:
    """Raises InvalidExecution, which names what is wrong."""
    try:
        value = decode(data)
        body = convert(value, Shape)
        if body.cells is not None:
            cells = convert(value, ByList, CELLS_EXPECTED)
            return RequestBody(
                cells.document_id,
                tuple(CellChoice(cell_id=cell.cell_id, source_hash=cell.source_hash) for cell in cells.cells),
                as_list=True,
                request_id=cells.request_id,
                previous_request_id=cells.previous_request_id,
            )
        if body.cell_id is not None:
            cell = convert(value, ById)
            choice = CellChoice(cell_id=cell.cell_id, source_hash=cell.source_hash)
            return RequestBody(cell.document_id, (choice,), request_id=cell.request_id)
        if body.cell_idx is not None:
            numbered = convert(value, ByNumber)
            return RequestBody(
                numbered.document_id, (CellChoice(number=numbered.cell_idx),), request_id=numbered.request_id
            )
    except (InvalidBody, InvalidField, MissingField) as exc:
        raise InvalidExecution(exc.message) from exc
    raise InvalidExecution("Missing field in JSON data: cell_id, cells or cell_idx")
