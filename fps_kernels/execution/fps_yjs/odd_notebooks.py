"""Patch of fps-yjs 0.6.4: notebooks that a shared document cannot hold as they are.

The plugin puts a file into its document as it finds it. With `null` for metadata or a source, cells of nbformat 3, a
number beyond 64 bits or half of a surrogate pair, that fails half-way, and the notebook cannot be opened; pycrdt even
panics. What the plugin reads goes through `fit` instead, as Jupyter Server's nbformat does it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from ...json_model import finite
from ..output_messages import encodable

LATEST_MINOR = 5
"""The minor version that a notebook gets that says none: in it, cells have ids."""


def read_odd_notebooks(manager: Any) -> None:
    """Have the plugin's room manager read notebooks through `fit`. Idempotent."""
    if not isinstance(manager.contents, _FitContents):
        manager.contents = _FitContents(manager.contents)


class _FitContents:
    """The contents plugin, whose notebooks fit into documents."""

    def __init__(self, contents: Any) -> None:
        self._contents = contents

    def __getattr__(self, name: str) -> Any:
        return getattr(self._contents, name)

    async def read_content(self, path: Any, get_content: bool, file_format: str | None = None) -> Any:
        if not (get_content and file_format == "json" and str(path).endswith(".ipynb")):
            return await self._contents.read_content(path, get_content, file_format)
        try:
            model = await self._contents.read_content(path, True, file_format)
        except (AttributeError, KeyError, TypeError):  # the contents plugin fails on some odd ones, too
            model = await self._contents.read_content(path, False)
            model.content = await asyncio.to_thread(_read, Path(path))
        if isinstance(model.content, dict):
            model.content = await asyncio.to_thread(fit, model.content)
        return model


def _read(path: Path) -> dict[str, Any]:
    """A notebook as the contents plugin would give it. Raises OSError, ValueError."""
    notebook = json.loads(path.read_bytes())
    if not isinstance(notebook, dict):
        raise ValueError(f"{path.name} is not a notebook")
    book = fit(notebook)
    for cell in book["cells"]:
        cell["metadata"]["trusted"] = False
    return book


def fit(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook in the form that a shared document can hold."""
    if "cells" not in notebook and isinstance(notebook.get("worksheets"), list):
        notebook = _upgraded(notebook)
    book: dict[str, Any] = encodable(finite(notebook))
    cells = book.get("cells")
    book["cells"] = [_fit_cell(cell) for cell in cells if isinstance(cell, dict)] if isinstance(cells, list) else []
    book["metadata"] = _object(book.get("metadata"))
    for name, latest in (("nbformat", 4), ("nbformat_minor", LATEST_MINOR)):
        if not isinstance(book.get(name), int):
            book[name] = latest
    return book


def _fit_cell(cell: dict[str, Any]) -> dict[str, Any]:
    kind = cell.get("cell_type")
    source = cell.get("source")
    lines = source if isinstance(source, list) else [source]
    fit = {
        **cell,
        "cell_type": kind if kind in ("code", "markdown", "raw") else "raw",
        "source": "".join(line for line in lines if isinstance(line, str)),
        "metadata": _object(cell.get("metadata")),
    }
    if kind == "code":
        outputs = cell.get("outputs")
        fit["outputs"] = [one for one in outputs if isinstance(one, dict)] if isinstance(outputs, list) else []
        fit.setdefault("execution_count", None)
    return fit


def _upgraded(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook of nbformat 2 or 3 as one of 4; unchanged where the package nbformat is not installed."""
    try:
        import nbformat
    except ImportError:
        return notebook
    old = {"nbformat": 3, "nbformat_minor": 0, **notebook, "metadata": _object(notebook.get("metadata"))}
    old["worksheets"] = [{"cells": [], **sheet} for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
    return dict(nbformat.convert(nbformat.from_dict(old), 4))  # type: ignore[no-untyped-call]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
