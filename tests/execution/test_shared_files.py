"""Files that are open as shared documents while other programs write, move and touch them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import websockets
from pycrdt import Doc, Map, Text, create_sync_message, create_update_message, handle_sync_message

from ..support.client import Client
from ..support.documents import SYNC, Desk, SharedDocument
from ..support.gateways import Gateway, gateways
from ..support.notebooks import code_cell, write_notebook
from ..support.servers import NOT_NEEDED_BY_DOCUMENTS
from ..support.waits import until

Write = Callable[[Path], None]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    off = (word for name in NOT_NEEDED_BY_DOCUMENTS for word in ("--disable", name))
    sets = ("--set", "kernels.prewarm=0", "--set", "kernels.require_yjs=true")
    with gateways(tmp_path_factory.mktemp("lab")) as begin:
        yield begin("lab", "--no-token", *off, *sets)


@pytest.fixture
async def lab_desk(lab: Gateway) -> AsyncIterator[Desk]:
    async with Client(lab.url) as client, Desk(client, lab.base) as desk:
        yield desk


@pytest.fixture(params=["desk", "lab_desk"])
def each_desk(request: pytest.FixtureRequest) -> Desk:
    """Of Jupyverse with its own contents plugin, and of a lab."""
    desk: Desk = request.getfixturevalue(request.param)
    return desk


def write(path: Path) -> None:
    write_notebook(path, code_cell("of another", id="other"))


def move_an_older_one(path: Path) -> None:
    """As `mv`, or what unpacks an archive."""
    older = path.with_suffix(".older")
    write(older)
    os.utime(older, (1e9, 1e9))
    older.replace(path)


def write_with_the_same_date(path: Path) -> None:
    """As what synchronizes folders."""
    status = path.stat()
    write(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


async def open_and_save(desk: Desk) -> SharedDocument:
    """A notebook that the server has saved."""
    doc = await desk.open(kernel="none", a="x = 1")
    await doc.set_source("a", "x = 2")
    await doc.saved("a", lambda cell: cell["source"] == "x = 2")
    return doc


async def is_taken_and_saved(doc: SharedDocument) -> None:
    """The document shows what the other program has written, and goes on from there."""
    await doc.until(lambda: [cell["id"] for cell in doc.cells] == ["other"])
    await doc.set_source("other", "mine again")
    await doc.saved("other", lambda cell: cell["source"] == "mine again")


@pytest.mark.parametrize("change", [write, move_an_older_one])
async def test_what_another_program_has_put_there_is_shown(each_desk: Desk, change: Write) -> None:
    doc = await each_desk.open(kernel="none", a="x = 1")
    change(doc.path)
    await is_taken_and_saved(doc)


@pytest.mark.parametrize("change", [write, move_an_older_one, write_with_the_same_date])
async def test_what_another_program_writes_right_after_a_save_is_shown(lab_desk: Desk, change: Write) -> None:
    """Before the server has looked at what it has written itself."""
    doc = await lab_desk.open(kernel="none", a="x = 1")
    before, done = doc.path.stat().st_mtime_ns, threading.Event()

    def change_at_once() -> None:
        while not done.is_set() and doc.path.stat().st_mtime_ns == before:
            pass
        while not done.is_set() and not is_whole(doc.path):
            pass
        change(doc.path)

    changing = asyncio.create_task(asyncio.to_thread(change_at_once))
    try:
        await doc.set_source("a", "x = 2")
        await asyncio.wait_for(changing, 60)
    finally:
        done.set()
    await is_taken_and_saved(doc)


def is_whole(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_bytes()))
    except ValueError:
        return False


async def test_before_it_saves_a_page_is_told_no_hash_that_it_may_not_know_yet(lab_desk: Desk) -> None:
    doc = await open_and_save(lab_desk)
    url, page = f"/api/contents/{doc.path.name}", {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
    true = hashlib.sha256(doc.path.read_bytes()).hexdigest()

    async def told(headers: dict[str, str], **query: str) -> tuple[str | None, bool]:
        response = await lab_desk.client.http.get(url, params={"content": "0", "hash": "1", **query}, headers=headers)
        model = response.raise_for_status().json()
        return model["hash"], model["last_modified"] > "2000"

    assert await told(page) == (None, False)
    assert await told(page, type="notebook") == (true, True)
    assert await told({}) == (true, True)


async def test_a_file_that_is_only_touched_leaves_the_document_alone(lab_desk: Desk) -> None:
    """And is saved without taking back what was typed meanwhile."""
    doc = await open_and_save(lab_desk)
    changes: list[object] = []
    subscription = doc.cells.observe(changes.append)
    os.utime(doc.path)
    await doc.set_source("a", "x = 3")
    os.utime(doc.path)
    await doc.saved("a", lambda cell: cell["source"] == "x = 3")
    assert doc.shared("a")["source"].to_py() == "x = 3"
    assert changes == [], "no cell was taken away, and put there again"
    doc.cells.unobserve(subscription)


async def test_a_document_that_is_opened_anew_knows_its_file(lab_desk: Desk) -> None:
    doc = await open_and_save(lab_desk)
    other = await lab_desk.reopen(doc.path)
    await other.set_source("a", "x = 3")
    await doc.saved("a", lambda cell: cell["source"] == "x = 3")
    write(doc.path)
    await is_taken_and_saved(doc)
    await until(lambda: other.cells and other.cells[0]["id"] == "other")


@contextlib.asynccontextmanager
async def open_as_text(desk: Desk, path: Path) -> AsyncIterator[tuple[Text, Callable[[str], Awaitable[None]]]]:
    """The text of a file in an editor, and what puts another in its place."""
    body = {"format": "text", "type": "file"}
    model = (await desk.client.http.put(f"/api/collaboration/session/{path.name}", json=body)).json()
    url = f"ws{desk.client.url[4:]}/api/collaboration/room/text:file:{model['fileId']}?sessionId={model['sessionId']}"
    doc = Doc()
    doc["source"], doc["state"] = text, _ = Text(), Map()

    async with websockets.connect(url, proxy=None, compression=None, max_size=None) as connection:

        async def read() -> None:
            await connection.send(create_sync_message(doc))
            async for data in connection:
                assert isinstance(data, bytes)
                if data[0] == SYNC and (answer := handle_sync_message(data[1:], doc)) is not None:
                    await connection.send(answer)

        async def write(new: str) -> None:
            updates: list[bytes] = []
            subscription = doc.observe(lambda event: updates.append(event.update))
            with doc.transaction():
                text.clear()
                text.insert(0, new)
            doc.unobserve(subscription)
            for update in updates:
                await connection.send(create_update_message(update))

        reading = asyncio.create_task(read())
        await until(lambda: str(text))
        yield text, write
        reading.cancel()


async def test_a_notebook_that_is_open_as_a_text_too_is_the_same_in_both(each_desk: Desk) -> None:
    doc = await open_and_save(each_desk)
    async with open_as_text(each_desk, doc.path) as (text, write_text):
        await doc.set_source("a", "of the notebook")
        await until(lambda: "of the notebook" in str(text))
        await write_text(str(text).replace("of the notebook", "of the text"))
        await doc.until(lambda: str(doc.shared("a")["source"]) == "of the text")
        await doc.set_source("a", "of the notebook again")
        await doc.saved("a", lambda cell: cell["source"] == "of the notebook again")
        await until(lambda: "of the notebook again" in str(text))


async def test_opening_a_file_once_more_hides_no_change_from_those_who_have_it(lab_desk: Desk) -> None:
    """The plugin takes the date at which it has read the file last for what all its documents hold."""
    doc = await open_and_save(lab_desk)
    write(doc.path)
    async with open_as_text(lab_desk, doc.path) as (text, _):
        assert "of another" in str(text)
        await is_taken_and_saved(doc)
