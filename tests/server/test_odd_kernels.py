"""Kernels that send messages in an odd form: their clients can read them all, in both protocols."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ..support.client import Client, Socket
from ..support.messages import Json, is_status, of_type, text_of, unpack_default, unpack_v1
from ..support.servers import Server

STRINGS = ("msg_id", "msg_type", "session", "username", "version")
"""What JupyterLab wants in a header."""

both = pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])

# Runs in the kernel: sends a message of any form, with the right signature.
SEND = """
import hashlib, hmac, json
def send(msg_type, content, channel="iopub", parent=None, metadata=b"{}", more=(), **header):
    head = {"msg_id": "k", "msg_type": msg_type, "session": kernel.session, "username": "u", "version": "5.3"} | header
    head = {name: value for name, value in head.items() if value != "none"}
    parent = request["header"] if parent is None else parent
    parts = (head, parent, metadata, content)
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
    signature = hmac.new(kernel.key, b"".join(parts), hashlib.sha256).hexdigest().encode()
    raw(channel, [b"<IDS|MSG>", signature, *parts, *more])
"""
STREAM = "'stream', {'name': 'stdout', 'text': 'odd'}"
ODD = {
    "utf-16": "send('stream', json.dumps({'name': 'stdout', 'text': 'odd'}).encode('utf-16'))",
    "no UTF-8": r"""send('stream', b'{"name": "stdout", "text": "odd\xff"}')""",
    "lone surrogate": r"""send('stream', b'{"name": "stdout", "text": "odd\\ud83d"}')""",
    "raw surrogate": r"""send('stream', b'{"name": "stdout", "text": "odd\xed\xa0\xbd"}')""",
    "NUL": r"""send('stream', b'{"name": "stdout", "text": "odd\\u0000"}')""",
    "control character": r"""send('stream', b'{"name": "stdout", "text": "odd\x01"}')""",
    "NaN": """send('stream', b'{"name": "stdout", "text": "odd", "x": NaN}')""",
    "empty metadata": f"send({STREAM}, metadata=b'')",
    "null metadata": f"send({STREAM}, metadata=b'null')",
    "metadata no object": f"send({STREAM}, metadata=b'[1]')",
    "metadata no JSON": f"send({STREAM}, metadata=b'nonsense')",
    "null parent": f"send({STREAM}, parent=b'null')",
    "empty parent": f"send({STREAM}, parent=b'')",
    "parent no JSON": f"send({STREAM}, parent=b'nonsense')",
    "parent without session": f"send({STREAM}, parent={{'msg_id': request['header']['msg_id']}})",
    "parent of another": f"send({STREAM}, parent={{'msg_id': 'nobody', 'session': 'nobody'}})",
    "number for msg_id": f"send({STREAM}, msg_id=12)",
    "null for username": f"send({STREAM}, username=None)",
    "number for session": f"send({STREAM}, session=5)",
    "no version": f"send({STREAM}, version='none')",
    "no session": f"send({STREAM}, session='none')",
    "no msg_id": f"send({STREAM}, msg_id='none')",
    "epoch for date": f"send({STREAM}, date=1700000000)",
    "null for date": f"send({STREAM}, date=None)",
    "garbage for date": f"send({STREAM}, date='yesterday')",
    "date without zone": f"send({STREAM}, date='2026-01-01T00:00:00')",
    "more frames": f"send({STREAM}, more=[b'', b'x'])",
    "pretty": "send('stream', json.dumps({'name': 'stdout', 'text': 'odd'}, indent=2).encode())",
}
UNREADABLE = {
    "content no JSON": "send('stream', b'nonsense')",
    "content cut off": """send('stream', b'{"name": "std')""",
    "content a list": "send('stream', b'[]')",
    "content null": "send('stream', b'null')",
    "content of Python": """send('stream', b"{'name': 'stdout'}")""",
    "no msg_type": "send('none', {})",
}


@pytest.fixture(scope="module")
def kernel_id(server: Server) -> Iterator[str]:
    """One kernel for all that is sent in an odd form."""
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http:
        kernel_id = http.post("/api/kernels", json={"name": "tiny_plain"}).json()["id"]
        yield kernel_id
        http.delete(f"/api/kernels/{kernel_id}")


def strictly(data: Any, v1: bool) -> Json:
    """The message of a frame, all of which a browser can read."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    message = unpack_v1(data) if v1 else unpack_default(data)
    for name in ("header", "parent_header", "metadata", "content"):
        assert isinstance(message[name], dict)
        json.loads(json.dumps(message[name]), parse_constant=refuse)
    assert all(isinstance(message["header"][name], str) for name in STRINGS)
    return message


@both
@pytest.mark.parametrize("odd", ODD)
async def test_a_message_in_an_odd_form_is_read_by_all(server: Server, kernel_id: str, odd: str, v1: bool) -> None:
    async with Client(server.url) as client, await client.connect(kernel_id, v1=v1) as socket:
        await socket.execute(f"{SEND}\nstream('before ')\n{ODD[odd]}\nstream(' after')")
        messages: list[Json] = []
        async with asyncio.timeout(30):
            while not text_of(messages).endswith(" after"):
                messages.append(strictly(await socket.ws.recv(), v1))
        assert text_of(messages).startswith("before odd")
        assert len(of_type(messages, "stream")) == 3


@both
@pytest.mark.parametrize("odd", UNREADABLE)
async def test_what_nobody_can_read_is_logged_and_harms_nothing(
    server: Server, kernel_id: str, odd: str, v1: bool
) -> None:
    async with Client(server.url) as client, await client.connect(kernel_id, v1=v1) as socket:
        code = f"{SEND}\nstream('before ')\n{UNREADABLE[odd]}\nstream('after')"
        assert text_of(await socket.run(code)) == "before after"
        assert socket.garbled == []
    assert f"kernel {kernel_id}: dropped a message on iopub" in server.log.read_text()


@both
async def test_a_reply_that_nobody_can_read_is_an_error(server: Server, kernel_id: str, v1: bool) -> None:
    """Its client would wait for ever."""
    async with Client(server.url) as client, await client.connect(kernel_id, v1=v1) as socket:
        await socket.run(f"{SEND}\nsend('execute_reply', b'[]', 'shell')")
        [first, *_] = of_type(socket.received, "execute_reply")
        assert first["content"]["status"] == "error"


@both
async def test_what_has_no_parent_is_heard_by_the_only_client(server: Server, kernel_id: str, v1: bool) -> None:
    """A reply to nobody's request, and one to a request that it does not name."""
    async with Client(server.url) as client, await client.connect(kernel_id, v1=v1) as socket:
        await socket.run(f"{SEND}\nsend('custom_reply', {{'n': 1}}, 'shell', parent={{}})")
        [reply] = (
            await socket.until(lambda m: m["msg_type"] == "custom_reply")
            if not of_type(socket.received, "custom_reply")
            else of_type(socket.received, "custom_reply")
        )
        assert reply["content"] == {"n": 1}


async def test_what_has_no_parent_is_not_for_one_of_two(server: Server, kernel_id: str) -> None:
    async with Client(server.url) as client:
        one, two = await client.connect(kernel_id), await client.connect(kernel_id)
        async with one, two:
            await one.run(f"{SEND}\nsend('custom_reply', {{}}, 'shell', parent={{}})")
            await two.run("")
            assert of_type(one.received, "custom_reply") == of_type(two.received, "custom_reply") == []


# --- habits of whole kernels ----------------------------------------------------------------------


async def ended(socket: Socket, msg_id: str) -> list[Json]:
    """All that came until the reply to a request, and an idle after what it has put out."""
    await socket.until(lambda m: m["msg_type"] == "execute_reply" and m["parent_header"]["msg_id"] == msg_id)
    await socket.execute("publish('end', {})")
    await socket.until(lambda m: m["msg_type"] == "end")
    return socket.received


@both
@pytest.mark.parametrize("mode", ["no_parents", "bare_parents", "bare_headers", "no_idle"])
async def test_a_kernel_with_odd_habits_starts_runs_and_is_heard(client: Client, mode: str, v1: bool) -> None:
    kernel_id = await client.start(f"tiny_{mode}")
    async with await client.connect(kernel_id, v1=v1) as socket:
        await socket.until_status("idle")
        received = await ended(socket, await socket.execute("stream('heard')"))
        assert text_of(received) == "heard"
        assert any(is_status(message, "busy") for message in received)
        [reply, *_] = of_type(received, "execute_reply")
        assert reply["content"]["status"] == "ok"
        assert socket.garbled == []
        await client.until_kernel(kernel_id, lambda model: model["execution_state"] in ("idle", "busy"))


async def test_state_follows_a_kernel_without_parents(client: Client) -> None:
    kernel_id = await client.start("tiny_no_parents")
    async with await client.connect(kernel_id) as socket:
        await socket.execute("stream('on')\nimport os, time\nwhile not os.path.exists('go'): time.sleep(0.02)")
        await socket.until(lambda m: m["msg_type"] == "stream")
        model = await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "busy")
        await client.http.post(f"/api/kernels/{kernel_id}/interrupt")
        after = await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")
        assert after["last_activity"] > model["last_activity"]


@pytest.mark.parametrize("mode", ["no_parents", "bare_parents", "bare_headers"])
async def test_a_question_of_such_a_kernel_reaches_who_asked(client: Client, mode: str) -> None:
    kernel_id = await client.start(f"tiny_{mode}")
    async with await client.connect(kernel_id) as socket, await client.connect(kernel_id) as other:
        msg_id = await socket.execute("stream('hello ' + reply_input('name? '))", allow_stdin=True)
        [*_, question] = await socket.until(lambda m: m["msg_type"] == "input_request")
        assert question["parent_header"]["msg_id"] == msg_id
        await socket.send("input_reply", {"value": "Ada", "status": "ok"}, channel="stdin")
        await socket.until(lambda m: m["msg_type"] == "stream" and m["content"]["text"] == "hello Ada")
        await other.until(lambda m: m["msg_type"] == "stream")
        assert of_type(other.received, "input_request") == []


@both
async def test_two_clients_of_a_kernel_without_parents_get_each_their_replies(client: Client, v1: bool) -> None:
    kernel_id = await client.start("tiny_no_parents")
    one, two = [await client.connect(kernel_id, v1=v1, max_queue=None) for _ in range(2)]
    async with one, two:
        ids = {socket: [await socket.execute(f"raise ValueError({n})") for n in range(4)] for socket in (one, two)}
        for socket, msg_ids in ids.items():
            while len(of_type(socket.received, "execute_reply")) < 4:
                await socket.receive()
            replies = of_type(socket.received, "execute_reply")
            assert [reply["parent_header"]["msg_id"] for reply in replies] == msg_ids
            assert [reply["content"]["evalue"] for reply in replies] == ["0", "1", "2", "3"]


async def test_a_kernel_without_parents_restarts(client: Client) -> None:
    kernel_id = await client.start("tiny_no_parents")
    async with await client.connect(kernel_id) as socket:
        async with asyncio.timeout(60):
            assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
        assert text_of(await ended(socket, await socket.execute("stream('again')"))) == "again"
