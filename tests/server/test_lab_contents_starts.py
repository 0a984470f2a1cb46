"""`fps-kernels lab` on folders that are odd or large, and ids of the files in them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from nbformat.v4 import new_notebook
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ..support.gateways import Begin, Gateway, gateways
from ..support.lacking import lacking
from ..support.ports import free_port

WITH_DOCUMENTS = [
    *(word for name in ("jupyterlab", "lab", "nbconvert", "terminals") for word in ("--disable", name)),
    *("--set", "kernels.prewarm=0", "--no-token"),
]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    with gateways(tmp_path) as begin:
        yield begin


def start(begin: Begin) -> Gateway:
    return begin("lab", "--port", str(free_port()), *WITH_DOCUMENTS)


def ask(server: Gateway, method: str, path: str, model: Any = None) -> httpx.Response:
    return httpx.request(method, f"{server.url}/api/{path}", json=model, timeout=60, trust_env=False)


def test_a_folder_with_links_that_lead_nowhere_is_listed_and_the_server_ends(begin: Begin, tmp_path: Path) -> None:
    root = tmp_path / "gateway0"
    (root / "a" / "b").mkdir(parents=True)
    for place in (root, root / "a", root / "a" / "b"):
        (place / "dangling").symlink_to("nothing")
        (place / "loop").symlink_to("loop")
    (root / "a" / "up").symlink_to("..")
    os.mkfifo(root / "pipe")
    server = start(begin)
    listed = {one["name"] for one in ask(server, "GET", "contents").json()["content"]}
    assert {"a", "dangling"} <= listed
    assert server.stop(signal.SIGTERM) == 0
    assert "Traceback" not in server.log


NOTE_LISTINGS = """
import os
log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def note(event, arguments):
    if event in ("os.listdir", "os.scandir"):
        path = arguments[0]
        path = os.getcwd() if path is None else os.readlink(f"/proc/self/fd/{{path}}") if type(path) is int else path
        os.write(log, os.fsencode(os.path.abspath(path)) + b"\\n")
sys.addaudithook(note)
"""
"""Notes which folders are listed by anything in Python."""


def watched_files(process_id: int) -> int:
    found = 0
    for info in Path(f"/proc/{process_id}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += len(re.findall("^inotify wd:", info.read_text(), re.M))
    return found


def test_a_start_looks_at_no_file_and_leaves_none(begin: Begin, tmp_path: Path) -> None:
    """20,000 files cost no more than none."""
    root, listed = tmp_path / "gateway0", tmp_path / "listed"
    for number in range(200):
        folder = root / "tree" / f"{number}"
        folder.mkdir(parents=True)
        for name in range(100):
            os.close(os.open(folder / f"{name}", os.O_CREAT))
    env = lacking(tmp_path / "inside", NOTE_LISTINGS.format(log=str(listed)))
    server = begin("lab", "--port", str(free_port()), *WITH_DOCUMENTS, env=env)
    assert ask(server, "GET", "contents/tree").status_code == 200
    nbformat.write(new_notebook(), root / "a.ipynb")
    assert (
        ask(server, "PUT", "collaboration/session/a.ipynb", {"format": "json", "type": "notebook"}).status_code == 201
    )
    assert watched_files(server.process.pid) < 10
    assert server.stop() == 0
    below = [path for path in listed.read_text().splitlines() if path.startswith(f"{root.resolve()}/tree")]
    assert set(below) == {str(root.resolve() / "tree")}  # which was asked for
    assert [path.name for path in root.iterdir() if path.name.endswith((".db", ".y"))] == []


def test_a_file_keeps_its_id_when_it_is_renamed(begin: Begin, tmp_path: Path) -> None:
    server = start(begin)
    root = server.base
    (root / "sub").mkdir()
    for name in ("a.ipynb", "sub/b.ipynb"):
        nbformat.write(new_notebook(), root / name)
    kind = {"format": "json", "type": "notebook"}

    def session(path: str) -> httpx.Response:
        return ask(server, "PUT", f"collaboration/session/{path}", kind)

    ids = {path: session(path).json()["fileId"] for path in ("a.ipynb", "sub/b.ipynb")}
    assert session("a.ipynb").json()["fileId"] == ids["a.ipynb"]
    assert ask(server, "PATCH", "contents/a.ipynb", {"path": "c.ipynb"}).status_code == 200
    assert ask(server, "PATCH", "contents/sub", {"path": "other"}).status_code == 200
    assert session("c.ipynb").json()["fileId"] == ids["a.ipynb"]
    assert session("other/b.ipynb").json()["fileId"] == ids["sub/b.ipynb"]
    (root / "dangling").symlink_to("nothing")
    for missing in ("a.ipynb", "sub/b.ipynb", "nothing", "dangling", "%2e%2e/x", "a%00"):
        assert session(missing).status_code == 404, missing
    nbformat.write(new_notebook(), root / "a.ipynb")
    assert session("a.ipynb").json()["fileId"] not in ids.values()
    assert ask(server, "DELETE", "contents/c.ipynb").status_code == 204
    assert session("c.ipynb").status_code == 404


def test_a_page_of_an_earlier_run_is_told_to_reload(begin: Begin) -> None:
    """It asks for a document by an id that this run has not given."""
    server = start(begin)
    url = f"ws{server.url[4:]}/api/collaboration/room/json:notebook:{'0' * 32}"
    with connect(url, proxy=None) as page, pytest.raises(ConnectionClosed) as closed:
        page.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, json.loads(closed.value.rcvd.reason)["reloadable"]) == (1003, True)
    assert "Traceback" not in server.log
