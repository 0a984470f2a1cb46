"""Kernels of another major version of the message spec, over WebSockets."""

from __future__ import annotations

import pytest

from ..support.client import Client
from ..support.messages import Json, of_type, text_of
from ..support.servers import Launch, options


def reply_of(messages: list[Json]) -> Json:
    [reply] = [message for message in messages if message["channel"] == "shell"]
    return reply


async def test_execution_on_an_old_kernel(client: Client) -> None:
    kernel_id = await client.start("tiny_old_protocol")
    async with await client.connect(kernel_id, v1=False) as socket:
        answers = await socket.run("stream('out'); publish('execute_result', {'data': {'text/plain': '42'}})")
    assert [m["msg_type"] for m in answers if m["channel"] == "iopub"] == [
        "status", "execute_input", "stream", "execute_result", "status",
    ]  # fmt: skip
    assert text_of(answers) == "out"
    assert of_type(answers, "execute_result")[0]["content"]["data"] == {"text/plain": "42"}
    assert reply_of(answers)["content"]["status"] == "ok"
    assert {m["header"]["version"].split(".")[0] for m in answers} == {"5"}


async def test_an_error_of_an_old_kernel(client: Client) -> None:
    kernel_id = await client.start("tiny_old_protocol")
    async with await client.connect(kernel_id, v1=False) as socket:
        answers = await socket.run("1 / 0")
    assert of_type(answers, "error")[0]["content"]["ename"] == "ZeroDivisionError"
    assert reply_of(answers)["content"]["ename"] == "ZeroDivisionError"


@pytest.mark.parametrize(
    ("msg_type", "content", "expected"),
    [
        ("complete_request", {"code": "tin", "cursor_pos": 3}, {"matches": ["tiny"], "cursor_start": -3}),
        (
            "inspect_request",
            {"code": "tiny", "cursor_pos": 4, "detail_level": 0},
            {"found": True, "data": {"text/plain": "about tiny"}},
        ),
        ("kernel_info_request", {}, {"protocol_version": "4.1", "language_info": {"name": "python", "version": "2.7"}}),
    ],
)
async def test_a_request_to_an_old_kernel(client: Client, msg_type: str, content: Json, expected: Json) -> None:
    kernel_id = await client.start("tiny_old_protocol")
    async with await client.connect(kernel_id, v1=False) as socket:
        msg_id = await socket.send(msg_type, content)
        reply = reply_of(await socket.answers(msg_id))
    assert reply["msg_type"] == msg_type.replace("request", "reply")
    assert expected.items() <= reply["content"].items()


async def test_what_clients_may_send_goes_by_the_name_that_they_have_for_it(launch: Launch) -> None:
    """An old kernel calls an inspect_request an object_info_request."""
    server = launch(*options(allowed_message_types=["inspect_request"]))
    async with Client(server.url) as client:
        kernel_id = await client.start("tiny_old_protocol")
        async with await client.connect(kernel_id, v1=False) as socket:
            content = {"code": "tiny", "cursor_pos": 4, "detail_level": 0}
            reply = reply_of(await socket.answers(await socket.send("inspect_request", content)))
            assert reply["content"]["data"] == {"text/plain": "about tiny"}
            reply = reply_of(await socket.answers(await socket.send("complete_request", content)))
            assert reply["content"]["ename"] == "Forbidden"


async def test_buffers_of_an_old_kernel(client: Client) -> None:
    kernel_id = await client.start("tiny_old_protocol")
    async with await client.connect(kernel_id, v1=False) as socket:
        await socket.send("comm_msg", {"comm_id": "c", "data": {"a": "ä"}}, buffers=[b"abc", b""])
        echo = (await socket.until(lambda m: m["msg_type"] == "comm_msg"))[-1]
    assert (echo["content"], echo["buffers"]) == ({"comm_id": "c", "data": {"a": "ä"}}, [b"cba", b""])


async def test_an_old_kernel_is_adapted_after_a_restart(client: Client) -> None:
    kernel_id = await client.start("tiny_old_protocol")
    async with await client.connect(kernel_id, v1=False) as socket:
        await client.http.post(f"/api/kernels/{kernel_id}/restart")
        assert text_of(await socket.run("stream('alive')")) == "alive"


async def test_v1_passes_messages_of_an_old_kernel_through(client: Client) -> None:
    kernel_id = await client.start("tiny_old_protocol")
    async with await client.connect(kernel_id) as v1, await client.connect(kernel_id, v1=False) as default:
        answers = await v1.run("stream('out')")
        assert of_type(answers, "stream")[0]["content"] == {"name": "stdout", "data": "out"}
        assert of_type(answers, "pyin")
        seen = await default.until(lambda m: m["msg_type"] == "stream")
        assert seen[-1]["content"] == {"name": "stdout", "text": "out"}
