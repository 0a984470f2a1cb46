"""A session_id and a msg_id are what clients choose: nobody gets by them what is somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ..support.client import Client, Socket
from ..support.messages import Json, header, is_answered, is_status, of_type, text_of
from ..support.servers import Launch, Server, options
from ..support.users import UserClient, server_of

EVERYTHING = {"kernels": ["read", "write", "execute"], "sessions": ["read", "write"]}
WAIT = "stream('on')\nimport os, time\nwhile not os.path.exists({path!r}): time.sleep(0.02)\nstream('off')"

both = pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two users who may do everything, and one who may watch."""
    people = {"ada": EVERYTHING, "bob": EVERYTHING, "watcher": {"kernels": ["read"]}}
    server = server_of(tmp_path_factory.mktemp("users"), people)
    yield server
    server.stop()


@pytest.fixture
async def ada(users: Server) -> AsyncIterator[UserClient]:
    async with UserClient(users.url, "ada") as client:
        yield client
        for model in await client.kernels():
            await client.http.delete(f"/api/kernels/{model['id']}")


@pytest.fixture
async def bob(users: Server) -> AsyncIterator[UserClient]:
    async with UserClient(users.url, "bob") as client:
        yield client


@pytest.fixture
async def watcher(users: Server) -> AsyncIterator[UserClient]:
    async with UserClient(users.url, "watcher") as client:
        yield client


async def begin(socket: Socket, code: str, msg_id: str | None = None, **content: object) -> Json:
    """Execute, and return the request's header once the cell has written something."""
    head = header("execute_request", socket.session)
    if msg_id is not None:
        head["msg_id"] = msg_id
    await socket.send_message(head, {"code": code, "silent": False, "store_history": True, **content})
    await socket.until(lambda m: m["msg_type"] == "stream" and m["parent_header"].get("msg_id") == head["msg_id"])
    return head


async def answers(socket: Socket, msg_id: str) -> list[Json]:
    """What answers a request from now on, up to its reply and its idle."""
    return await socket.answers(msg_id)


def statuses(messages: list[Json]) -> list[str]:
    return [message["content"]["execution_state"] for message in of_type(messages, "status")]


# --- session_id -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("stranger", ["bob", "watcher"])
async def test_another_user_with_the_same_session_id_takes_nothing(
    users: Server, ada: UserClient, stranger: str, v1: bool
) -> None:
    kernel_id = await ada.start()
    async with await ada.connect(kernel_id, v1=v1) as socket:
        head = await begin(socket, "stream('on')\nstream(reply_input('name?'))", allow_stdin=True)
        await socket.until(lambda m: m["msg_type"] == "input_request")
        async with (
            UserClient(users.url, stranger) as other,
            await other.connect(kernel_id, v1=v1, session=socket.session) as thief,
        ):
            await thief.until(lambda m: m["msg_type"] == "status")
            await socket.send("input_reply", {"value": "ada"}, channel="stdin")
            assert text_of(await answers(socket, head["msg_id"])) == "ada"
            heard = await thief.until(lambda m: is_status(m, "idle"))
            assert {message["channel"] for message in [*thief.received, *heard]} == {"iopub"}
            assert text_of(await socket.run("stream('still here')")) == "still here"


async def test_what_waits_for_a_session_is_not_given_to_another_user(
    tmp_path: Path, ada: UserClient, bob: UserClient
) -> None:
    kernel_id = await ada.start()
    end = tmp_path / "end"
    async with await bob.connect(kernel_id) as witness:
        socket = await ada.connect(kernel_id)
        head = await begin(socket, WAIT.format(path=str(end)))
        await socket.ws.close()
        await witness.until(lambda m: m["msg_type"] == "stream")
        async with await bob.connect(kernel_id, session=socket.session) as thief:
            end.touch()
            idle = await thief.until(lambda m: is_status(m, "idle") and bool(m["parent_header"]))
            assert {message["channel"] for message in idle} == {"iopub"}
        async with await ada.connect(kernel_id, session=socket.session) as again:
            got = await again.answers(head["msg_id"])
    assert text_of(got) == "off"


async def test_another_users_visit_does_not_cost_the_output_of_a_reloaded_page(
    tmp_path: Path, ada: UserClient, bob: UserClient
) -> None:
    """A page that is reloaded has a new session_id, and gets what was said meanwhile."""
    kernel_id = await ada.start()
    end = tmp_path / "end"
    socket = await ada.connect(kernel_id)
    await begin(socket, WAIT.format(path=str(end)))
    await socket.ws.close()
    await ada.until_kernel(kernel_id, lambda model: model["connections"] == 0)
    async with await bob.connect(kernel_id) as visitor:
        end.touch()
        await visitor.until(lambda m: is_status(m, "idle") and bool(m["parent_header"]))
    await ada.until_kernel(kernel_id, lambda model: model["connections"] == 0)
    async with await ada.connect(kernel_id) as reloaded:
        assert text_of(await reloaded.until(lambda m: is_status(m, "idle") and bool(m["parent_header"]))) == "off"


async def test_two_tabs_of_one_user_with_one_session_id_replace_each_other(ada: UserClient) -> None:
    kernel_id = await ada.start()
    first = await ada.connect(kernel_id)
    async with await ada.connect(kernel_id, session=first.session) as second:
        code, reason = await first.closed()
        assert (code, "replaced" in reason) == (1000, True)
        assert text_of(await second.run("stream('x')")) == "x"


# --- msg_id ---------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("channel", "msg_type"),
    [
        ("shell", "execute_request"),
        ("shell", "comm_msg"),
        ("control", "kernel_info_request"),
        ("control", "complete_request"),
        ("control", "comm_msg"),
    ],
)
async def test_a_request_with_the_msg_id_of_a_running_cell_steals_nothing(
    tmp_path: Path, client: Client, v1: bool, channel: str, msg_type: str
) -> None:
    """Nor does it end the cell for the client that runs it: busy and idle are found by msg_id, too."""
    kernel_id = await client.start()
    end = tmp_path / "end"
    async with await client.connect(kernel_id, v1=v1) as victim, await client.connect(kernel_id, v1=v1) as thief:
        head = await begin(victim, WAIT.format(path=str(end)))
        forged = head | {"msg_type": msg_type}
        content = {"code": "stream('mine')", "silent": False, "cursor_pos": 0, "comm_id": "c", "data": {}}
        await thief.send_message(forged, content, channel=channel)
        if channel == "control":  # it is answered while the cell runs
            await thief.until(lambda m: is_status(m, "idle") and m["parent_header"].get("msg_id") == head["msg_id"])
        end.touch()
        got = await answers(victim, head["msg_id"])
        assert text_of(got) == "off"
        assert statuses(got) == ["idle"]
        [reply] = [message for message in got if message["channel"] == "shell"]
        assert reply["msg_type"] == "execute_reply"
        assert reply["parent_header"] == head
        text = "mine" if msg_type == "execute_request" else ""  # which may come after the reply
        while msg_type != "comm_msg" and not (
            is_answered(mine(thief, head["msg_id"], msg_type)) and text in text_of(thief.received)
        ):
            await thief.receive()
        assert text_of(await victim.run("stream('next')")) == "next"


def mine(socket: Socket, msg_id: str, msg_type: str) -> list[Json]:
    return [
        message
        for message in socket.received
        if message["parent_header"].get("msg_id") == msg_id and message["parent_header"]["msg_type"] == msg_type
    ]


@both
async def test_clients_that_choose_the_same_ids_at_the_same_time_each_get_their_own(
    tmp_path: Path, client: Client, v1: bool
) -> None:
    """As scripts do that number their requests from one."""
    kernel_id = await client.start()
    end = tmp_path / "end"
    async with await client.connect(kernel_id, v1=v1) as first:
        await begin(first, WAIT.format(path=str(end)))
        sockets = [await client.connect(kernel_id, v1=v1) for _ in range(4)]
        for number, socket in enumerate(sockets):
            for count in range(3):
                head = header("execute_request", "the same") | {"msg_id": str(count)}
                await socket.send_message(head, {"code": f"stream('{number}.{count}')", "silent": False})
            # What comes after the requests is answered, so the server has taken them before the kernel runs any.
            await socket.answers(await socket.send("kernel_info_request", {}, channel="control"))
        end.touch()
        for number, socket in enumerate(sockets):
            got = await socket.all_answers("0", "1", "2")
            for count in range(3):
                assert text_of(got[str(count)]) == f"{number}.{count}"
                assert statuses(got[str(count)]) == ["busy", "idle"]
                assert len([one for one in got[str(count)] if one["channel"] == "shell"]) == 1
        await asyncio.gather(*(socket.ws.close() for socket in sockets))


async def test_a_client_may_use_a_msg_id_again_that_was_taken_once(tmp_path: Path, client: Client) -> None:
    kernel_id = await client.start()
    end = tmp_path / "end"
    async with await client.connect(kernel_id) as first, await client.connect(kernel_id) as second:
        await begin(first, WAIT.format(path=str(end)), "1")
        await second.until(lambda m: m["msg_type"] == "stream")
        head = header("execute_request", second.session) | {"msg_id": "1"}
        await second.send_message(head, {"code": "stream('a')", "silent": False})
        end.touch()
        await answers(first, "1")
        assert text_of(await second.answers("1")) == "a"
        for number in range(110):  # until the first one's request is forgotten
            await first.run(f"stream('{number}')")
        await second.until(lambda m: m["msg_type"] == "stream" and m["content"]["text"] == "109")
        await second.until_status("idle")
        await second.send_message(head, {"code": "stream('b')", "silent": False})
        assert text_of(await second.answers("1")) == "b"


async def test_an_input_request_goes_to_whose_cell_it_is(tmp_path: Path, client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as victim, await client.connect(kernel_id) as thief:
        end = tmp_path / "end"
        code = WAIT.format(path=str(end)) + "\nstream(reply_input('secret?'), 'stderr')"
        head = await begin(victim, code, allow_stdin=True)
        await thief.send_message(head, {"code": "stream(reply_input('whose?'))", "silent": False, "allow_stdin": True})
        await thief.send_message(head | {"msg_type": "kernel_info_request"}, {}, channel="control")
        await thief.until(
            lambda m: is_status(m, "idle") and m["parent_header"].get("msg_type") == "kernel_info_request"
        )
        end.touch()
        asked = (await victim.until(lambda m: m["msg_type"] == "input_request"))[-1]
        assert asked["content"]["prompt"] == "secret?"
        await victim.send("input_reply", {"value": "yes"}, channel="stdin", parent=asked["header"])
        assert text_of(await answers(victim, head["msg_id"]), "stderr") == "yes"
        asked = (await thief.until(lambda m: m["msg_type"] == "input_request"))[-1]
        assert asked["content"]["prompt"] == "whose?"
        assert asked["parent_header"]["msg_id"] == head["msg_id"]
        await thief.send("input_reply", {"value": "mine"}, channel="stdin", parent=asked["header"])
        await thief.until(lambda m: m["msg_type"] == "stream" and m["content"]["text"] == "mine")


@both
@pytest.mark.parametrize("msg_type", ["input_reply", "execute_reply", "kernel_info_request"])
async def test_nobody_answers_what_somebody_else_was_asked(client: Client, v1: bool, msg_type: str) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, v1=v1) as victim, await client.connect(kernel_id, v1=v1) as thief:
        early = header(msg_type, thief.session)
        await thief.send_message(early, {"value": "too early"}, channel="stdin")
        head = await begin(victim, "stream('on')\nstream(reply_input('name?'))", allow_stdin=True)
        asked = (await victim.until(lambda m: m["msg_type"] == "input_request"))[-1]
        await thief.send_message(early, {"value": "forged"}, channel="stdin", parent=asked["header"])
        await thief.send_message(early | {"session": victim.session}, {"value": "forged"}, channel="stdin")
        # What it sends next is answered, so the server has seen the others.
        probe = await thief.send("kernel_info_request", {}, channel="control")
        await thief.answers(probe)
        await victim.send("input_reply", {"value": "ada"}, channel="stdin", parent=asked["header"])
        assert text_of(await answers(victim, head["msg_id"])) == "ada"


async def test_a_question_is_answered_once(client: Client) -> None:
    """Or the next cell would be given the second answer."""
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        head = await begin(socket, "stream('on')\nstream(reply_input('name?'))", allow_stdin=True)
        await socket.until(lambda m: m["msg_type"] == "input_request")
        for value in ("ada", "twice"):
            await socket.send("input_reply", {"value": value}, channel="stdin")
        assert text_of(await answers(socket, head["msg_id"])) == "ada"
        head = await begin(socket, "stream('on')\nstream(reply_input('again?'))", allow_stdin=True)
        await socket.until(lambda m: m["msg_type"] == "input_request")
        await socket.send("input_reply", {"value": "bob"}, channel="stdin")
        assert text_of(await answers(socket, head["msg_id"])) == "bob"


@both
async def test_the_servers_own_session_is_not_for_clients(launch: Launch, v1: bool) -> None:
    """What its requests cause nobody else hears: a cell could be run unseen."""
    server = launch(*options(restart_limit=1))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id, v1=v1) as socket:
            await socket.execute("import os; os._exit(1)")
            [*_, notice] = await socket.until(lambda m: is_status(m, "restarting"))
            own = notice["header"]["session"]
            await socket.until_status("idle")
            for spelling in ({"session": own}, {"session": "x", "more": own}):
                head = header("execute_request", "") | spelling
                await socket.send_message(head, {"code": "kept = 1", "silent": False})
                [*_, reply] = await socket.until(lambda m: m["msg_type"] == "execute_reply")
                assert reply["content"]["ename"] == "Forbidden"
                assert "session" in reply["content"]["evalue"]
            assert text_of(await socket.run("stream(str('kept' in globals()))")) == "False"


# --- how many -------------------------------------------------------------------------------------


async def test_a_kernel_has_room_for_so_many_clients(launch: Launch) -> None:
    server = launch(*options(max_clients_per_kernel=2))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        sockets = [await client.connect(kernel_id) for _ in range(2)]
        with pytest.raises(Exception, match="503"):
            await client.connect(kernel_id)
        response = await client.http.get(f"/api/kernels/{kernel_id}")
        assert response.json()["connections"] == 2
        again = await client.connect(kernel_id, session=sockets[0].session)  # it takes the other one's place
        assert (await sockets[0].closed())[0] == 1000
        assert text_of(await sockets[1].run("stream('x')")) == "x"
        await again.ws.close()
        await client.until_kernel(kernel_id, lambda model: model["connections"] == 1)
        async with await client.connect(kernel_id) as new:
            assert text_of(await new.run("stream('y')")) == "y"
        await sockets[1].ws.close()


async def test_a_named_user_leaves_room_for_others(tmp_path: Path) -> None:
    people = {"ada": EVERYTHING, "bob": EVERYTHING}
    server = server_of(tmp_path, people, *options(max_clients_per_kernel=4))
    try:
        async with UserClient(server.url, "ada") as ada, UserClient(server.url, "bob") as bob:
            kernel_id = await ada.start()
            crowd = [await bob.connect(kernel_id) for _ in range(2)]
            with pytest.raises(Exception, match="503"):
                await bob.connect(kernel_id)
            async with await ada.connect(kernel_id) as socket:
                assert text_of(await socket.run("stream('x')")) == "x"
            await asyncio.gather(*(one.ws.close() for one in crowd))
    finally:
        server.stop()
