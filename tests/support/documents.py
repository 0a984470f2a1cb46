"""A collaborating client for the tests: notebooks as shared documents, over the real WebSocket.

It mirrors a document with pycrdt as a front end does, and edits it as a user would.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx
import websockets
from pycrdt import Array, Doc, Map, Text, create_sync_message, create_update_message, handle_sync_message

from .client import Client
from .messages import Json
from .notebooks import code_cell, write_notebook
from .waits import until

SYNC, SYNC_STEP2, SYNC_UPDATE = 0, 1, 2


class Gate:
    """Lets a test hold up a cell: the kernel waits at `code` until the test opens the gate."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"gate-{uuid.uuid4().hex}"
        self.code = f"import os, time\nwhile not os.path.exists({str(self._file)!r}): time.sleep(0.005)\n"

    def open(self) -> None:
        self._file.touch()


class SharedDocument:
    """A notebook that is open in a front end of ours, and the kernel that it is executed on.

    room: the document's id. updates: how many changes of the document came from the server.
    states: of each cell, the values that execution_state has had since before the last request, without repetitions.
    """

    def __init__(self, client: Client, connection: websockets.ClientConnection, room: str, path: Path) -> None:
        self.room = room
        self.path = path
        self.kernel_id = ""
        self.updates = 0
        self.states: dict[str, list[str | None]] = defaultdict(list)
        self._client = client
        self._connection = connection
        self._doc: Doc = Doc()
        self.cells: Any = Array()
        self._doc["cells"] = self.cells
        self._doc["meta"] = Map()
        self._doc["state"] = Map()
        self._changed = asyncio.Event()
        self._synced = asyncio.Event()
        self._unheard = False
        self._reader = asyncio.create_task(self._read(), name=f"reader of {room}")

    async def _read(self) -> None:
        await self._connection.send(create_sync_message(self._doc))
        async for data in self._connection:
            assert isinstance(data, bytes)
            if data[0] == SYNC:
                self.updates += data[1] == SYNC_UPDATE
                if data[1] == SYNC_STEP2:
                    self._synced.set()
                answer = handle_sync_message(data[1:], self._doc)
                if answer is not None:
                    await self._connection.send(answer)
                self._note_states()
                self._changed.set()

    def _note_states(self) -> None:
        for cell in self.cells:
            seen, state = self.states[cell["id"]], cell.get("execution_state")
            state = None if state == "idle" else state  # as front ends read it
            if not seen or seen[-1] != state:
                seen.append(state)

    async def close(self) -> None:
        await self._connection.close()
        await asyncio.wait([self._reader])
        self._reader.exception()

    async def break_off(self) -> None:
        """End the connection without a word."""
        self._connection.transport.abort()
        await self.close()

    async def until(self, condition: Callable[[], Any], timeout_s: float = 60) -> None:
        """Wait until the document fulfils the condition."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not condition():
            assert not self._reader.done(), "the server closed the document"
            self._changed.clear()
            waiting = asyncio.create_task(self._changed.wait())
            rest_s = deadline - asyncio.get_running_loop().time()
            await asyncio.wait([waiting, self._reader], timeout=rest_s, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if rest_s <= 0:
                raise TimeoutError(f"It shows: {self.cells.to_py()}; states: {dict(self.states)}")

    # --- what it shows ---------------------------------------------------------------------------

    def number(self, cell_id: str) -> int:
        """Where the cell is. Raises ValueError."""
        return [cell["id"] for cell in self.cells].index(cell_id)

    def shared(self, cell_id: str) -> Map:
        """The cell as it is shared."""
        cell: Map = self.cells[self.number(cell_id)]
        return cell

    def cell(self, cell_id: str) -> Json:
        return self.cells[self.number(cell_id)].to_py()

    def outputs(self, cell_id: str) -> list[Json]:
        return self.cell(cell_id)["outputs"]

    def text(self, cell_id: str, name: str = "stdout") -> str:
        """The joined text of the streams of that name."""
        return "".join(output["text"] for output in self.outputs(cell_id) if output.get("name") == name)

    def count(self, cell_id: str) -> int | None:
        return self.cell(cell_id)["execution_count"]

    # --- executing -------------------------------------------------------------------------------

    async def post(self, **body: Any) -> httpx.Response:
        """Ask for an execution once the server has heard all edits; they take another way than this.

        document_id is that of this document unless the body says otherwise.
        """
        if self._unheard:
            await self.heard()
        body = {"document_id": self.room} | body
        for cell_id in (body.get("cell_id"), *(cell.get("cell_id") for cell in body.get("cells", ()))):
            self.states[cell_id] = self.states[cell_id][-1:]
        return await self._client.http.post(f"/api/kernels/{self.kernel_id}/execute", json=body)

    async def execute(self, *cell_ids: str) -> str:
        """Queue cells, each with a request of its own; returns the id of the last request."""
        for cell_id in cell_ids:
            response = await self.post(cell_id=cell_id)
            assert response.status_code == 200, response.text
        return response.json()["request_id"]

    async def ended(self, *cell_ids: str) -> None:
        """Wait until cells that were queued are shown as running, and as idle again."""
        await self.until(lambda: all(self.has_ended(cell_id) for cell_id in cell_ids))

    def has_ended(self, cell_id: str) -> bool:
        return "running" in self.states[cell_id] and self.states[cell_id][-1] is None

    async def run(self, *cell_ids: str) -> None:
        """Execute cells and wait for their ends."""
        await self.execute(*cell_ids)
        await self.ended(*cell_ids)

    async def request(self, request_id: str) -> Json:
        """What the server tells of a request."""
        response = await self._client.http.get(f"/api/kernels/{self.kernel_id}/requests/{request_id}")
        assert response.status_code == 200, response.text
        return response.json()

    async def request_until(self, request_id: str, condition: Callable[[Json], Any], timeout_s: float = 60) -> Json:
        """Ask until the request fulfils the condition: there is no event for REST."""

        async def fulfilling() -> Json | None:
            model = await self.request(request_id)
            return model if condition(model) else None

        return await until(fulfilling, timeout_s, every_s=0.02)

    # --- editing ---------------------------------------------------------------------------------

    async def edit(self, change: Callable[[], None]) -> None:
        """Change the document as a user would, in one transaction."""
        updates: list[bytes] = []
        subscription = self._doc.observe(lambda event: updates.append(event.update))
        with self._doc.transaction():
            change()
        self._doc.unobserve(subscription)
        self._note_states()
        self._unheard = True
        for update in updates:  # of this transaction alone, as a front end sends it
            await self._connection.send(create_update_message(update))

    async def heard(self) -> None:
        """Wait until the server has taken in all edits: it is asked for what we have not got, after them."""
        self._synced.clear()
        await self._connection.send(create_sync_message(self._doc))
        async with asyncio.timeout(60):
            await self._synced.wait()
        self._unheard = False

    async def clear_outputs(self, cell_id: str) -> None:
        await self.edit(self.shared(cell_id)["outputs"].clear)

    async def set_source(self, cell_id: str, source: str) -> None:
        def change() -> None:
            text = self.shared(cell_id)["source"]
            text.clear()
            text += source

        await self.edit(change)

    async def delete(self, cell_id: str) -> None:
        await self.edit(lambda: self.cells.pop(self.number(cell_id)) and None)

    async def insert(self, number: int, cell: Json) -> None:
        await self.edit(lambda: self.cells.insert(number, shared_cell(cell)))

    async def move(self, cell_id: str, number: int) -> None:
        """As JupyterLab does it: the cell is deleted, and a copy of it inserted, without its state."""

        def change() -> None:
            cell = self.cells.pop(self.number(cell_id))
            cell.pop("execution_state", None)
            self.cells.insert(number, shared_cell(cell))

        await self.edit(change)

    # --- the file --------------------------------------------------------------------------------

    def file(self) -> Json:
        """The notebook as it is saved, with texts in one piece. Empty while somebody is writing it."""
        try:
            notebook: Json = json.loads(self.path.read_bytes())
        except ValueError:
            return {}
        for cell in notebook.get("cells", ()):
            outputs = cell.get("outputs") or []
            for holder in (cell, *outputs, *(output["data"] for output in outputs if "data" in output)):
                for name in ("source", "text", "text/plain"):
                    if isinstance(holder.get(name), list):
                        holder[name] = "".join(holder[name])
        return notebook

    def saved_cell(self, cell_id: str) -> Json:
        """A cell in the file. Empty when it is not there."""
        return next((cell for cell in self.file().get("cells", ()) if cell["id"] == cell_id), {})

    async def saved(self, cell_id: str, condition: Callable[[Json], Any], timeout_s: float = 60) -> Json:
        """Look until a cell in the file fulfils the condition; returns the notebook."""
        await until(lambda: (cell := self.saved_cell(cell_id)) and condition(cell), timeout_s, every_s=0.05)
        return self.file()


def shared_cell(cell: Json) -> Map:
    """A cell in the schema of shared notebooks."""
    shared = dict(cell)
    shared["source"] = Text(cell["source"])
    shared["metadata"] = Map(cell["metadata"])
    if "outputs" in cell:
        shared["outputs"] = Array([shared_output(output) for output in cell["outputs"]])
    return Map(shared)


def shared_output(output: Json) -> Map:
    return Map(output | {"text": Text(output["text"])} if output["output_type"] == "stream" else output)


class Desk:
    """What a user has in front of them: notebooks of one server.

    root: the folder that the server serves.
    """

    def __init__(self, client: Client, root: Path) -> None:
        self.client = client
        self.root = root
        self._documents: list[SharedDocument] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for document in self._documents:
            await document.close()

    def gate(self) -> Gate:
        return Gate(self.root)

    async def open(self, *cells: Json, kernel: str | None = None, **sources: str) -> SharedDocument:
        """Open a new notebook.

        cells: as in a file; sources: of code cells, by their ids.
        kernel: the id of a kernel that is there; default: a tiny kernel of the notebook's own.
        """
        path = self.root / f"{uuid.uuid4().hex}.ipynb"
        coded = (code_cell(source, id=cell_id) for cell_id, source in sources.items())
        write_notebook(path, *cells, *coded)
        document = await self.reopen(path)
        document.kernel_id = kernel or await self.client.start()
        return document

    async def reopen(self, path: Path, kernel: str = "") -> SharedDocument:
        """Open a notebook that is there."""
        body = {"format": "json", "type": "notebook"}
        response = await self.client.http.put(f"/api/collaboration/session/{path.relative_to(self.root)}", json=body)
        assert response.status_code in (200, 201), response.text
        model = response.json()
        room = f"json:notebook:{model['fileId']}"
        url = f"ws{self.client.url[4:]}/api/collaboration/room/{room}?sessionId={model['sessionId']}"
        connection = await websockets.connect(url, proxy=None, compression=None, max_size=None)
        document = SharedDocument(self.client, connection, room, path)
        self._documents.append(document)
        document.kernel_id = kernel
        await document.until(lambda: len(document.cells))
        return document


def as_dict(output: Any) -> Json:
    """An output in a document, whatever it is made of there."""
    plain: Json = json.loads(str(output)) if isinstance(output, Map) else dict(output)
    if isinstance(plain.get("text"), list):
        plain["text"] = "".join(plain["text"])
    return plain
