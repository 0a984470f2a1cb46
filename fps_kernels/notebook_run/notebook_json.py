"""Notebook files: read into the form of nbformat 4 with each text as one string, and written as nbformat does. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ..errors import BadOption

Cell = dict[str, Any]
Notebook = dict[str, Any]
"""A notebook in the form of nbformat 4, in which sources and texts are strings, not lists of lines."""

MAX_SHOWN_CHARS = 200


class NotANotebook(BadOption):
    """A file is not a notebook; the message says why."""


def parse_notebook(data: bytes) -> Notebook:
    """The notebook in a file, of format 3 or 4. Raises NotANotebook.

    Format 3 is converted by nbformat, if that is installed.
    """
    try:
        notebook: Any = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        raise NotANotebook(f"it is not UTF-8 (byte {exc.start})") from exc
    except (ValueError, RecursionError) as exc:
        raise NotANotebook(f"it is not JSON: {str(exc)[:MAX_SHOWN_CHARS]}") from exc
    if not isinstance(notebook, dict):
        raise NotANotebook("it is not a JSON object")
    version = notebook.get("nbformat")
    if not isinstance(version, int) or version < 3:
        raise NotANotebook("it has no nbformat of 3 or 4")
    if version == 3:
        notebook = _converted(notebook)
    elif version > 4:
        raise NotANotebook(f"its nbformat is {version}, which is not known yet")
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        raise NotANotebook("it has no list of cells")
    notebook["cells"] = [_cell(number, cell) for number, cell in enumerate(cells, 1)]
    notebook["metadata"] = _object(notebook.get("metadata"))
    if not isinstance(notebook.get("nbformat_minor"), int):
        notebook["nbformat_minor"] = 0
    return dict(notebook)


def _converted(notebook: Notebook) -> Notebook:
    try:
        import nbformat
    except ModuleNotFoundError as exc:
        raise NotANotebook("it is of format 3, which nbformat converts: pip install nbformat") from exc
    try:
        read = nbformat.reader.reads(json.dumps(notebook))  # type: ignore[no-untyped-call]
        converted: Notebook = json.loads(json.dumps(nbformat.convert(read, 4)))  # type: ignore[no-untyped-call]
        return converted
    except Exception as exc:  # whatever comes of a file that only says that it is of format 3
        raise NotANotebook(f"it cannot be converted from format 3 ({type(exc).__name__})") from exc


def _cell(number: int, cell: Any) -> Cell:
    if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
        raise NotANotebook(f"cell {number} is no object with a cell_type")
    source = _text(cell.get("source", ""))
    if source is None:
        raise NotANotebook(f"the source of cell {number} is neither a string nor a list of strings")
    read: Cell = {**cell, "source": source, "metadata": _object(cell.get("metadata"))}
    if read["cell_type"] == "code":
        outputs = read.get("outputs")
        read["outputs"] = [_output(one) for one in outputs if isinstance(one, dict)] if outputs else []
        read.setdefault("execution_count", None)
    return read


def _output(output: dict[str, Any]) -> dict[str, Any]:
    """An output with its texts as strings, so that they are written as all others."""
    output = dict(output)
    if (text := _text(output.get("text"))) is not None:
        output["text"] = text
    if isinstance(data := output.get("data"), dict):
        output["data"] = {name: one if _is_json(name) else _joined(one) for name, one in data.items()}
    return output


def _joined(value: Any) -> Any:
    text = _text(value)
    return value if text is None else text


def _text(value: Any) -> str | None:
    """A text that is a string, or a list of its lines; None if it is neither."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    return value if isinstance(value, str) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_json(mimetype: str) -> bool:
    return mimetype == "application/json" or (mimetype.startswith("application/") and mimetype.endswith("+json"))


def cell_json(cell: Cell) -> bytes:
    """A cell as it stands in a file, indented by two."""
    cell = {**cell, "source": cell["source"].splitlines(keepends=True)}
    if "outputs" in cell:
        cell["outputs"] = [_split(output) for output in cell["outputs"]]
    if "trusted" in cell["metadata"]:  # it is of one machine only, and nbformat leaves it out, too
        cell["metadata"] = {name: one for name, one in cell["metadata"].items() if name != "trusted"}
    return b"  " + _dumped(cell).replace(b"\n", b"\n  ")


def notebook_json(notebook: Mapping[str, Any], cells: list[bytes]) -> bytes:
    """The file of a notebook whose cells are dumped already, as nbformat would write it."""
    listed = b"[\n" + b",\n".join(cells) + b"\n ]" if cells else b"[]"
    rest = _dumped({name: value for name, value in notebook.items() if name != "cells"})
    return b'{\n "cells": ' + listed + b"," + rest[1:] + b"\n"


def _split(output: dict[str, Any]) -> dict[str, Any]:
    if isinstance(text := output.get("text"), str):
        return {**output, "text": text.splitlines(keepends=True)}
    if isinstance(data := output.get("data"), dict):
        lines = {
            name: one.splitlines(keepends=True) if isinstance(one, str) and not _is_json(name) else one
            for name, one in data.items()
        }
        return {**output, "data": lines}
    return output


def _dumped(value: Any) -> bytes:
    """A value as nbformat writes it, and as every parser can read it: without NaN, and in UTF-8."""
    try:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), indent=1, sort_keys=True, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # halves of surrogate pairs, which JSON can only hold as escapes
        return json.dumps(_finite(value), indent=1, sort_keys=True).encode()


def _finite(value: Any) -> Any:
    """The value with null for NaN and infinity, which JSON does not have, as JavaScript does it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value
