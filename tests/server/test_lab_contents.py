"""The files of `fps-kernels lab`: nothing that its users have is lost, cut or mixed up."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from ..support.contents import Files, files_only
from ..support.gateways import Begin, gateways

OLD = json.dumps(
    {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": "old"},
        "worksheets": [
            {"cells": [{"cell_type": "code", "input": ["1 + 1"], "outputs": [], "metadata": {}, "language": "python"}]}
        ],
    }
)
"""A notebook of nbformat 3."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with files_only(tmp_path_factory.mktemp("contents")) as files:
        yield files


@pytest.fixture
def folder(files: Files, request: pytest.FixtureRequest) -> Files:
    """A folder of the test's own."""
    return files.below(request.node.name[5:40].replace("[", "-").replace("]", "-").replace("/", "-"))


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    with gateways(tmp_path) as begin:
        yield begin


def notebook(*sources: str) -> nbformat.NotebookNode:
    cells = [new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


# --- what is written is what was sent ------------------------------------------------------------------


def test_eight_bytes_of_a_binary_file_are_uploaded_as_they_are(folder: Files) -> None:
    data = bytes([0, 255, 128, 10, 13, 254, 1, 2])
    model = {"type": "file", "format": "base64", "content": base64.b64encode(data).decode()}
    assert folder.put("a.bin", model).status_code == 201
    assert (folder.path / "a.bin").read_bytes() == data
    shown = folder.get("a.bin").json()
    assert (shown["format"], base64.b64decode(shown["content"])) == ("base64", data)


def test_forty_megabytes_in_pieces_are_the_file_that_they_were(folder: Files) -> None:
    data = os.urandom(40 * 1024 * 1024)
    size = 1024 * 1024
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    for number, piece in enumerate(pieces, 1):
        chunk = -1 if number == len(pieces) else number
        content = base64.b64encode(piece).decode()
        model = {"type": "file", "format": "base64", "chunk": chunk, "content": content}
        assert folder.put("large.bin", model).status_code == (201 if number == 1 else 200)
    assert hashlib.sha256((folder.path / "large.bin").read_bytes()).digest() == hashlib.sha256(data).digest()


def test_a_file_that_is_not_utf_8_is_shown_as_base64(folder: Files) -> None:
    (folder.path / "latin.txt").write_bytes("für".encode("latin-1"))
    model = folder.get("latin.txt").json()
    assert (model["format"], base64.b64decode(model["content"])) == ("base64", "für".encode("latin-1"))
    answer = folder.get("latin.txt", format="text")
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad format")


def test_a_saved_notebook_is_what_nbformat_writes(folder: Files) -> None:
    book = notebook("1 + 1", "print('ü')")
    book.cells[0].outputs = [new_output("stream", text="line\nline\n")]
    nbformat.write(book, folder.path / "a.ipynb")
    before = (folder.path / "a.ipynb").read_bytes()
    content = folder.get("a.ipynb").json()["content"]
    content["cells"][1]["source"] += "\n2"
    assert folder.put("a.ipynb", {"type": "notebook", "format": "json", "content": content}).status_code == 200
    book.cells[1].source += "\n2"
    nbformat.write(book, folder.path / "wanted.ipynb")
    after = (folder.path / "a.ipynb").read_bytes()
    assert after == (folder.path / "wanted.ipynb").read_bytes()
    changed = set(after.splitlines()) ^ set(before.splitlines())
    assert len(changed) == 3  # one line more, and a comma


def test_two_tabs_that_save_at_once_leave_one_of_both(folder: Files) -> None:
    texts = [letter * 3_000_000 for letter in "abcdefgh"]

    def save(text: str) -> int:
        return folder.put("a.txt", {"type": "file", "format": "text", "content": text}).status_code

    def read() -> str:
        content: str = folder.get("a.txt").json()["content"]
        return content

    save(texts[0])
    with ThreadPoolExecutor(8) as pool:
        read_meanwhile = [pool.submit(read) for _ in range(8)]
        saved = list(pool.map(save, texts))
    assert saved == [200] * 8
    assert (folder.path / "a.txt").read_text() in texts
    assert all(one.result() in texts for one in read_meanwhile)
    assert [*folder.path.glob(".~*")] == []


def test_a_full_disk_leaves_the_file_that_was_there(begin: Begin, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: it fails at the same call, in the middle of the file."""
    limit = "import resource, signal\nresource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
    with files_only(tmp_path, inside=limit) as folder:
        book = notebook("x = 1")
        nbformat.write(book, folder.path / "a.ipynb")
        (folder.path / "a.txt").write_text("old")
        before = {path.name: path.read_bytes() for path in folder.path.glob("a.*")}
        for size in (200_001, 205_000, 2_000_000):
            book.cells[0].source = "#" * size
            answer = folder.put("a.ipynb", {"type": "notebook", "format": "json", "content": book})
            assert (answer.status_code, "File too large" in answer.json()["message"]) == (500, True)
            text = {"type": "file", "format": "text", "content": "n" * size}
            answer = folder.put("a.txt", text)
            assert (answer.status_code, "File too large" in answer.json()["message"]) == (500, True)
            answer = folder.put("new.txt", text)
            assert (answer.status_code, "File too large" in answer.json()["message"]) == (500, True)
            assert str(folder.path) not in answer.text
        assert {path.name: path.read_bytes() for path in folder.path.glob("a.*")} == before
        assert [*folder.path.glob(".~*"), *folder.path.glob("new*")] == []
        small = {"type": "file", "format": "text", "content": "small"}
        assert [folder.put(name, small).status_code for name in ("a.txt", "new.txt")] == [200, 201]


# --- what is there is not destroyed --------------------------------------------------------------------


def test_a_rename_onto_another_file_is_refused(folder: Files) -> None:
    for name in ("a.txt", "b.txt"):
        (folder.path / name).write_text(name)
    answer = folder.patch("a.txt", {"path": f"{folder.name}/b.txt"})
    assert (answer.status_code, answer.json()["message"]) == (409, f"File already exists: {folder.name}/b.txt")
    assert [(folder.path / name).read_text() for name in ("a.txt", "b.txt")] == ["a.txt", "b.txt"]
    assert folder.patch("a.txt", {"path": f"{folder.name}/c.txt"}).json()["path"] == f"{folder.name}/c.txt"
    assert (folder.path / "c.txt").read_text() == "a.txt"


def test_checkpoints_of_equal_names_are_kept_apart(folder: Files) -> None:
    for name in ("a", "b"):
        (folder.path / name).mkdir()
        (folder.path / name / "x.txt").write_text(f"first {name}")
        answer = folder.post(f"{name}/x.txt/checkpoints")
        assert (answer.status_code, answer.json()["id"]) == (201, "checkpoint")
        (folder.path / name / "x.txt").write_text(f"second {name}")
    for name in ("a", "b"):
        assert [one["id"] for one in folder.get(f"{name}/x.txt/checkpoints").json()] == ["checkpoint"]
        assert folder.post(f"{name}/x.txt/checkpoints/checkpoint").status_code == 204
        assert (folder.path / name / "x.txt").read_text() == f"first {name}"
    assert folder.delete("a/x.txt/checkpoints/checkpoint").status_code == 204
    assert folder.get("a/x.txt/checkpoints").json() == []
    assert len(folder.get("b/x.txt/checkpoints").json()) == 1
    for missing in ("checkpoint", "other", "..%2fb"):
        assert folder.post(f"a/x.txt/checkpoints/{missing}").status_code in (404, 405)


def test_a_copy_has_a_name_of_its_own(folder: Files) -> None:
    nbformat.write(notebook("1"), folder.path / "a.ipynb")
    (folder.path / "sub").mkdir()
    (folder.path / "sub" / "b.txt").write_text("b")
    made = [folder.post("", {"copy_from": f"{folder.name}/a.ipynb"}).json()["name"] for _ in range(2)]
    assert made == ["a-Copy1.ipynb", "a-Copy2.ipynb"]
    assert nbformat.read(folder.path / "a-Copy2.ipynb", as_version=4).cells[0].source == "1"
    assert folder.post("", {"copy_from": f"{folder.name}/sub"}).json()["name"] == "sub-Copy1"
    assert (folder.path / "sub-Copy1" / "b.txt").read_text() == "b"


def test_untitled_files_do_not_replace_each_other(folder: Files) -> None:
    asked: list[dict[str, Any]] = [{"type": "notebook"}, {"type": "file", "ext": ".py"}, {"type": "directory"}, {}]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda model: folder.post("", model), asked * 4))
    assert {answer.status_code for answer in answers} == {201}
    names = [answer.json()["name"] for answer in answers]
    assert len(set(names)) == len(names)
    assert {"Untitled.ipynb", "Untitled3.ipynb", "untitled.py", "Untitled Folder 3", "untitled3"} <= set(names)


@pytest.mark.parametrize("path", ["../secret", "%2e%2e/secret", "..%2fsecret", "a/../../secret", "%2e%2e%2fsecret"])
def test_no_path_leaves_the_folder(files: Files, path: str) -> None:
    outside = files.root.parent / "secret"
    outside.write_text("secret")
    (files.root / "inside").write_text("inside")
    model = {"type": "file", "format": "text", "content": "x"}
    raw = httpx.URL(files.url, raw_path=f"/api/contents/{path}".encode())
    for method, body in (("GET", None), ("PUT", model), ("DELETE", None), ("PATCH", {"path": "here"}), ("POST", {})):
        answer = files.client.request(method, raw, json=body)
        assert (answer.status_code, "secret" in str(answer.json().get("content"))) == (404, False), method
    assert files.patch("inside", {"path": "../outside"}).status_code == 404
    assert files.post("", {"copy_from": "../secret"}).status_code == 404
    assert outside.read_text() == "secret"
    assert not outside.with_name("outside").exists()


# --- odd files -----------------------------------------------------------------------------------------


def test_odd_notebooks_are_opened(folder: Files) -> None:
    (folder.path / "old.ipynb").write_text(OLD)
    book = notebook("1")
    book.cells[0].pop("outputs")
    (folder.path / "invalid.ipynb").write_text(json.dumps(book))
    (folder.path / "text.ipynb").write_text("no notebook")
    (folder.path / "empty.ipynb").touch()
    old = folder.get("old.ipynb").json()
    assert (old["content"]["nbformat"], old["content"]["cells"][0]["source"]) == (4, "1 + 1")
    invalid = folder.get("invalid.ipynb")
    assert (invalid.status_code, "validation failed" in invalid.json()["message"]) == (200, True)
    for name in ("text.ipynb", "empty.ipynb"):
        answer = folder.get(name)
        assert (answer.status_code, "Unreadable Notebook" in answer.json()["message"]) == (400, True)
        assert str(folder.path) not in answer.text
        assert folder.get(name, type="file").status_code == 200


def test_links_that_lead_nowhere_are_no_trouble(files: Files, folder: Files) -> None:
    (folder.path / "a.txt").write_text("a")
    (folder.path / "dangling").symlink_to("nothing")
    (folder.path / "loop").symlink_to("loop")
    (folder.path / "one").symlink_to("two")
    (folder.path / "two").symlink_to("one")
    (folder.path / "up").symlink_to("..")
    if not (files.root / "dangling-at-the-top").is_symlink():
        (files.root / "dangling-at-the-top").symlink_to("nothing")
    names = {one["name"] for one in folder.get("").json()["content"]}
    assert {"a.txt", "up"} <= names
    assert folder.name in {one["name"] for one in files.get("").json()["content"]}
    for name in ("dangling", "loop", "one"):
        assert 400 <= folder.get(name).status_code < 500
    assert folder.get("up").status_code == 200


def test_a_pipe_is_not_waited_for(folder: Files) -> None:
    os.mkfifo(folder.path / "pipe")
    os.mkfifo(folder.path / "pipe.ipynb")
    (folder.path / "link").symlink_to("pipe")
    (folder.path / "a.txt").write_text("a")
    text = {"type": "file", "format": "text", "content": "x"}
    book = {"type": "notebook", "format": "json", "content": notebook("1")}
    asked = (
        folder.get("pipe"),
        folder.get("pipe.ipynb"),
        folder.get("link", hash="1", content="0"),
        folder.put("pipe", text),
        folder.put("link", text),
        folder.put("pipe.ipynb", book),
        folder.post("pipe/checkpoints"),
        folder.post("", {"copy_from": f"{folder.name}/pipe"}),
        folder.post("pipe.ipynb/trust"),
    )
    assert [answer.status_code for answer in asked] == [400] * len(asked)
    assert [one["name"] for one in folder.get("").json()["content"] if "pipe" in one["name"]] == []
    assert folder.get("a.txt").json()["content"] == "a"


def test_names_that_are_not_utf_8_are_listed(folder: Files) -> None:
    Path(os.fsdecode(os.fsencode(folder.path) + b"/b\xff.txt")).write_text("b")
    (folder.path / "ä ö#?%.txt").write_text("ä")
    listed = folder.get("").json()["content"]
    assert {one["name"] for one in listed} == {"b\udcff.txt", "ä ö#?%.txt"}
    assert folder.get("%C3%A4%20%C3%B6%23%3F%25.txt").json()["content"] == "ä"
    assert folder.get("b%FF.txt").status_code in (200, 400, 404)
    renamed = folder.patch("%C3%A4%20%C3%B6%23%3F%25.txt", {"path": f"{folder.name}/b\udcfe.txt"})
    assert renamed.status_code in (200, 400)


def test_names_that_no_file_can_have_are_refused(folder: Files) -> None:
    text = {"type": "file", "format": "text", "content": "x"}
    for name in ("a%00b", "x" * 300, "x/" * 2_500):
        assert folder.get(name).status_code == 404
        assert 400 <= folder.put(name, text).status_code < 500
        assert 400 <= folder.post(f"{name}/checkpoints").status_code < 500
    (folder.path / "a").write_text("a")
    targets: list[Any] = ["a\0b", "x" * 300, "\ud800", 5, ["a"], {}]
    for target in targets:
        assert folder.patch("a", {"path": target}).status_code in (400, 404), target
    assert (folder.path / "a").read_text() == "a"


def test_files_that_come_and_go_do_not_spoil_a_listing(folder: Files) -> None:
    (folder.path / "stays").touch()
    for number in range(300):
        (folder.path / f"{number}").touch()
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for number in range(300):
                (folder.path / f"{number}").unlink()
                (folder.path / f"{number}").touch()

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(come_and_go)
        answers = [folder.get("") for _ in range(30)]
        ended.set()
        coming.result()
    assert {answer.status_code for answer in answers} == {200}
    assert all("stays" in [one["name"] for one in answer.json()["content"]] for answer in answers)


def test_hidden_files_stay_hidden(folder: Files) -> None:
    (folder.path / ".secret").write_text("secret")
    (folder.path / "a.txt").write_text("a")
    text = {"type": "file", "format": "text", "content": "x"}
    assert folder.get(".secret").status_code == 404
    assert folder.put(".secret", text).status_code == 400
    assert folder.put(".new", text).status_code == 400
    assert folder.delete(".secret").status_code == 400
    assert folder.patch("a.txt", {"path": f"{folder.name}/.b"}).status_code == 400
    assert folder.post("", {"copy_from": f"{folder.name}/.secret"}).status_code == 400
    assert [one["name"] for one in folder.get("").json()["content"]] == ["a.txt"]
    assert sorted(path.name for path in folder.path.iterdir()) == [".secret", "a.txt"]


UNPRIVILEGED = """
import ctypes
ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
"""
"""Permissions bind root, too, when it has no capabilities."""


def test_what_may_not_be_written_or_read_is_403(tmp_path: Path) -> None:
    with files_only(tmp_path, inside=UNPRIVILEGED) as files:
        folder = files.below("folder")
        for name, mode in (("a.txt", 0o400), ("b.txt", 0o000)):
            (folder.path / name).write_text(name)
            (folder.path / name).chmod(mode)
        (folder.path / "closed").mkdir(0o000)
        text = {"type": "file", "format": "text", "content": "x"}
        assert folder.get("a.txt").json()["writable"] is False
        assert folder.put("a.txt", text).status_code == 403
        assert folder.get("b.txt").status_code == 403
        assert folder.get("closed").status_code in (403, 404)
        assert [one["name"] for one in folder.get("").json()["content"]]
        folder.path.chmod(0o500)
        assert folder.put("c.txt", text).status_code == 403
        assert folder.post("", {}).status_code == 403
        assert folder.delete("a.txt").status_code in (400, 403)
        assert folder.patch("a.txt", {"path": "folder/d.txt"}).status_code in (400, 403)
        folder.path.chmod(0o700)
        assert (folder.path / "a.txt").read_text() == "a.txt"


# --- odd bodies ----------------------------------------------------------------------------------------

BODIES: list[bytes] = [
    b"{",
    b"[]",
    b"1",
    b'{"type": 1, "format": "text", "content": ""}',
    b'{"type": "file", "format": ["text"], "content": ""}',
    b'{"type": "file", "format": "text"}',
    b'{"type": "file", "format": "text", "content": 3}',
    b'{"type": "file", "format": "base64", "content": "\\u00fc"}',
    b'{"type": "file", "format": "nothing", "content": ""}',
    b'{"type": "file", "format": "text", "content": "\\ud800"}',
    b'{"type": "file", "format": "text", "content": "", "chunk": "1"}',
    b'{"type": "notebook", "format": "json", "content": "text"}',
    b'{"type": "notebook", "format": "json", "content": {}}',
    b'{"type": "notebook", "format": "json", "chunk": 1, "content": {"nbformat": 4}}',
    b'{"format": "text", "content": ""}',
    b'{"copy_from": "x"}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:60].decode())
def test_a_body_that_is_wrong_is_400_and_changes_nothing(files: Files, body: bytes) -> None:
    (files.root / "kept.txt").write_text("kept")
    answer = files.client.put(f"{files.url}/api/contents/kept.txt", content=body)
    assert (answer.status_code, set(answer.json())) == (400, {"message", "reason"})
    assert answer.json()["message"]
    assert (files.root / "kept.txt").read_text() == "kept"


def test_a_body_that_is_too_large_is_413(files: Files) -> None:
    """Its length is believed, as nobody waits for half a gigabyte to come."""
    with socket.create_connection(("127.0.0.1", int(files.url.rpartition(":")[2])), 60) as connection:
        length = 600 * 1024 * 1024
        head = f"PUT /api/contents/a.bin HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).split()[1] == b"413"


# --- the server itself ---------------------------------------------------------------------------------


def test_a_slow_disk_holds_up_nobody_else(tmp_path: Path) -> None:
    """A disk that does not answer is played: the manager's look at one folder waits for a gate."""
    gate = tmp_path / "gate"
    slow = f"""
import os, time
real = os.listdir
def listdir(path="."):
    while str(path).endswith("slow") and not os.path.exists({str(gate)!r}): time.sleep(0.01)
    return real(path)
os.listdir = listdir
"""
    with files_only(tmp_path, inside=slow) as folder, ThreadPoolExecutor(4) as pool:
        (folder.path / "slow").mkdir()
        (folder.path / "a.txt").write_text("a")
        waiting = [pool.submit(folder.get, "slow") for _ in range(3)]
        for _ in range(20):
            assert folder.client.get(f"{folder.url}/api").status_code == 200
            assert folder.get("a.txt").json()["content"] == "a"
        assert not any(one.done() for one in waiting)
        gate.touch()
        assert {one.result().status_code for one in waiting} == {200}


def test_the_options_of_the_manager_may_be_set(tmp_path: Path) -> None:
    with files_only(
        tmp_path, "--set", "contents.allow_hidden=true", "--set", "contents.delete_to_trash=false"
    ) as files:
        (files.path / ".hidden").write_text("shown")
        assert files.get(".hidden").json()["content"] == "shown"
        assert files.delete(".hidden").status_code == 204
        assert not (files.path / ".hidden").exists()


def test_a_lab_without_contents_has_none(tmp_path: Path) -> None:
    with files_only(tmp_path, "--disable", "contents") as files:
        assert files.get("").status_code == 404
        (files.path / "a.txt").write_text("a")
        assert files.client.get(f"{files.url}/files/a.txt").text == "a"
