"""A kernel client for the tests: REST by httpx, channels by websockets, in both protocols."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any, Self

import httpx
import websockets
from websockets.typing import Subprotocol

from .messages import (
    V1,
    Json,
    header,
    is_status,
    pack_default,
    pack_v1,
    text_of,
    unpack_default,
    unpack_v1,
)
from .processes import ServerProcess
from .waits import until

SHORT_LIVED = httpx.Limits(keepalive_expiry=1)
"""A connection is not used again after a second: after five, a host may close it while a request is on its way."""


class Socket:
    """An open WebSocket to a kernel.

    received: every message that was taken from it. garbled: every frame that is none, which is passed over.
    """

    def __init__(self, connection: websockets.ClientConnection, session: str) -> None:
        self.ws = connection
        self.session = session
        self.v1 = connection.subprotocol == V1
        self.received: list[Json] = []
        self.garbled: list[str | bytes] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.ws.close()

    async def send(
        self,
        msg_type: str,
        content: Json,
        *,
        channel: str = "shell",
        buffers: list[bytes] | None = None,
        parent: Json | None = None,
    ) -> str:
        """Send a message; returns its msg_id."""
        head = header(msg_type, self.session)
        await self.send_message(head, content, channel=channel, buffers=buffers, parent=parent)
        return head["msg_id"]

    async def send_message(
        self,
        head: Json,
        content: Json,
        *,
        channel: str = "shell",
        buffers: list[bytes] | None = None,
        parent: Json | None = None,
    ) -> None:
        """Send a message with a header of the caller's own."""
        message = {
            "channel": channel,
            "header": head,
            "parent_header": parent or {},
            "metadata": {},
            "content": content,
            "buffers": buffers or [],
        }
        await self.ws.send(pack_v1(message) if self.v1 else pack_default(message))

    async def receive(self, timeout_s: float = 60) -> Json:
        async with asyncio.timeout(timeout_s):
            while True:
                data = await self.ws.recv()
                try:
                    message = unpack_v1(data) if isinstance(data, bytes) and self.v1 else unpack_default(data)
                except ValueError:
                    self.garbled.append(data)
                    continue
                self.received.append(message)
                return message

    async def until(self, condition: Any, timeout_s: float = 60) -> list[Json]:
        """Receive until `condition(message)`; returns all that came, the last one included."""
        got = []
        async with asyncio.timeout(timeout_s):
            while True:
                got.append(await self.receive())
                if condition(got[-1]):
                    return got

    async def until_status(self, state: str, timeout_s: float = 60) -> Json:
        """The next iopub status message with this state."""
        return (await self.until(lambda m: is_status(m, state), timeout_s))[-1]

    async def execute(self, code: str, *, allow_stdin: bool = False, silent: bool = False) -> str:
        """Send an execute_request; returns its msg_id."""
        content = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": {},
            "allow_stdin": allow_stdin,
            "stop_on_error": True,
        }
        return await self.send("execute_request", content)

    async def all_answers(self, *msg_ids: str, timeout_s: float = 60) -> dict[str, list[Json]]:
        """What answers each of several requests, whose messages may come mixed."""
        answers: dict[str, list[Json]] = {msg_id: [] for msg_id in msg_ids}
        owed = {(msg_id, what) for msg_id in msg_ids for what in ("reply", "idle")}  # of many messages few are either
        async with asyncio.timeout(timeout_s):
            while owed:
                message = await self.receive()
                parent = message["parent_header"]
                msg_id = parent.get("msg_id") if isinstance(parent, dict) else None
                if msg_id in answers:
                    answers[msg_id].append(message)
                    if message["msg_type"].endswith("_reply"):
                        owed.discard((msg_id, "reply"))
                    elif is_status(message, "idle"):
                        owed.discard((msg_id, "idle"))
        return answers

    async def answers(self, msg_id: str, timeout_s: float = 60) -> list[Json]:
        """Everything that answers a request, up to its reply and its idle, whichever is last."""
        return (await self.all_answers(msg_id, timeout_s=timeout_s))[msg_id]

    async def run(self, code: str, timeout_s: float = 60) -> list[Json]:
        """Execute and return all answers."""
        return await self.answers(await self.execute(code), timeout_s)

    async def closed(self, timeout_s: float = 60) -> tuple[int, str]:
        """Wait until the server closes; returns code and reason."""
        try:
            while True:
                await self.receive(timeout_s)
        except websockets.ConnectionClosed as exc:
            return (exc.rcvd.code, exc.rcvd.reason) if exc.rcvd else (1006, "")


class Client:
    """Talks to a server at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, limits=SHORT_LIVED)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def start(self, name: str = "tiny_plain", **body: Any) -> str:
        """Start a kernel; returns its id."""
        response = await self.http.post("/api/kernels", json={"name": name, **body})
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    async def start_session(self, path: str = "a.ipynb", name: str = "tiny_plain", **body: Any) -> Json:
        """Create a session of type notebook, with a new kernel; returns its model."""
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": name}} | body
        response = await self.http.post("/api/sessions", json=body)
        assert response.status_code == 201, response.text
        return response.json()

    async def kernel(self, kernel_id: str) -> Json:
        return (await self.http.get(f"/api/kernels/{kernel_id}")).json()

    async def kernels(self) -> list[Json]:
        return (await self.http.get("/api/kernels")).json()

    async def until(self, condition: Any, timeout_s: float = 60) -> list[Json]:
        """Ask until the list of kernels fulfils the condition: there is no event for REST."""

        async def fulfilling() -> list[list[Json]]:
            kernels = await self.kernels()
            return [kernels] if condition(kernels) else []

        [kernels] = await until(fulfilling, timeout_s, every_s=0.02)
        return kernels

    async def until_kernel(self, kernel_id: str, condition: Any, timeout_s: float = 60) -> Json:
        """Ask until the kernel's model fulfils the condition."""

        async def fulfilling() -> Json | None:
            model = await self.kernel(kernel_id)
            return model if condition(model) else None

        return await until(fulfilling, timeout_s, every_s=0.02)

    async def evaluate(self, kernel_id: str, expression: str) -> str:
        """The value of a Python expression in a tiny kernel, as a string; `os` is imported."""
        async with await self.connect(kernel_id) as socket:
            return text_of(await socket.run(f"import os; stream(str({expression}))"))

    async def connect(self, kernel_id: str, *, v1: bool = True, session: str | None = None, **options: Any) -> Socket:
        session = session or uuid.uuid4().hex
        url = f"ws{self.url[4:]}/api/kernels/{kernel_id}/channels?session_id={session}"
        options.setdefault("max_size", None)
        connection = await websockets.connect(
            url, subprotocols=[Subprotocol(V1)] if v1 else None, proxy=None, **options
        )
        return Socket(connection, session)


@contextlib.asynccontextmanager
async def tidy_client(server: ServerProcess) -> AsyncIterator[Client]:
    """A client of a server that is shared; all kernels and sessions that it starts are removed at the end."""
    async with Client(server.url) as client:
        kept = {model["id"] for model in await client.kernels()}
        try:
            yield client
        finally:
            for kind in ("sessions", "kernels"):
                for model in (await client.http.get(f"/api/{kind}")).json():
                    if model["id"] not in kept:
                        await client.http.delete(f"/api/{kind}/{model['id']}")
