"""The same requests to a stock Jupyter Server and to `fps-kernels lab`: the same statuses and models."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from ..support.contents import Files, files_only
from ..support.stock import stock_servers

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Files, Files]]:
    """A stock one and ours, each with the same files in a folder."""
    base = tmp_path_factory.mktemp("as_stock")
    with stock_servers(base / "stock") as begin, files_only(base / "ours") as ours:
        server = begin()
        with httpx.Client(timeout=60, trust_env=False) as client:
            both = (Files(client, server.url, server.root).below("files"), ours.below("files"))
            for files in both:
                fill(files.path)
            yield both


def fill(folder: Path) -> None:
    book = new_notebook(
        cells=[new_code_cell("1 + 1", id="a", outputs=[new_output("stream", text="a\nb\n")])],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(book, folder / "a.ipynb")
    (folder / "b.ipynb").write_text(json.dumps({**book, "cells": [{**book.cells[0], "outputs": 1}]}))
    (folder / "broken.ipynb").write_text("{")
    (folder / "old.ipynb").write_text(
        json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": []}]})
    )
    for name in ("a.txt", "ä b.txt", "a.tar.gz", "noext", "x~", ".hidden"):
        (folder / name).write_text("text\n")
    (folder / "binary").write_bytes(b"\xff\x00")
    (folder / "sub").mkdir()
    (folder / "sub" / "c.py").write_text("c")
    (folder / "empty").mkdir()
    (folder / "dangling").symlink_to("nothing")
    (folder / "link").symlink_to("a.txt")


TEXT = {"type": "file", "format": "text", "content": "new\n"}
BYTES = {"type": "file", "format": "base64", "content": base64.b64encode(b"\0\xff").decode()}
BOOK = {"type": "notebook", "format": "json", "content": new_notebook(cells=[new_code_cell("2", id="b")])}
INVALID = {"type": "notebook", "format": "json", "content": {**new_notebook(), "cells": [{"cell_type": "code"}]}}

# In this order, as each may change what the next one finds.
REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("GET", "?content=0", None),
    ("GET", "?type=file", None),
    ("GET", "/sub", None),
    ("GET", "/sub?type=notebook", None),
    ("GET", "/a.ipynb", None),
    ("GET", "/a.ipynb?content=0", None),
    ("GET", "/a.ipynb?content=0&hash=1", None),
    ("GET", "/a.ipynb?hash=1&type=notebook", None),
    ("GET", "/a.ipynb?type=file", None),
    ("GET", "/a.ipynb?type=file&format=base64", None),
    ("GET", "/a.ipynb?type=directory", None),
    ("GET", "/a.ipynb?type=strange", None),
    ("GET", "/a.ipynb?content=2", None),
    ("GET", "/a.ipynb?format=json", None),
    ("GET", "/a.ipynb?hash=x", None),
    ("GET", "/b.ipynb", None),
    ("GET", "/broken.ipynb", None),
    ("GET", "/broken.ipynb?type=file", None),
    ("GET", "/old.ipynb", None),
    ("GET", "/a.txt", None),
    ("GET", "/a.txt?type=notebook", None),
    ("GET", "/a.txt?format=base64", None),
    ("GET", "/a.txt?hash=1", None),
    ("GET", "/%C3%A4%20b.txt", None),
    ("GET", "/a.tar.gz", None),
    ("GET", "/noext", None),
    ("GET", "/binary", None),
    ("GET", "/binary?format=text", None),
    ("GET", "/.hidden", None),
    ("GET", "/nothing", None),
    ("GET", "/link", None),
    ("GET", "/a.txt/x", None),
    ("POST", "", None),
    ("POST", "", {}),
    ("POST", "", {"type": "notebook"}),
    ("POST", "", {"type": "directory"}),
    ("POST", "", {"type": "file", "ext": ".py"}),
    ("POST", "", {"ext": "ipynb"}),
    ("POST", "", {"type": "strange"}),
    ("POST", "/a.txt", {}),
    ("POST", "/nothing", {}),
    ("POST", "", {"copy_from": "files/a.ipynb"}),
    ("POST", "/sub", {"copy_from": "files/a.ipynb"}),
    ("POST", "", {"copy_from": "files/a.tar.gz"}),
    ("POST", "", {"copy_from": "files/sub"}),
    ("POST", "", {"copy_from": "files/nothing"}),
    ("POST", "", {"copy_from": "files/.hidden"}),
    ("PUT", "/new.txt", TEXT),
    ("PUT", "/new.txt", {**TEXT, "content": "other"}),
    ("PUT", "/new.bin", BYTES),
    ("PUT", "/new.ipynb", BOOK),
    ("PUT", "/new.ipynb", BOOK),
    ("PUT", "/invalid.ipynb", INVALID),
    ("PUT", "/newdir", {"type": "directory"}),
    ("PUT", "/newdir", {"type": "directory"}),
    ("PUT", "/a.txt", {"type": "directory"}),
    ("PUT", "/.new", TEXT),
    ("PUT", "/nothing/new.txt", TEXT),
    ("PUT", "/x.txt", {"type": "file"}),
    ("PUT", "/made.txt", {"type": "file"}),
    ("PUT", "/made.ipynb", {"type": "notebook"}),
    ("PUT", "/new.txt", {"type": "file", "content": "x"}),
    ("PUT", "/new.txt", {**TEXT, "format": "strange"}),
    ("PUT", "/new.txt", {"format": "text", "content": "x"}),
    ("PUT", "/new.txt", {"copy_from": "files/a.txt"}),
    ("PUT", "/chunks", {**BYTES, "chunk": 1}),
    ("PUT", "/chunks", {**BYTES, "chunk": 2}),
    ("PUT", "/chunks", {**BYTES, "chunk": -1}),
    ("GET", "/chunks", None),
    ("PUT", "/chunks", {**BOOK, "chunk": 1}),
    ("GET", "/a.ipynb/checkpoints", None),
    ("POST", "/a.ipynb/checkpoints", None),
    ("GET", "/a.ipynb/checkpoints", None),
    ("PUT", "/a.ipynb", BOOK),
    ("POST", "/a.ipynb/checkpoints/checkpoint", None),
    ("GET", "/a.ipynb", None),
    ("DELETE", "/a.ipynb/checkpoints/checkpoint", None),
    ("DELETE", "/a.ipynb/checkpoints/checkpoint", None),
    ("POST", "/a.ipynb/trust", None),
    ("GET", "/a.ipynb", None),
    ("PATCH", "/a.txt", {"path": "files/new.txt"}),
    ("PATCH", "/a.txt", {"path": "files/renamed.txt"}),
    ("PATCH", "/renamed.txt", {}),
    ("PATCH", "/nothing", {"path": "files/x"}),
    ("PATCH", "/renamed.txt", {"path": "files/.x"}),
    ("PATCH", "/renamed.txt", {"path": "files/nothing/x"}),
    ("PATCH", "/renamed.txt", {"path": "../x"}),
    ("PATCH", "/renamed.txt", None),
    ("PATCH", "/sub", {"path": "files/sub2"}),
    ("GET", "/sub2", None),
    ("DELETE", "/renamed.txt", None),
    ("DELETE", "/renamed.txt", None),
    ("DELETE", "/sub2", None),
    ("DELETE", "/empty", None),
    ("DELETE", "/.hidden", None),
    ("GET", "", None),
]

STRICTER = {500: {400, 404}}
"""What stock answers 500, as a bug of its own, may be the client's fault here."""


def test_each_request_is_answered_as_a_stock_server_answers_it(servers: tuple[Files, Files]) -> None:
    different = []
    for number, (method, path, body) in enumerate(REQUESTS):
        stock, ours = (ask(files, method, path, body) for files in servers)
        if stock != ours and ours[0] not in STRICTER.get(stock[0], set()):
            different.append((number, method, path, stock, ours))
    assert different == [], "\n".join(map(repr, different))
    listings = [sorted(str(path.relative_to(files.path)) for path in files.path.rglob("*")) for files in servers]
    assert listings[0] == listings[1]
    for name in listings[0]:
        one, other = (files.path / name for files in servers)
        if one.is_file():
            assert one.read_bytes() == other.read_bytes() or is_equal_but_for_ids(one, other), name


def is_equal_but_for_ids(one: Path, other: Path) -> bool:
    """Notebooks and cells that a server makes have ids of chance."""
    texts = [re.sub(r'"id": "[^"]+"', "", path.read_text()) for path in (one, other)]
    return texts[0] == texts[1]


def ask(files: Files, method: str, path: str, body: Any) -> tuple[int, Any, dict[str, str]]:
    """Status, model and headers, without what is of one server or one moment only."""
    content = None if body is None else json.dumps(body).encode()
    url = f"{files.url}/api/contents/files{path}"
    answer = files.client.request(method, url, content=content)
    headers = {name: answer.headers[name] for name in ("location", "content-type") if name in answer.headers}
    headers = {name: value.replace("; charset=UTF-8", "") for name, value in headers.items()}
    if "location" in headers:
        headers["location"] = headers["location"].removeprefix(files.url)
    if "last-modified" in answer.headers:
        headers["last-modified"] = "there"
    if answer.status_code >= 400:  # in words of its own: a 404 of stock is no JSON, and its two managers differ
        return answer.status_code, reason(answer), {}
    if not answer.content:
        headers.pop("content-type", None)
    model = json.loads(answer.content) if answer.content else None
    return answer.status_code, without_times(model), headers


def reason(answer: httpx.Response) -> str | None:
    """Why a request was refused, for programs."""
    try:
        model = answer.json()
    except ValueError:
        return None
    assert model["message"]
    found: str | None = model["reason"]
    return found


def without_times(value: Any) -> Any:
    if isinstance(value, list):
        listed = [without_times(one) for one in value]
        is_folder = bool(listed) and isinstance(listed[0], dict) and "name" in listed[0]
        return sorted(listed, key=lambda one: one["name"]) if is_folder else listed
    if isinstance(value, dict):
        found = {}
        for key, one in value.items():
            if key in ("created", "last_modified"):
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", one), one
            elif key == "id" and re.fullmatch(r"[0-9a-f]{8}", str(one)):
                found[key] = "made"
            else:
                found[key] = without_times(one)
        return found
    return value
