"""What a client asks for: cells of a document, in one of the shapes that front ends send."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidExecution

MAX_CELLS = 10_000
MAX_ID_CHARS = 256


@dataclass(frozen=True, slots=True)
class CellChoice:
    """A cell, by its id or its number. source_hash: of the source that the client means, in decimal."""

    cell_id: str | None = None
    number: int | None = None
    source_hash: str | None = None


@dataclass(frozen=True, slots=True)
class ExecuteBody:
    """The body of an execution request.

    batch: whether the cells came as a list, whose order holds. previous_request_id: the request after
    which this one comes, though it may arrive earlier.
    """

    document_id: str | None
    cells: tuple[CellChoice, ...]
    batch: bool = False
    request_id: str | None = None
    previous_request_id: str | None = None


def parse_body(data: bytes) -> ExecuteBody:
    """Raises InvalidExecution, which names what is wrong."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidExecution("The body is not valid JSON") from exc
    if not isinstance(body, dict):
        raise InvalidExecution("The body is not a JSON object")
    document_id = _text(body, "document_id")
    if body.get("cells") is not None:
        return ExecuteBody(
            document_id,
            tuple(_parse_cells(body["cells"])),
            batch=True,
            request_id=_text(body, "request_id"),
            previous_request_id=_text(body, "previous_request_id"),
        )
    if body.get("cell_id") is not None:
        choice = CellChoice(cell_id=_text(body, "cell_id"), source_hash=_hash(body))
    elif body.get("cell_idx") is not None:
        choice = CellChoice(number=_number(body, "cell_idx"))
    else:
        raise InvalidExecution("Missing field in JSON data: cell_id, cells or cell_idx")
    return ExecuteBody(document_id, (choice,), request_id=_text(body, "request_id"))


def _parse_cells(cells: Any) -> list[CellChoice]:
    if not isinstance(cells, list) or not cells or len(cells) > MAX_CELLS:
        raise InvalidExecution(f"Invalid field in JSON data: cells must be a list of 1 to {MAX_CELLS} cells")
    choices = []
    for number, cell in enumerate(cells):
        prefix = f"cells[{number}]"
        if not isinstance(cell, dict):
            raise InvalidExecution(f"Invalid field in JSON data: {prefix} must be an object")
        cell_id = _text(cell, "cell_id", prefix + ".")
        if cell_id is None:
            raise InvalidExecution(f"Missing field in JSON data: {prefix}.cell_id")
        choices.append(CellChoice(cell_id=cell_id, source_hash=_hash(cell, prefix + ".")))
    return choices


def _text(body: dict[str, Any], name: str, prefix: str = "") -> str | None:
    value = body.get(name)
    if value is None or (isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS and _is_encodable(value)):
        return value
    raise InvalidExecution(
        f"Invalid field in JSON data: {prefix}{name} must be a string of 1 to {MAX_ID_CHARS} characters"
    )


def _is_encodable(text: str) -> bool:
    """JSON can hold lone surrogates, but what is answered in UTF-8 could not name them."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _number(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise InvalidExecution(f"Invalid field in JSON data: {name} must be a number from 0 on")


def _hash(body: dict[str, Any], prefix: str = "") -> str | None:
    """In decimal; as a number, too."""
    value = body.get("source_hash")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or (isinstance(value, str) and value.isdecimal() and len(value) <= 10):
        return value
    raise InvalidExecution(f"Invalid field in JSON data: {prefix}source_hash must be a decimal number")
