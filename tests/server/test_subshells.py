"""Requests that name a subshell which is gone are answered; those in one that is there run."""

from __future__ import annotations

import pytest

from ..support.client import Client, Socket
from ..support.messages import Json, header, of_type, text_of

both = pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])


async def make(socket: Socket) -> str:
    answers = await socket.answers(await socket.send("create_subshell_request", {}, channel="control"))
    return str(of_type(answers, "create_subshell_reply")[0]["content"]["subshell_id"])


async def delete(socket: Socket, subshell_id: str) -> None:
    await socket.answers(await socket.send("delete_subshell_request", {"subshell_id": subshell_id}, channel="control"))


async def run_in(socket: Socket, subshell_id: object, msg_type: str = "execute_request") -> list[Json]:
    head = header(msg_type, socket.session) | {"subshell_id": subshell_id}
    await socket.send_message(head, {"code": "stream('ran')", "silent": False, "cursor_pos": 0, "allow_stdin": False})
    return await socket.answers(head["msg_id"])


@both
@pytest.mark.parametrize("msg_type", ["execute_request", "complete_request"])
async def test_a_request_to_a_subshell_that_is_gone_is_an_error(client: Client, msg_type: str, v1: bool) -> None:
    kernel_id = await client.start("tiny_subshells")
    async with await client.connect(kernel_id, v1=v1) as socket:
        subshell_id = await make(socket)
        assert text_of(await run_in(socket, subshell_id)) == "ran"
        await delete(socket, subshell_id)
        [reply] = of_type(await run_in(socket, subshell_id, msg_type), msg_type.replace("request", "reply"))
        assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "SubshellGone")
        assert subshell_id in reply["content"]["evalue"]
        assert text_of(await socket.run("stream('main')")) == "main"


async def test_a_restart_ends_all_subshells(client: Client) -> None:
    kernel_id = await client.start("tiny_subshells")
    async with await client.connect(kernel_id) as socket:
        subshell_id = await make(socket)
        assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
        [reply] = of_type(await run_in(socket, subshell_id), "execute_reply")
        assert reply["content"]["ename"] == "SubshellGone"
        assert text_of(await run_in(socket, await make(socket))) == "ran"


@pytest.mark.parametrize("subshell_id", [None, "", 5])
async def test_what_names_no_subshell_is_as_ever(client: Client, subshell_id: object) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        assert text_of(await run_in(socket, subshell_id)) == "ran"


async def test_a_kernel_without_subshells_runs_it_itself(client: Client) -> None:
    """As it does on Jupyter Server."""
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        assert text_of(await run_in(socket, "gone")) == "ran"


async def test_ipykernel_answers_once(client: Client) -> None:
    kernel_id = await client.start("python3")
    async with await client.connect(kernel_id) as socket:
        subshell_id = await make(socket)
        await delete(socket, subshell_id)
        [reply] = of_type(await run_in(socket, subshell_id), "execute_reply")
        assert reply["content"]["status"] == "error"
        assert of_type(await socket.run("1"), "execute_result")
        assert len(of_type(socket.received, "execute_reply")) == 2
