"""Requests whose headers lack something, or have it in another type: they are executed and answered, in both protocols.

In JSON-RPC ids are numbers; the oldest Jupyter clients know no version.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ..support.client import Client, Socket
from ..support.messages import Json, header, is_answered, of_type, text_of
from ..support.servers import Server

both = pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])
RUN = {"code": "stream('ran')", "silent": False, "allow_stdin": False}

ODD: dict[str, Json] = {
    "number for msg_id": {"msg_id": 12345},
    "float for msg_id": {"msg_id": 1.5},
    "truth for msg_id": {"msg_id": True},
    "empty msg_id": {"msg_id": ""},
    "null for msg_id": {"msg_id": None},
    "number for session": {"session": 7},
    "null for session": {"session": None},
    "number for username": {"username": 7},
    "null for username": {"username": None},
    "number for version": {"version": 5},
    "null for version": {"version": None},
    "number for date": {"date": 1700000000},
    "null for date": {"date": None},
    "garbage for date": {"date": "yesterday"},
    "date without zone": {"date": "2026-01-01T00:00:00"},
    "lone surrogate": {"username": "\ud83d"},
    "null for all": {"msg_id": None, "session": None, "username": None, "version": None, "date": None},
}
MISSING = ["session", "username", "version", "date"]


@pytest.fixture(scope="module")
def kernel_id(server: Server) -> Iterator[str]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http:
        kernel_id = http.post("/api/kernels", json={"name": "tiny_plain"}).json()["id"]
        yield kernel_id
        http.delete(f"/api/kernels/{kernel_id}")


async def answers(socket: Socket, msg_id: Any) -> list[Json]:
    """What the client takes for answers to a request with this msg_id."""
    found: list[Json] = []
    async with asyncio.timeout(30):
        while not is_answered(found):
            message = await socket.receive()
            if "msg_id" in message["parent_header"] and message["parent_header"]["msg_id"] == msg_id:
                found.append(message)
    return found


def check_ran(found: list[Json], times: int = 1) -> None:
    assert text_of(found) == "ran" * times
    replies = of_type(found, "execute_reply")
    assert [reply["content"]["status"] for reply in replies] == ["ok"] * times


@both
@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_header_is_answered_under_the_id_it_has(
    server: Server, kernel_id: str, odd: str, v1: bool
) -> None:
    async with Client(server.url) as client, await client.connect(kernel_id, v1=v1) as socket:
        head = header("execute_request", socket.session) | ODD[odd]
        await socket.send_message(head, RUN)
        check_ran(await answers(socket, head["msg_id"]))
        check_ran(await socket.run("stream('ran')"))  # the next one is as ever


@both
@pytest.mark.parametrize("missing", MISSING)
async def test_a_header_that_lacks_something_is_answered(
    server: Server, kernel_id: str, missing: str, v1: bool
) -> None:
    async with Client(server.url) as client, await client.connect(kernel_id, v1=v1) as socket:
        head = header("execute_request", socket.session)
        del head[missing]
        await socket.send_message(head, RUN)
        check_ran(await answers(socket, head["msg_id"]))


@both
async def test_a_kernel_gets_strings_and_a_version(server: Server, kernel_id: str, v1: bool) -> None:
    async with Client(server.url) as client, await client.connect(kernel_id, v1=v1) as socket:
        head = {"msg_id": 5, "msg_type": "execute_request", "session": 6, "username": None}
        await socket.send_message(head, RUN | {"code": "import json; stream(json.dumps(request['header']))"})
        got = json.loads(text_of(await answers(socket, 5)))
        assert (got["session"], got["username"], got["version"]) == ("6", "", "5.4")
        assert isinstance(got["msg_id"], str)


@both
@pytest.mark.parametrize("msg_id", ["same", 12345, "", None])
async def test_an_id_that_a_client_repeats_is_answered_each_time(
    server: Server, kernel_id: str, msg_id: Any, v1: bool
) -> None:
    async with Client(server.url) as client, await client.connect(kernel_id, v1=v1) as socket:
        head = header("execute_request", socket.session) | {"msg_id": msg_id}
        for _ in range(3):
            await socket.send_message(head, RUN)
        async with asyncio.timeout(30):
            while len(of_type(socket.received, "execute_reply")) < 3 or text_of(socket.received) != "ran" * 3:
                await socket.receive()
        parents = {message["parent_header"].get("msg_id") for message in of_type(socket.received, "execute_reply")}
        assert parents == {msg_id}


@both
@pytest.mark.parametrize("msg_id", [1, "same"])
async def test_the_same_id_of_two_clients_is_answered_to_each(
    server: Server, kernel_id: str, msg_id: Any, v1: bool
) -> None:
    async with (
        Client(server.url) as client,
        await client.connect(kernel_id, v1=v1) as one,
        await client.connect(kernel_id, v1=v1) as two,
    ):
        for number, socket in enumerate((one, two)):
            head = header("execute_request", socket.session) | {"msg_id": msg_id}
            del head["version"]
            await socket.send_message(head, RUN | {"code": f"stream('{number}')"})
        assert text_of(await answers(one, msg_id)) == "0"
        assert text_of(await answers(two, msg_id)) == "1"


async def test_a_question_for_an_odd_request_is_answered(server: Server, kernel_id: str) -> None:
    async with Client(server.url) as client, await client.connect(kernel_id) as socket:
        head = header("execute_request", socket.session) | {"msg_id": 1}
        await socket.send_message(head, RUN | {"code": "stream(reply_input('?'))", "allow_stdin": True})
        [*_, question] = await socket.until(lambda message: message["msg_type"] == "input_request")
        assert question["parent_header"]["msg_id"] == 1
        reply = header("input_reply", socket.session) | {"msg_id": 2}
        await socket.send_message(reply, {"value": "ran", "status": "ok"}, channel="stdin")
        check_ran(await answers(socket, 1))


async def test_odd_requests_are_answered_when_the_kernel_dies(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        head = header("execute_request", socket.session) | {"msg_id": 1}
        await socket.send_message(head, RUN | {"code": "import os; os._exit(1)"})
        [reply] = of_type(await answers(socket, 1), "execute_reply")
        assert reply["content"]["ename"] == "DeadKernelError"


@both
async def test_an_unknown_type_is_passed_on(server: Server, kernel_id: str, v1: bool) -> None:
    async with Client(server.url) as client, await client.connect(kernel_id, v1=v1) as socket:
        assert of_type(await socket.answers(await socket.send("x_request", {})), "x_reply")
        await socket.send_message(header("x", socket.session) | {"msg_type": 7}, {})
        check_ran(await socket.run("stream('ran')"))


async def test_frames_that_are_empty_stand_for_objects(server: Server, kernel_id: str) -> None:
    async with Client(server.url) as client, await client.connect(kernel_id, v1=False) as socket:
        head = header("execute_request", socket.session)
        await socket.ws.send(json.dumps({"header": head, "parent_header": None, "metadata": None, "content": RUN}))
        check_ran(await answers(socket, head["msg_id"]))
