"""Notebooks, as in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .messages import Json

Source = str | list[str]


def code_cell(
    source: Source = "1", *, id: str | None = None, outputs: list[Json] | None = None, **metadata: Any
) -> Json:
    """A code cell that has not been run. id: none unless it is given; a notebook gives each cell one."""
    cell = {
        "cell_type": "code",
        "source": source,
        "metadata": metadata,
        "outputs": outputs or [],
        "execution_count": None,
    }
    return cell if id is None else cell | {"id": id}


def markdown_cell(source: Source, *, id: str | None = None) -> Json:
    cell: Json = {"cell_type": "markdown", "source": source, "metadata": {}}
    return cell if id is None else cell | {"id": id}


def notebook(*cells: Source | Json, kernel: str = "tiny_plain", language: str = "python") -> Json:
    """A notebook that says of itself that it is in a language.

    cells: the sources of code cells, or whole cells. One without an id gets its position as its id.
    """
    made = [cell if isinstance(cell, dict) else code_cell(cell) for cell in cells]
    return {
        "cells": [{"id": str(number), **cell} for number, cell in enumerate(made)],
        "metadata": {"kernelspec": {"name": kernel, "display_name": kernel}, "language_info": {"name": language}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def write_notebook(path: Path, *cells: Source | Json, kernel: str = "tiny_plain", language: str = "python") -> str:
    """Write a notebook to a file; returns the option that seeds a gateway with it."""
    path.write_text(json.dumps(notebook(*cells, kernel=kernel, language=language)))
    return f"--seed_uri={path}"
