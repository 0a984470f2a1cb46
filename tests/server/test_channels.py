"""WebSockets to kernels, over both protocols: wire, routing, life and death of the kernel, and bad frames."""

from __future__ import annotations

import asyncio
import json
import struct
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import websockets
from websockets.typing import Subprotocol

from ..support.client import Client, Socket, tidy_client
from ..support.messages import V1, Json, header, is_status, of_type, pack_v1, text_of
from ..support.servers import Launch, Server, options

SLEEP = "import time; stream('on')\nwhile True: time.sleep(0.05)"
LOOP = "stream('on')\nwhile True: pass"
ALLOWED_ORIGIN = "http://good.example"

both = pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that allows an origin, two types of requests, and no restart by itself."""
    server = Server(
        tmp_path_factory.mktemp("strict"),
        *options(
            allow_origin=[ALLOWED_ORIGIN],
            allowed_message_types=["execute_request", "comm_open"],
            restart_limit=0,
            shutdown_wait_time_s=0.2,
        ),
    )
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def strict_client(strict: Server) -> AsyncIterator[Client]:
    async with tidy_client(strict) as client:
        yield client


def types_of(messages: list[Json]) -> list[tuple[str, str]]:
    return [(message["channel"], message["msg_type"]) for message in messages]


def reply_of(messages: list[Json]) -> Json:
    [reply] = [message for message in messages if message["msg_type"].endswith("_reply")]
    return reply


async def begin(socket: Socket, code: str) -> str:
    """Execute, and return once the cell runs; returns the msg_id. The code writes something first."""
    msg_id = await socket.execute(code)
    await socket.until(lambda message: message["msg_type"] == "stream")
    return msg_id


async def mark(*sockets: Socket) -> list[list[Json]]:
    """Have the kernel publish a mark; returns what each socket received up to it."""
    name = uuid.uuid4().hex
    await sockets[0].execute(f"publish('mark', {{'name': '{name}'}})", silent=True)
    return [await one.until(lambda m: m["msg_type"] == "mark" and m["content"]["name"] == name) for one in sockets]


# --- requests and their answers -------------------------------------------------------------------


@both
async def test_execution_is_answered_in_order(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        answers = await socket.run("stream('out')")
    iopub = [message for message in answers if message["channel"] == "iopub"]
    assert [message["msg_type"] for message in iopub] == ["status", "execute_input", "stream", "status"]
    assert [m["content"]["execution_state"] for m in of_type(iopub, "status")] == ["busy", "idle"]
    assert reply_of(answers)["channel"] == "shell"
    assert reply_of(answers)["content"]["status"] == "ok"


@both
async def test_messages_pass_through_unchanged(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    data = {"text/plain": 'ä"\\\n\u2028 \U0001f40d', "n": [1.5, None, True, 10**18]}
    content = {"data": data, "deep": {"a": {"b": {}}}}
    metadata = {"key": "wört"}
    code = f"publish('display_data', {content!r}, metadata={metadata!r}, buffers=[b'', b'\\x00\\xff'])"
    async with await client.connect(kernel_id, v1=v1) as socket:
        [message] = of_type(await socket.run(code), "display_data")
    assert message["channel"] == "iopub"
    assert message["content"] == content
    assert message["metadata"] == metadata
    assert message["buffers"] == [b"", b"\x00\xff"]


@both
@pytest.mark.parametrize("msg_id", ["ä€🐍", 'quo"te\\', "{brace}", " ", "x" * 10_000, '"msg_type": "other"'])
async def test_message_ids_pass_through(client: Client, v1: bool, msg_id: str) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        head = header("execute_request", socket.session) | {"msg_id": msg_id}
        await socket.send_message(head, {"code": "stream('out')", "silent": False})
        answers = await socket.answers(msg_id)
    assert text_of(answers) == "out"
    assert reply_of(answers)["parent_header"] == head


@both
async def test_an_error_is_published_and_replied(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        answers = await socket.run("1 / 0")
    [error] = of_type(answers, "error")
    assert error["content"]["ename"] == "ZeroDivisionError"
    assert reply_of(answers)["content"]["status"] == "error"


@both
async def test_input_is_asked_for_and_given(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        msg_id = await socket.execute("stream('hello ' + reply_input('name?'))", allow_stdin=True)
        request = (await socket.until(lambda m: m["msg_type"] == "input_request"))[-1]
        assert request["channel"] == "stdin"
        assert request["content"] == {"prompt": "name?", "password": False}
        await socket.send("input_reply", {"value": "ada"}, channel="stdin", parent=request["header"])
        assert text_of(await socket.answers(msg_id)) == "hello ada"


@both
async def test_comm_messages_carry_buffers_both_ways(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    buffers = [b"abc", b"", bytes(range(256)) * 300]
    async with await client.connect(kernel_id, v1=v1) as socket:
        await socket.send("comm_msg", {"comm_id": "c", "data": {"a": "ä"}}, buffers=buffers)
        echo = (await socket.until(lambda m: m["msg_type"] == "comm_msg"))[-1]
    assert echo["content"] == {"comm_id": "c", "data": {"a": "ä"}}
    assert echo["buffers"] == [buffer[::-1] for buffer in buffers]


@both
async def test_a_message_of_8_mib_passes_both_ways(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    data = uuid.uuid4().bytes * (8 * 1024 * 1024 // 16)
    async with await client.connect(kernel_id, v1=v1) as socket:
        await socket.send("comm_msg", {"comm_id": "c", "data": {}}, buffers=[data])
        echo = (await socket.until(lambda m: m["msg_type"] == "comm_msg"))[-1]
        assert echo["buffers"] == [data[::-1]]
        assert len(text_of(await socket.run("stream('x' * 8 * 1024 * 1024)"))) == 8 * 1024 * 1024


@both
@pytest.mark.parametrize(
    ("msg_type", "content", "key", "value"),
    [
        ("complete_request", {"code": "ti", "cursor_pos": 2}, "matches", ["tiny"]),
        ("inspect_request", {"code": "ti", "cursor_pos": 2, "detail_level": 0}, "data", {"text/plain": "tiny"}),
        ("kernel_info_request", {}, "implementation", "tiny"),
        ("is_complete_request", {"code": "x"}, "status", "ok"),
    ],
)
@pytest.mark.parametrize("channel", ["shell", "control"])
async def test_a_request_is_answered_on_its_channel(
    client: Client, v1: bool, msg_type: str, content: Json, key: str, value: Any, channel: str
) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        reply = reply_of(await socket.answers(await socket.send(msg_type, content, channel=channel)))
    assert (reply["channel"], reply["msg_type"]) == (channel, msg_type.replace("request", "reply"))
    assert reply["content"][key] == value


async def test_a_message_without_a_channel_is_for_shell(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=False) as socket:
        head = header("kernel_info_request", socket.session)
        await socket.ws.send(json.dumps({"header": head, "content": {}}))
        assert reply_of(await socket.answers(head["msg_id"]))["channel"] == "shell"


@both
async def test_a_real_ipykernel(client: Client, v1: bool) -> None:
    kernel_id = await client.start("python3")
    async with await client.connect(kernel_id, v1=v1) as socket:
        answers = await socket.run("print('out')\nfrom IPython.display import display, HTML\ndisplay(HTML('<b>'))\n6*7")
        assert text_of(answers) == "out\n"
        assert of_type(answers, "display_data")[0]["content"]["data"]["text/html"] == "<b>"
        assert of_type(answers, "execute_result")[0]["content"]["data"] == {"text/plain": "42"}
        assert reply_of(answers)["content"]["execution_count"] == 1
        answers = await socket.run("1/0")
        assert of_type(answers, "error")[0]["content"]["ename"] == "ZeroDivisionError"
        msg_id = await socket.execute("print(input('name? '))", allow_stdin=True)
        request = (await socket.until(lambda m: m["msg_type"] == "input_request"))[-1]
        await socket.send("input_reply", {"value": "ada"}, channel="stdin", parent=request["header"])
        assert text_of(await socket.answers(msg_id)) == "ada\n"
        msg_id = await socket.send("complete_request", {"code": "impor", "cursor_pos": 5})
        assert "import" in reply_of(await socket.answers(msg_id))["content"]["matches"]


# --- several clients ------------------------------------------------------------------------------


@pytest.mark.parametrize("second_v1", [True, False], ids=["v1", "default"])
@both
async def test_iopub_goes_to_all(client: Client, v1: bool, second_v1: bool) -> None:
    kernel_id = await client.start()
    async with (
        await client.connect(kernel_id, v1=v1) as first,
        await client.connect(kernel_id, v1=second_v1) as second,
    ):
        mine = [m for m in await first.run("stream('out'); publish('display_data', {}, buffers=[b'x'])")]
        seen = (await mark(first, second))[1]
    iopub = [m for m in mine if m["channel"] == "iopub"]
    ids = {message["header"]["msg_id"] for message in iopub}
    assert [m["header"]["msg_id"] for m in seen if m["header"]["msg_id"] in ids] == [
        m["header"]["msg_id"] for m in iopub
    ]
    assert text_of(seen) == "out"
    assert of_type(seen, "display_data")[0]["buffers"] == [b"x"]


@both
async def test_replies_go_only_to_who_asked(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as first, await client.connect(kernel_id, v1=v1) as second:
        await first.run("pass")
        await first.answers(await first.send("kernel_info_request", {}, channel="control"))
        seen = (await mark(first, second))[1]
    assert {message["channel"] for message in seen} == {"iopub"}


@both
async def test_only_who_asked_is_asked_for_input(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as first, await client.connect(kernel_id, v1=v1) as second:
        msg_id = await first.execute("reply_input('name?')", allow_stdin=True)
        request = (await first.until(lambda m: m["msg_type"] == "input_request"))[-1]
        await first.send("input_reply", {"value": "ada"}, channel="stdin", parent=request["header"])
        await first.answers(msg_id)
        seen = (await mark(first, second))[1]
    assert "stdin" not in {message["channel"] for message in seen}


async def test_the_session_in_the_header_need_not_be_that_of_the_socket(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        socket.session = "another"
        assert reply_of(await socket.run("pass"))["content"]["status"] == "ok"


async def test_a_client_that_left_gets_nothing_and_disturbs_nobody(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as first:
        async with await client.connect(kernel_id) as second:
            await second.execute("for i in range(100): stream(str(i))")
        seen = await first.until(lambda m: is_status(m, "idle") and m["parent_header"].get("session") == second.session)
        assert text_of(seen) == "".join(map(str, range(100)))
        assert text_of(await first.run("stream('alive')")) == "alive"


async def test_connections_counts_open_sockets(client: Client) -> None:
    kernel_id = await client.start()
    sockets = [await client.connect(kernel_id, v1=bool(index % 2)) for index in range(3)]
    await client.until_kernel(kernel_id, lambda model: model["connections"] == 3)
    await sockets[0].ws.close()
    sockets[1].ws.transport.abort()
    await client.until_kernel(kernel_id, lambda model: model["connections"] == 1)
    await sockets[2].ws.close()
    await client.until_kernel(kernel_id, lambda model: model["connections"] == 0)


async def test_a_client_that_does_not_read_holds_nobody_up(launch: Launch) -> None:
    server = launch(*options(client_max_bytes=32 * 1024 * 1024))
    code = "import os\nfor i in range(8): publish('display_data', {'i': i}, buffers=[os.urandom(1 << 20)])"
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with (
            await client.connect(kernel_id, max_queue=1, compression=None) as lazy,
            await client.connect(kernel_id, compression=None) as reader,
        ):
            for _ in range(10):
                answers = await reader.run(code)
                assert [m["content"]["i"] for m in of_type(answers, "display_data")] == list(range(8))
            assert (await lazy.closed())[0] == 1013


# --- opening --------------------------------------------------------------------------------------


@both
async def test_a_new_client_is_told_the_current_status(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as first:
        assert is_status(await first.receive(), "idle")
        await begin(first, SLEEP)
        async with await client.connect(kernel_id, v1=v1) as second:
            status = await second.receive()
    assert is_status(status, "busy")
    assert status["channel"] == "iopub"
    assert status["parent_header"] == {}


@both
async def test_what_is_sent_while_the_kernel_starts_waits_for_it(client: Client, v1: bool) -> None:
    kernel_id = str(uuid.uuid4())
    start = asyncio.create_task(client.start("tiny_slow", kernel_id=kernel_id))
    await client.until(lambda kernels: kernel_id in [model["id"] for model in kernels])
    async with await client.connect(kernel_id, v1=v1) as socket:
        assert is_status(await socket.receive(), "starting")
        first = await socket.execute("stream('one')")
        second = await socket.execute("stream('two')")
        answers = await socket.all_answers(first, second)
    assert (text_of(answers[first]), text_of(answers[second])) == ("one", "two")
    await start
    foreign = [m for m in socket.received if m["parent_header"].get("msg_id") not in (None, first, second)]
    assert types_of(foreign) == []  # the server's own requests are its own business


@both
async def test_who_waits_for_the_start_is_told_that_the_kernel_is_idle(client: Client, v1: bool) -> None:
    kernel_id = str(uuid.uuid4())
    start = asyncio.create_task(client.start("tiny_slow", kernel_id=kernel_id))
    await client.until(lambda kernels: kernel_id in [model["id"] for model in kernels])
    async with await client.connect(kernel_id, v1=v1) as socket:
        await socket.until_status("idle")
    await start


@both
async def test_a_kernel_that_says_late_that_it_starts_is_shown_in_its_state(client: Client, v1: bool) -> None:
    """ipykernel's own word may come after its answer, which makes it ready. JupyterLab would show it for ever."""
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        say = "publish('status', {'execution_state': 'starting'}, parent={})"
        await socket.run(f"import threading; threading.Timer(0.1, lambda: {say}).start()")
        await socket.until_status("starting")
        status = await socket.receive()
    assert is_status(status, "idle")
    assert status["parent_header"] == {}


@both
async def test_a_kernel_whose_idle_is_missing_is_shown_as_idle_once_it_answers_a_page(client: Client, v1: bool) -> None:
    """Of the idle after a question of its own, such as this one, JupyterLab takes no notice."""
    kernel_id = await client.start("tiny_no_idle")
    async with await client.connect(kernel_id, v1=v1) as socket:
        await socket.execute("pass")
        await socket.until(lambda m: m["msg_type"] == "execute_reply")
        msg_id = await socket.send("kernel_info_request", {})
        await socket.until(lambda m: is_status(m, "idle") and m["parent_header"].get("msg_id") == msg_id)
        status = await socket.receive()
    assert is_status(status, "idle")
    assert status["parent_header"] == {}


async def test_a_start_that_fails_is_told_to_who_waits(client: Client) -> None:
    kernel_id = str(uuid.uuid4())
    body = {"name": "tiny_silent", "kernel_id": kernel_id}
    start = asyncio.create_task(client.http.post("/api/kernels", json=body))
    await client.until(lambda kernels: kernel_id in [model["id"] for model in kernels])
    async with await client.connect(kernel_id) as socket:
        msg_id = await socket.execute("pass")
        await asyncio.gather(client.http.delete(f"/api/kernels/{kernel_id}"), start)
        reply = reply_of(await socket.answers(msg_id))
        assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "DeadKernelError")
        await socket.until_status("dead")
        assert (await socket.closed())[0] == 1000


@both
async def test_the_same_session_replaces_its_socket(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with (
        await client.connect(kernel_id, v1=v1, session="mine") as first,
        await client.connect(kernel_id, v1=v1, session="mine") as second,
    ):
        code, reason = await first.closed()
        assert (code, bool(reason)) == (1000, True)
        assert text_of(await second.run("stream('alive')")) == "alive"
        await client.until_kernel(kernel_id, lambda model: model["connections"] == 1)


async def test_the_replies_of_a_replaced_socket_go_to_the_new_one(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, session="mine") as first:
        msg_id = await begin(first, "stream('on'); import time; time.sleep(0.3)")
        async with await client.connect(kernel_id, session="mine") as second:
            assert reply_of(await second.answers(msg_id))["content"]["status"] == "ok"


async def test_sockets_without_a_session_id_do_not_replace_each_other(client: Client) -> None:
    kernel_id = await client.start()
    url = f"ws{client.url[4:]}/api/kernels/{kernel_id}/channels"
    async with websockets.connect(url, proxy=None) as one, websockets.connect(url, proxy=None) as two:
        for connection in (one, two):
            assert text_of(await Socket(connection, "any").run("stream('alive')")) == "alive"


async def test_v1_is_chosen_among_offers(client: Client) -> None:
    kernel_id = await client.start()
    url = f"ws{client.url[4:]}/api/kernels/{kernel_id}/channels"
    async with websockets.connect(url, subprotocols=[Subprotocol("other"), Subprotocol(V1)], proxy=None) as connection:
        assert connection.subprotocol == V1
        assert text_of(await Socket(connection, "any").run("stream('alive')")) == "alive"


async def test_unknown_offers_get_the_default_protocol(client: Client) -> None:
    kernel_id = await client.start()
    url = f"ws{client.url[4:]}/api/kernels/{kernel_id}/channels"
    async with websockets.connect(url, subprotocols=[Subprotocol("other")], proxy=None) as connection:
        assert connection.subprotocol is None
        assert text_of(await Socket(connection, "any").run("stream('alive')")) == "alive"


async def refused(client: Client, kernel_id: str, **connect: Any) -> tuple[int, Json]:
    """The status and the JSON with which an upgrade is refused."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        await client.connect(kernel_id, **connect)
    response = caught.value.response
    assert response.headers["content-type"] == "application/json"
    return response.status_code, json.loads(response.body)


@both
@pytest.mark.parametrize("kernel_id", ["nobody", "12345678-1234-5678-1234-567812345678", "%00", "%2e%2e"])
async def test_an_unknown_kernel_is_refused_before_the_upgrade(client: Client, v1: bool, kernel_id: str) -> None:
    status, error = await refused(client, kernel_id, v1=v1)
    assert status == 404
    assert error["message"].startswith("Kernel does not exist: ")
    assert error["reason"] == "Not Found"


async def test_a_session_id_that_is_too_long_is_refused(client: Client) -> None:
    status, error = await refused(client, await client.start(), session="x" * 1000)
    assert status == 400
    assert "session_id" in error["message"]


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://{host}.evil.example",
        "http://evil.example/{host}",
        "http://evil@{host}",
        "null",
        "",
        "http://",
        "http://[",
        "http://[::1",
        "http://[v1.]",
    ],
)
async def test_a_foreign_origin_is_refused_before_the_upgrade(client: Client, origin: str) -> None:
    kernel_id = await client.start()
    status, error = await refused(client, kernel_id, additional_headers={"Origin": origin.format(host=client.url[7:])})
    assert status == 403
    assert error["reason"] == "Forbidden"
    assert (await client.kernel(kernel_id))["connections"] == 0


async def test_a_foreign_origin_learns_nothing_about_kernels(client: Client) -> None:
    assert (await refused(client, "nobody", origin="http://evil.example"))[0] == 403


async def test_the_own_origin_may_connect(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, origin=client.url) as socket:
        assert text_of(await socket.run("stream('alive')")) == "alive"


async def test_an_allowed_origin_may_connect(strict_client: Client) -> None:
    kernel_id = await strict_client.start()
    async with await strict_client.connect(kernel_id, origin=ALLOWED_ORIGIN) as socket:
        assert text_of(await socket.run("stream('alive')")) == "alive"


@pytest.mark.parametrize("origin", ["http://good", "http://good.example.evil", "https://good.example", "good.example"])
async def test_an_origin_that_only_resembles_an_allowed_one_is_refused(strict_client: Client, origin: str) -> None:
    assert (await refused(strict_client, await strict_client.start(), origin=origin))[0] == 403


# --- restart, death, interrupt --------------------------------------------------------------------


@both
async def test_sockets_stay_over_a_restart(server: Server, client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as first, await client.connect(kernel_id, v1=v1) as second:
        await first.run("x = 1")
        response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
        assert (response.status_code, response.json()["id"]) == (200, kernel_id)
        assert response.json()["connections"] == 2
        answers = await first.run("stream(str('x' in globals()))")
        assert text_of(answers) == "False"
        assert reply_of(await second.run("pass"))["content"]["execution_count"] == 2


@both
async def test_a_request_in_flight_is_aborted_by_a_restart(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        running = await begin(socket, SLEEP)
        waiting = await socket.execute("pass")
        restart = asyncio.create_task(client.http.post(f"/api/kernels/{kernel_id}/restart"))
        answers = await socket.all_answers(running, waiting)
        for msg_id in (running, waiting):
            assert reply_of(answers[msg_id])["content"]["status"] == "aborted"
            assert is_status(answers[msg_id][-1], "idle")
        assert (await restart).status_code == 200
        assert text_of(await socket.run("stream('alive')")) == "alive"


@both
async def test_a_restart_is_no_death_to_clients(client: Client, v1: bool) -> None:
    """JupyterLab answers `restarting` by opening a new socket and telling the user that the kernel died."""
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        await client.http.post(f"/api/kernels/{kernel_id}/restart")
        await socket.run("pass")
    states = {m["content"]["execution_state"] for m in of_type(socket.received, "status")}
    assert states <= {"starting", "idle", "busy"}


@both
async def test_after_a_restart_clients_learn_that_the_kernel_is_idle(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        msg_id = await begin(socket, SLEEP)
        restart = asyncio.create_task(client.http.post(f"/api/kernels/{kernel_id}/restart"))
        await socket.answers(msg_id)
        status = await socket.until_status("idle")
        assert status["parent_header"] == {}
        await restart


@both
async def test_a_killed_kernel_answers_what_it_owes_and_restarts(server: Server, client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as first, await client.connect(kernel_id, v1=v1) as second:
        msg_id = await begin(first, SLEEP)
        kernel_session = first.received[-1]["header"]["session"]
        server.process_of(kernel_id).kill()

        before = await first.until(lambda m: is_status(m, "restarting"))
        error, reply, idle = [m for m in before if m["parent_header"].get("msg_id") == msg_id]
        assert (error["channel"], error["msg_type"]) == ("iopub", "error")  # what a front end shows in the cell
        assert error["content"]["ename"] == "DeadKernelError"
        assert (reply["channel"], reply["msg_type"]) == ("shell", "execute_reply")
        assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "DeadKernelError")
        assert "SIGKILL" in reply["content"]["evalue"]
        assert is_status(idle, "idle")

        restarting = [before[-1], await second.until_status("restarting")]
        for message in restarting:
            assert message["parent_header"] == {}
            assert message["header"]["session"] != kernel_session
        for socket in (first, second):
            await socket.until_status("idle")
            assert text_of(await socket.run("stream('alive')")) == "alive"
    assert (await client.kernel(kernel_id))["id"] == kernel_id


async def test_a_kernel_that_exits_by_itself_is_restarted(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        await socket.execute("import os; os._exit(0)")
        await socket.until_status("restarting")
        assert text_of(await socket.run("stream('alive')")) == "alive"


@both
async def test_a_kernel_that_stays_dead_says_so_with_the_reason(
    strict: Server, strict_client: Client, v1: bool
) -> None:
    kernel_id = await strict_client.start()
    async with await strict_client.connect(kernel_id, v1=v1) as socket:
        await socket.run("pass")
        kernel_session = socket.received[-1]["header"]["session"]
        strict.process_of(kernel_id).kill()
        dead = await socket.until_status("dead")
    assert "SIGKILL" in dead["content"]["reason"]
    assert dead["parent_header"] == {}
    assert dead["header"]["session"] != kernel_session


@both
async def test_a_dead_kernel_answers_with_an_error_until_it_is_restarted(
    strict: Server, strict_client: Client, v1: bool
) -> None:
    kernel_id = await strict_client.start()
    async with await strict_client.connect(kernel_id, v1=v1) as socket:
        strict.process_of(kernel_id).kill()
        await socket.until_status("dead")
        reply = reply_of(await socket.run("pass"))
        assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "DeadKernelError")
        assert (await strict_client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
        assert text_of(await socket.run("stream('alive')")) == "alive"


@both
async def test_deleting_a_kernel_says_dead_and_closes(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as first, await client.connect(kernel_id, v1=v1) as second:
        await first.receive()
        await second.receive()
        assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
        for socket in (first, second):
            assert (await socket.closed())[0] == 1000
            assert is_status(socket.received[-1], "dead")


@both
async def test_a_request_in_flight_is_answered_when_the_kernel_is_deleted(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        msg_id = await begin(socket, SLEEP)
        delete = asyncio.create_task(client.http.delete(f"/api/kernels/{kernel_id}"))
        assert reply_of(await socket.answers(msg_id))["content"]["status"] == "error"
        assert (await delete).status_code == 204


async def test_no_socket_is_left_open_by_a_kernel_that_goes(client: Client) -> None:
    async def connect(kernel_id: str) -> int:
        try:
            async with await client.connect(kernel_id) as socket:
                return (await socket.closed(10))[0]
        except websockets.InvalidStatus as exc:
            return exc.response.status_code

    for _ in range(3):
        kernel_id = await client.start()
        delete = asyncio.create_task(client.http.delete(f"/api/kernels/{kernel_id}"))
        codes = set()
        while not delete.done():
            codes |= set(await asyncio.gather(*(connect(kernel_id) for _ in range(5))))
        assert (await delete).status_code == 204
        assert codes <= {404, 1000}


@pytest.mark.parametrize(
    ("kernel", "code"),
    [
        ("tiny_plain", SLEEP),
        ("tiny_plain", LOOP),
        ("tiny_message_interrupt", LOOP),
        ("python3", "import time; print('on', flush=True)\nwhile True: time.sleep(0.05)"),
        ("python3", "print('on', flush=True)\nwhile True: pass"),
    ],
)
async def test_a_running_cell_is_interrupted(client: Client, kernel: str, code: str) -> None:
    kernel_id = await client.start(kernel)
    async with await client.connect(kernel_id) as socket:
        msg_id = await begin(socket, code)
        assert (await client.http.post(f"/api/kernels/{kernel_id}/interrupt")).status_code == 204
        assert reply_of(await socket.answers(msg_id))["content"]["ename"] in ("KeyboardInterrupt", "Interrupted")
        assert reply_of(await socket.run("pass"))["content"]["status"] == "ok"


# --- messages of the server's own -----------------------------------------------------------------


@both
async def test_messages_of_the_server_carry_the_session_of_the_kernel(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        status = await socket.receive()
        [_, own] = of_type(await socket.run("pass"), "status")
    assert status["header"]["session"] == own["header"]["session"]


@both
async def test_messages_of_the_server_are_complete(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        status = await socket.receive()
    head = status["header"]
    assert {"msg_id", "msg_type", "username", "session", "date", "version"} <= head.keys()
    assert all(isinstance(value, str) for value in head.values())
    assert (status["metadata"], status["buffers"]) == ({}, [])


@both
async def test_the_aborted_reply_carries_the_session_of_the_kernel(client: Client, v1: bool) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as socket:
        msg_id = await begin(socket, SLEEP)
        kernel_session = socket.received[-1]["header"]["session"]
        restart = asyncio.create_task(client.http.post(f"/api/kernels/{kernel_id}/restart"))
        answers = await socket.answers(msg_id)
        await restart
    assert {message["header"]["session"] for message in answers} == {kernel_session}


# --- filters --------------------------------------------------------------------------------------


@both
async def test_a_request_that_is_not_allowed_is_answered_with_an_error(strict_client: Client, v1: bool) -> None:
    kernel_id = await strict_client.start()
    async with await strict_client.connect(kernel_id, v1=v1) as socket:
        msg_id = await socket.send("complete_request", {"code": "x", "cursor_pos": 1})
        reply = reply_of(await socket.answers(msg_id))
        assert reply["msg_type"] == "complete_reply"
        assert reply["content"]["status"] == "error"
        assert "complete_request" in reply["content"]["evalue"]
        assert text_of(await socket.run("stream('alive')")) == "alive"


@both
async def test_a_message_that_is_not_allowed_does_not_reach_the_kernel(strict_client: Client, v1: bool) -> None:
    kernel_id = await strict_client.start()
    async with await strict_client.connect(kernel_id, v1=v1) as socket:
        await socket.send("comm_msg", {"comm_id": "c", "data": {}})
        await socket.run("pass")
        await mark(socket)
    assert of_type(socket.received, "comm_msg") == []


# --- malformed frames -----------------------------------------------------------------------------


def v1_frame(channel: bytes = b"shell", head: bytes | None = None, *, offsets: Any = None, count: Any = None) -> bytes:
    """A v1 frame, whole but for what is given."""
    head = json.dumps(header("execute_request", "s")).encode() if head is None else head
    parts = [channel, head, b"{}", b"{}", b'{"code": "stream(\'seen\')", "silent": false}']
    real = [56]
    for part in parts:
        real.append(real[-1] + len(part))
    real = offsets(real) if offsets else real
    return struct.pack("<7Q", 6 if count is None else count, *real) + b"".join(parts)


BAD_V1 = {
    "empty": b"",
    "short": b"\0" * 7,
    "no offsets": struct.pack("<Q", 0),
    "too few offsets": struct.pack("<6Q", 5, 48, 48, 48, 48, 48),
    "missing offsets": struct.pack("<3Q", 6, 56, 56),
    "forged count": v1_frame(count=2**64 - 1),
    "count of buffers that are not there": v1_frame(count=2**20),
    "descending": v1_frame(offsets=lambda real: [real[0], real[2], real[1], *real[3:]]),
    "outside": v1_frame(offsets=lambda real: [*real[:-1], real[-1] + 1]),
    "far outside": v1_frame(offsets=lambda real: [*real[:-2], 2**64 - 1, real[-1]]),
    "before the end": v1_frame(offsets=lambda real: [*real[:-1], real[-1] - 1]),
    "first inside the offsets": v1_frame(offsets=lambda real: [0, *real[1:]]),
    "unknown channel": v1_frame(b"sehll"),
    "empty channel": v1_frame(b""),
    "channel not ASCII": v1_frame("shéll".encode()),
    "heartbeat": v1_frame(b"hb"),
    "iopub": v1_frame(b"iopub"),
    "header not JSON": v1_frame(head=b"x"),
    "header empty": v1_frame(head=b""),
    "header not UTF-8": v1_frame(head=b'{"msg_id": "\xff", "msg_type": "execute_request"}'),
    "header no object": v1_frame(head=b'["msg_id", "msg_type"]'),
    "header nested": v1_frame(head=b"[" * 100_000),
    "no msg_id": v1_frame(head=b'{"msg_type": "execute_request"}'),
    "no msg_type": v1_frame(head=b'{"msg_id": "a"}'),
    "msg_id no string": v1_frame(head=b'{"msg_id": [1], "msg_type": "execute_request"}'),
    "session no string": v1_frame(head=b'{"msg_id": "a", "msg_type": "execute_request", "session": {}}'),
    "msg_type no string": v1_frame(head=b'{"msg_id": "a", "msg_type": []}'),
    "msg_type empty": v1_frame(head=b'{"msg_id": "a", "msg_type": ""}'),
    "msg_type null": v1_frame(head=b'{"msg_id": "a", "msg_type": null}'),
    "text": "text",
    "default protocol": json.dumps({"channel": "shell", "header": header("execute_request", "s"), "content": {}}),
}


def default_frame(**changes: Any) -> str:
    message = {"channel": "shell", "header": header("execute_request", "s"), "content": {"code": "stream('seen')"}}
    return json.dumps(message | changes)


BODY = default_frame().encode()
BAD_DEFAULT = {
    "empty": "",
    "not JSON": "x",
    "cut off": default_frame()[:-1],
    "two messages": default_frame() * 2,
    "list": "[]",
    "number": "1",
    "nested": "[" * 100_000,
    "no header": "{}",
    "header no object": default_frame(header=[]),
    "header text": default_frame(header="execute_request"),
    "no msg_id": default_frame(header={"msg_type": "execute_request"}),
    "no msg_type": default_frame(header={"msg_id": "a"}),
    "msg_id no string": default_frame(header={"msg_id": {}, "msg_type": "execute_request"}),
    "unknown channel": default_frame(channel="sehll"),
    "channel no string": default_frame(channel=["shell"]),
    "channel not ASCII": default_frame(channel="\ud800"),
    "iopub": default_frame(channel="iopub"),
    "content no object": default_frame(content=[1]),
    "content text": default_frame(content="{}"),
    "metadata no object": default_frame(metadata="x"),
    "parent_header no object": default_frame(parent_header=5),
    "binary empty": b"",
    "binary short": b"\0\0\0",
    "binary without offsets": struct.pack("!I", 0),
    "binary forged count": struct.pack("!II", 2**32 - 1, 8) + BODY,
    "binary first offset": struct.pack("!II", 1, 4) + BODY,
    "binary far outside": struct.pack("!III", 2, 12, 2**32 - 1) + BODY,
    "binary descending": struct.pack("!IIII", 3, 16, 16 + len(BODY), 20) + BODY,
    "binary no JSON": struct.pack("!II", 1, 8) + b"\xff\xfe\xfd",
    "v1 protocol": v1_frame(),
}

BAD_FRAMES = [pytest.param(True, frame, id=f"v1-{name}") for name, frame in BAD_V1.items()]
BAD_FRAMES += [pytest.param(False, frame, id=f"default-{name}") for name, frame in BAD_DEFAULT.items()]


@pytest.fixture(scope="module")
def tough_kernel(server: Server) -> Iterator[str]:
    """One kernel for all malformed frames and garbage: it must outlive them."""
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http:
        kernel_id = http.post("/api/kernels", json={"name": "tiny_plain"}).json()["id"]
        yield kernel_id
        http.delete(f"/api/kernels/{kernel_id}")


@pytest.mark.parametrize(("v1", "frame"), BAD_FRAMES)
async def test_a_malformed_frame_closes_its_socket_alone(
    server: Server, tough_kernel: str, v1: bool, frame: str | bytes
) -> None:
    async with (
        Client(server.url) as client,
        await client.connect(tough_kernel, v1=v1) as bad,
        await client.connect(tough_kernel, v1=v1) as good,
    ):
        await bad.ws.send(frame)
        code, reason = await bad.closed()
        assert code in (1003, 1007)
        assert reason
        assert text_of(await good.run("stream('alive')")) == "alive"
        assert text_of(good.received) == "alive"  # nothing of the frame was executed


async def test_a_whole_frame_is_not_malformed(client: Client) -> None:
    """What the frames above are made from works as long as nothing is changed in it."""
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as v1, await client.connect(kernel_id, v1=False) as default:
        await v1.ws.send(v1_frame())
        await v1.until(lambda m: m["msg_type"] == "stream" and m["content"]["text"] == "seen")
        await default.ws.send(struct.pack("!II", 1, 8) + BODY)
        await default.until(lambda m: m["msg_type"] == "stream" and m["content"]["text"] == "seen")


async def test_a_malformed_frame_is_logged(server: Server, client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, session="the-clumsy-one") as socket:
        await socket.ws.send(b"")
        await socket.closed()
    assert "the-clumsy-one" in server.log.read_text()


async def test_a_long_unknown_channel_does_not_fill_the_reason(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        await socket.ws.send(v1_frame(b"x" * 10_000))
        code, reason = await socket.closed()
    assert code == 1003
    assert len(reason.encode()) <= 123


# --- kernels that send garbage --------------------------------------------------------------------

SIGNED = """
import hashlib, hmac
def signed(head, parent=None, metadata=b"{}", content=b"{}", key=kernel.key):
    parent = json.dumps(request["header"]).encode() if parent is None else parent
    parts = [head, parent, metadata, content]
    signature = hmac.new(key, b"".join(parts), hashlib.sha256).hexdigest().encode()
    return [b"<IDS|MSG>", signature, *parts]
import json
head = json.dumps({"msg_id": "x", "msg_type": "garbage", "session": "s", "version": "5.4"}).encode()
stream_head = head.replace(b"garbage", b"stream")
status_head = head.replace(b"garbage", b"status")
evil = b'{"name": "stdout", "text": "evil"}'
"""

GARBAGE = {
    "one empty frame": "[b'']",
    "no delimiter": "[b'x'] * 7",
    "only the delimiter": "[b'<IDS|MSG>']",
    "too few frames": "[b'<IDS|MSG>', b'', b'{}', b'{}']",
    "no signature": "[b'<IDS|MSG>', b'', *signed(stream_head, content=evil)[2:]]",
    "wrong signature": "[b'<IDS|MSG>', b'0' * 64, *signed(stream_head, content=evil)[2:]]",
    "signed with another key": "signed(stream_head, content=evil, key=b'other')",
    "signature not ASCII": "[b'<IDS|MSG>', b'\\xff', *signed(stream_head, content=evil)[2:]]",
    "header not JSON": "signed(b'x')",
    "header empty": "signed(b'')",
    "header no object": "signed(b'[]')",
    "header not UTF-8": 'signed(b\'{"msg_type": "\\xff"}\')',
    "header cut off": 'signed(b\'{"msg_type": "stream"\')',
    "header cut off after its id": 'signed(b\'{"msg_type": "stream", "msg_id": "x"\')',
    "msg_type no string": 'signed(b\'{"msg_type": 1, "msg_id": 2, "session": 3}\')',
    "parent not JSON": "signed(head, b'parent')",
    "parent no object": "signed(head, b'[1, 2]')",
    "parent cut off": 'signed(head, b\'{"msg_id": "x"\')',
    "parent of wrong types": 'signed(head, b\'{"msg_id": 1, "session": {}, "msg_type": []}\')',
    "status not JSON": "signed(status_head, content=b'x')",
    "status no object": "signed(status_head, content=b'[]')",
    "status unknown": "signed(status_head, content=b'{\"execution_state\": [1]}')",
}


@both
@pytest.mark.parametrize("channel", ["iopub", "shell"])
@pytest.mark.parametrize("frames", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_from_a_kernel_does_no_harm(
    server: Server, tough_kernel: str, v1: bool, channel: str, frames: str
) -> None:
    async with (
        Client(server.url) as client,
        await client.connect(tough_kernel, v1=v1) as socket,
        await client.connect(tough_kernel) as other,
    ):
        answers = await socket.run(f"{SIGNED}\nstream('before')\nraw({channel!r}, {frames})\nstream('after')")
        assert text_of(answers) == "beforeafter"
        assert reply_of(answers)["content"]["status"] == "ok"
        assert text_of(await other.run("stream('alive')")) == "alive"
        assert text_of((await mark(other, socket))[1]) == "alive"  # and nothing forged


async def test_a_forged_message_is_logged(server: Server, client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        await socket.run(f"{SIGNED}\nraw('iopub', signed(stream_head, content=evil, key=b'other'))")
    assert f"kernel {kernel_id}: dropped a message on iopub" in server.log.read_text()


async def test_what_comes_with_garbage_is_not_lost(client: Client) -> None:
    """Messages that wait together are handled together: one bad one among them is dropped alone."""
    kernel_id = await client.start()
    code = f"{SIGNED}\nfor i in range(200):\n  stream(f'{{i}} ')\n  raw('iopub', {GARBAGE['header cut off']})"
    for v1 in (True, False):
        async with await client.connect(kernel_id, v1=v1) as socket:
            assert text_of(await socket.run(code)) == "".join(f"{i} " for i in range(200))


def test_the_frames_of_the_tests_are_whole() -> None:
    """The malformed frames differ from this one, which the client's own codec makes as well."""
    head = header("execute_request", "s")
    content = {"code": "stream('seen')", "silent": False}
    empty: Json = {"parent_header": {}, "metadata": {}, "buffers": []}
    message = {"channel": "shell", "header": head, "content": content, **empty}
    assert v1_frame(head=json.dumps(head).encode()) == pack_v1(message)
