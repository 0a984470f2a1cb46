"""`allowed_message_types` holds for every way to a kernel, not for WebSockets alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ..support.client import tidy_client
from ..support.documents import Desk
from ..support.messages import Json, of_type, text_of
from ..support.servers import NOT_NEEDED_BY_DOCUMENTS, Server, options

Open = Callable[..., Any]


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Open]:
    """open_desk(*msg_types): notebooks on a server whose clients may send these types."""
    servers: list[Server] = []

    @asynccontextmanager
    async def open_desk(*msg_types: str) -> AsyncIterator[Desk]:
        arguments = options(require_yjs=True, allowed_message_types=list(msg_types))
        server = Server(tmp_path / "server", *arguments, disable=NOT_NEEDED_BY_DOCUMENTS)
        servers.append(server)
        server.wait_ready()
        async with tidy_client(server) as client, Desk(client, server.root) as desk:
            yield desk

    yield open_desk
    for server in servers:
        server.stop()


async def test_cells_are_not_executed_where_clients_may_not_execute(open_desk: Open) -> None:
    async with open_desk("kernel_info_request") as desk:
        doc = await desk.open(a="open('ran', 'w')", b="open('ran', 'w')")
        for body in (
            {"cell_id": "a"},
            {"cells": [{"cell_id": "a"}, {"cell_id": "b"}]},
        ):
            response = await desk.client.http.post(
                f"/api/kernels/{doc.kernel_id}/execute", json={"document_id": doc.room, **body}
            )
            assert response.status_code == 403
            assert "execute_request" in response.json()["message"]
        await doc.until(lambda: doc.outputs("a") != [])
        [error] = doc.outputs("a")
        assert error["ename"] == "Forbidden"
        async with await desk.client.connect(doc.kernel_id) as socket:
            [reply] = of_type(await socket.run("open('ran', 'w')"), "execute_reply")
            assert reply["content"]["ename"] == "Forbidden"
            await socket.answers(await socket.send("kernel_info_request", {}))
        assert not list(desk.root.rglob("ran"))


async def test_input_is_not_answered_where_clients_may_not_answer(open_desk: Open) -> None:
    async with open_desk("execute_request") as desk:
        doc = await desk.open(a="stream(str(request['content']['allow_stdin']))")
        response = await desk.client.http.put(f"/api/kernels/{doc.kernel_id}/stdin/me")
        assert response.status_code == 403
        assert "input_reply" in response.json()["message"]
        await doc.run("a")
        assert doc.text("a") == "False"


async def test_an_answer_that_is_refused_leaves_the_question(open_desk: Open) -> None:
    """A kernel may ask although it is not allowed to."""
    async with open_desk("execute_request") as desk:
        doc = await desk.open(a="stream(reply_input('name?'))")
        request_id = await doc.execute("a")
        await doc.request_until(request_id, lambda model: model["input"])
        url = f"/api/kernels/{doc.kernel_id}/requests/{request_id}/input"
        response = await desk.client.http.post(url, json={"value": "x"})
        assert response.status_code == 403
        assert "input_reply" in response.json()["message"]
        assert (await doc.request(request_id))["input"]["prompt"] == "name?"
        async with await desk.client.connect(doc.kernel_id) as socket:
            for msg_type in ("input_reply", "execute_request"):
                await socket.send(msg_type, {"value": "x"}, channel="stdin")
            await socket.until(lambda m: m["parent_header"].get("msg_type") == "execute_request")
        assert (await doc.request(request_id))["state"] == "running"
        await desk.client.http.post(f"/api/kernels/{doc.kernel_id}/interrupt")


async def test_what_is_allowed_works(open_desk: Open) -> None:
    async with open_desk("execute_request", "input_reply") as desk:
        doc = await desk.open(a="stream(reply_input('name?'))", b="stream('b')")
        assert (await desk.client.http.put(f"/api/kernels/{doc.kernel_id}/stdin/me")).status_code == 200
        request_id = await doc.execute("a")
        await doc.request_until(request_id, lambda model: model["input"])
        url = f"/api/kernels/{doc.kernel_id}/requests/{request_id}/input"
        assert (await desk.client.http.post(url, json={"value": "ada"})).status_code == 204
        await doc.ended("a")
        await doc.run("b")
        assert (doc.text("a"), doc.text("b")) == ("ada", "b")


async def test_what_a_cell_of_a_document_asks_is_answered_once_and_over_rest(desk: Desk) -> None:
    """All WebSockets hear of it. Two answers, one of them over a WebSocket, would answer the next question, too."""
    doc = await desk.open(a="stream(reply_input('name?') + ',' + reply_input('age?'))")
    url = f"/api/kernels/{doc.kernel_id}"
    assert (await desk.client.http.put(f"{url}/stdin/me")).status_code == 200
    async with await desk.client.connect(doc.kernel_id) as socket:
        request_id = await doc.execute("a")
        for prompt, value in (("name?", "ada"), ("age?", "36")):
            [*_, asked] = await socket.until(lambda m: m["msg_type"] == "input_request")
            assert asked["content"]["prompt"] == prompt
            await socket.send("input_reply", {"value": "no"}, channel="stdin", parent=asked["header"])
            await socket.answers(await socket.send("kernel_info_request", {}, channel="control"))
            response = await desk.client.http.post(f"{url}/requests/{request_id}/input", json={"value": value})
            assert response.status_code == 204
        await doc.ended("a")
        assert doc.text("a") == "ada,36"
        msg_id = await socket.execute("stream(reply_input('again?'))", allow_stdin=True)
        await socket.until(lambda m: m["msg_type"] == "input_request")
        await socket.send("input_reply", {"value": "bob"}, channel="stdin")
        assert text_of(await socket.answers(msg_id)) == "bob"


async def test_the_msg_id_of_a_cell_of_a_document_steals_nothing(desk: Desk) -> None:
    gate = desk.gate()
    doc = await desk.open(a=f"stream('on')\n{gate.code}\nstream('off')")
    async with await desk.client.connect(doc.kernel_id) as thief:
        await doc.execute("a")
        head = (await thief.until(lambda m: m["msg_type"] == "stream"))[-1]["parent_header"]
        await thief.send_message(head | {"msg_type": "kernel_info_request"}, {}, channel="control")
        await thief.send_message(head, {"code": "stream('mine')", "silent": False})
        await thief.until(lambda m: m["msg_type"] == "kernel_info_reply")
        gate.open()
        await doc.ended("a")
        assert doc.text("a") == "onoff"
        assert doc.count("a") == 1

        def are_there(_: Json) -> bool:  # in any order: they come by two channels
            outputs = [m["content"]["text"] for m in of_type(thief.received, "stream")]
            replies = [m["parent_header"]["msg_id"] for m in of_type(thief.received, "execute_reply")]
            return "mine" in outputs and head["msg_id"] in replies

        await thief.until(are_there)
