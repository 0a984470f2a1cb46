"""Seeds and notebooks as they are found: what is clear is taken for what is meant, the rest is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fps_kernels.errors import BadOption
from fps_kernels.gateway.seed import Seed, read_seed
from fps_kernels.notebook_http.parsing.annotations import parse

from ..support.client import Client
from ..support.gateways import Begin, gateways
from ..support.notebooks import code_cell, notebook

NO_OBJECTS: tuple[Any, ...] = (None, [], "x", 5)
HELLO = "# GET /hello\nstream('é')\n"


def cells(*odd: Any) -> dict[str, Any]:
    """A notebook with a cell that answers, behind the odd ones."""
    return notebook() | {"cells": [*odd, code_cell(HELLO)]}


def sheets(*sheets: Any) -> dict[str, Any]:
    """A notebook of nbformat 3."""
    sheet = {"cells": [{"cell_type": "code", "language": "python", "input": HELLO, "outputs": []}]}
    return {"worksheets": [*sheets, sheet], "metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0}


def with_metadata(metadata: Any) -> dict[str, Any]:
    return cells() | {"metadata": metadata}


def read(path: Path, content: Any) -> Seed:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(data)
    return read_seed(str(path))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + json.dumps(cells()).encode(), id="byte order mark"),
        pytest.param(json.dumps(cells()).encode("utf-16"), id="UTF-16"),
        pytest.param(json.dumps(cells(), indent=1).replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(notebook(HELLO.replace("\n", "\r\n")), id="CRLF in a source"),
        pytest.param(notebook(HELLO.replace("\n", "\r")), id="CR in a source"),
        pytest.param(notebook("\ufeff" + HELLO), id="byte order mark in a source"),
        pytest.param(notebook(HELLO.splitlines(keepends=True)), id="list of lines"),
        pytest.param(
            cells(code_cell(""), code_cell([]), {"cell_type": "code"}, {"cell_type": "code", "source": None}),
            id="empty",
        ),
        pytest.param(
            cells({"cell_type": "raw", "source": "no code"}, {"cell_type": "markdown"}, {"source": "x"}), id="no code"
        ),
        pytest.param(cells(*(code_cell("") | {"metadata": odd} for odd in NO_OBJECTS)), id="cells' metadata"),
        pytest.param(cells(code_cell("", x=float("nan"))), id="NaN"),
        pytest.param(cells({"cell_type": "code", "source": "x" * 5_000_000}), id="huge"),
        *(pytest.param(with_metadata(odd), id=f"metadata {odd}") for odd in NO_OBJECTS),
        *(
            pytest.param(with_metadata({"kernelspec": odd}), id=f"kernelspec {odd}")
            for odd in (*NO_OBJECTS, {"name": None})
        ),
        *(pytest.param(with_metadata({"language_info": odd}), id=f"language {odd}") for odd in (None, "python")),
        pytest.param({name: value for name, value in cells().items() if name == "cells"}, id="cells alone"),
        pytest.param(sheets(), id="nbformat 3"),
        pytest.param(
            sheets({}, {"cells": None}, None, {"cells": [{"cell_type": "heading", "level": 1, "source": "x"}]}),
            id="sheets",
        ),
    ],
)
def test_a_notebook_that_is_odd_but_clear(tmp_path: Path, content: Any) -> None:
    seed = read(tmp_path / "odd.ipynb", content)
    [endpoint] = parse(seed.notebook["cells"], "python").endpoints
    assert (endpoint.path, endpoint.source.rstrip("\n")) == ("/hello", HELLO.rstrip("\n"))
    assert seed.cells[-1][1] == HELLO


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[" * 100_000, "recursion"),
        ('{"a": "é"}'.encode("latin-1"), "can't decode byte"),
        ([cells()], "it is not a JSON object"),
        ("cells", "it is not a JSON object"),
        (None, "it is not a JSON object"),
        ({}, "it has neither cells nor worksheets"),
        ({"cells": {"a": 1}}, "its cells are not a list"),
        ({"worksheets": 5}, "its worksheets are not a list"),
        ({"worksheets": [{"cells": "x"}]}, "its cells are not a list"),
        ({"cells": [code_cell(), "x"]}, "cell 1 is not an object"),
        (
            {"cells": [code_cell(), code_cell() | {"source": 5}]},
            "the source of cell 1 is neither a string nor a list of strings",
        ),
        ({"cells": [code_cell() | {"source": [5]}]}, "the source of cell 0 is neither a string nor a list of strings"),
        (with_metadata({"kernelspec": {"name": 5}}), "the name of its kernelspec is not a string"),
    ],
)
def test_what_is_no_notebook_is_refused_in_words(tmp_path: Path, content: Any, why: str) -> None:
    path = tmp_path / "odd.ipynb"
    with pytest.raises(BadOption) as refused:
        read(path, content)
    assert refused.value.message.startswith(f"seed_uri={path}: not a notebook (")
    assert why in refused.value.message


@pytest.mark.parametrize("name", ["with spaces.ipynb", "größe.ipynb", "100%.ipynb", "a#b?.ipynb", "a%20b.ipynb"])
def test_a_notebook_with_an_odd_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert read(path, cells()).uri == str(path)
    for uri in (f"file://{path}", f"file://{quote(str(path))}", f"file://localhost{quote(str(path))}"):
        assert read_seed(uri).notebook["cells"]


async def test_an_odd_notebook_is_served(tmp_path: Path) -> None:
    odd = cells({"cell_type": "raw"}, code_cell("prefix = 'hel'\r\n", x=float("nan"))) | {"extra": float("inf")}
    odd["metadata"] |= {"language_info": None}
    path = tmp_path / "a b é#.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(odd).encode())
    with gateways(tmp_path) as begin:
        await _serve(begin, f"--seed_uri={path}")


async def _serve(begin: Begin, option: str) -> None:
    name = "NotebookHTTPPersonality.allow_notebook_download"
    gateway = begin("--api=kernel_gateway.notebook_http", option, f"--{name}=True")

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    async with Client(gateway.url) as client:
        response = await client.http.get("/hello")
        assert (response.status_code, response.text) == (200, "é")
        notebook = json.loads((await client.http.get("/_api/source")).text, parse_constant=refuse)
        assert (notebook["extra"], notebook["cells"][1]["metadata"]) == (None, {"x": None})
