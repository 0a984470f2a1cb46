"""Notebooks as they are found, as shared documents: they open, are executed and saved."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from fps_kernels.execution.fps_yjs.odd_notebooks import fit

from ..support.documents import Desk
from ..support.notebooks import code_cell, notebook
from ..support.waits import until

CODE = "stream('x')"
CELL = code_cell(CODE, id="a")


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CELL.items() if key != name}


def book(*cells: Any, **keys: Any) -> dict[str, Any]:
    return notebook() | {"cells": list(cells)} | keys


OLD_CELL = {"cell_type": "code", "input": CODE, "language": "python", "outputs": [], "metadata": {}}
OLD = {"worksheets": [{}, {"cells": [OLD_CELL]}], "metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(book(CELL | {"metadata": None}), id="cell metadata null"),
        pytest.param(book(without("metadata")), id="no cell metadata"),
        pytest.param(book(CELL, CELL | {"id": "b", "source": None}), id="source null"),
        pytest.param(book(CELL | {"source": [CODE]}), id="list of lines"),
        pytest.param(book(CELL | {"metadata": {"n": 10**40}}), id="large number"),
        pytest.param(book(CELL | {"metadata": {"s": "\ud800"}}), id="half of a pair"),
        pytest.param(book(CELL | {"metadata": {"n": float("nan")}}), id="NaN"),
        pytest.param(book(CELL | {"outputs": None}), id="outputs null"),
        pytest.param(book(CELL, metadata=None), id="metadata null"),
        pytest.param({"cells": [CELL]}, id="cells alone"),
        pytest.param(OLD, id="nbformat 3"),
    ],
)
async def test_an_odd_notebook_is_opened_executed_and_saved(desk: Desk, content: dict[str, Any]) -> None:
    path = desk.root / f"{uuid.uuid4().hex}.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    doc = await desk.reopen(path, await desk.client.start())
    cell_id = doc.cells[0]["id"]
    await doc.run(cell_id)
    assert doc.text(cell_id) == "x"

    def saved() -> bool:
        cells = doc.file().get("cells", ())
        return bool(cells) and bool(cells[0].get("outputs"))

    await until(saved, 30, every_s=0.05)
    assert doc.file()["nbformat"] == 4
    assert "NaN" not in path.read_text()


def test_a_plain_notebook_is_left_as_it_is() -> None:
    plain = notebook("x", {"cell_type": "markdown", "source": "y", "metadata": {}, "attachments": {"a": {"b": "c"}}})
    assert fit(plain) == plain
