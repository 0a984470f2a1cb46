"""What somebody has set of Jupyter Server's own, and what stays its own: it counts for kernels that are ours, too."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import websockets

from ..support.client import Client, tidy_client
from ..support.kernelspecs import KERNEL, add_kernelspec
from ..support.messages import Json, header, is_status, of_type, pack_v1, text_of
from ..support.stock import BeginStock, StockServer, since
from ..support.waits import until

MIB = 1024 * 1024
WITHOUT = {"display_name": "x", "language": "python"}


@pytest.fixture(scope="module")
def tuned(begin_shared: BeginStock) -> Iterator[StockServer]:
    """A server with options that change what is usual."""
    with tempfile.TemporaryDirectory() as runtime:  # the paths of sockets must be short
        server = begin_shared(
            "--KernelManager.transport=ipc",
            "--KernelManager.autorestart=False",
            "--MappingKernelManager.allow_tracebacks=False",
            "--MappingKernelManager.traceback_replacement_message=Ask the author.",
            "--MappingKernelManager.buffer_offline_messages=False",
            "--MappingKernelManager.kernel_info_timeout=1",
            "--ServerApp.iopub_msg_rate_limit=20",  # the deprecated name of it
            "--ZMQChannelsWebsocketConnection.kernel_ws_protocol=",
            "--ServerApp.tornado_settings="
            + repr({"websocket_max_message_size": MIB, "ws_ping_interval": 500, "ws_ping_timeout": 8000}),
            env={"JUPYTER_RUNTIME_DIR": runtime},
        )
        server.runtime = Path(runtime)
        yield server


@pytest.fixture
async def tuned_client(tuned: StockServer) -> AsyncIterator[Client]:
    async with tidy_client(tuned) as client:
        yield client


THEIRS = """
from jupyter_client.provisioning import LocalProvisioner
from jupyter_server.auth.authorizer import AllowAllAuthorizer


class Provisioner(LocalProvisioner):
    async def pre_launch(self, **options):
        options = await super().pre_launch(**options)
        options["env"] = {**options["env"], "THEIRS": self.kernel_id}
        return options


class Authorizer(AllowAllAuthorizer):
    def is_authorized(self, handler, user, action, resource):
        watches = handler.get_argument("session_id", "") == "a-watcher"
        return not (watches and (action, resource) == ("execute", "kernels"))
"""
CONFIGURATION = """
import sys
sys.path.insert(0, {folder!r})
from theirs import Authorizer
c.ServerApp.authorizer_class = Authorizer
"""


@pytest.fixture(scope="module")
def strange(begin_shared: BeginStock, tmp_path_factory: pytest.TempPathFactory) -> StockServer:
    """A server with classes of its user, and with kernels that are listed before they run."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "theirs.py").write_text(THEIRS)
    (folder / "theirs-1.dist-info").mkdir()
    (folder / "theirs-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (folder / "theirs-1.dist-info" / "entry_points.txt").write_text(
        "[jupyter_client.kernel_provisioners]\ntheirs = theirs:Provisioner\n"
    )
    (folder / "jupyter_server_config.py").write_text(dedent(CONFIGURATION).format(folder=str(folder)))
    server = begin_shared(
        "--AsyncMappingKernelManager.use_pending_kernels=True",
        "--KernelManager.cache_ports=False",
        "--KernelManager.ip=127.0.0.1",
        "--MappingKernelManager.cull_idle_timeout=3600",
        "--MappingKernelManager.cull_interval=1",
        "--MappingKernelManager.transport_encryption=auto",
        env={"JUPYTER_CONFIG_DIR": str(folder)},
    )
    argv = {"argv": ["python", str(KERNEL), "plain", "{connection_file}"], **WITHOUT}
    add_kernelspec(
        server.share, "provisioned", {**argv, "metadata": {"kernel_provisioner": {"provisioner_name": "theirs"}}}
    )
    add_kernelspec(server.share, "short", {**argv, "metadata": {"cull_idle_timeout": 1}})
    return server


@pytest.fixture
async def strange_client(strange: StockServer) -> AsyncIterator[Client]:
    async with tidy_client(strange) as client:
        yield client


def connection_file(server: StockServer, kernel_id: str) -> Json:
    return json.loads((server.runtime / f"kernel-{kernel_id}.json").read_text())


async def idle(client: Client, kernel_id: str) -> Json:
    return await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")


# --- the kernel's process -------------------------------------------------------------------------


async def test_kernels_on_ipc_sockets(tuned: StockServer, tuned_client: Client) -> None:
    kernel_id = await tuned_client.start()
    assert await tuned_client.evaluate(kernel_id, "'first'") == "first"
    assert connection_file(tuned, kernel_id)["transport"] == "ipc"
    assert (await tuned_client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
    assert await tuned_client.evaluate(kernel_id, "'second'") == "second"
    assert (await tuned_client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
    assert not [path for path in tuned.runtime.iterdir() if kernel_id in path.name]


async def test_no_autorestart(tuned: StockServer, tuned_client: Client) -> None:
    kernel_id = await tuned_client.start()
    async with await tuned_client.connect(kernel_id) as socket:
        await idle(tuned_client, kernel_id)
        tuned.process_of(kernel_id).send_signal(signal.SIGKILL)
        await socket.until_status("dead")
        assert not [message for message in socket.received if is_status(message, "restarting")]
    assert "SIGKILL" in (await tuned_client.kernel(kernel_id))["reason"]


async def test_a_kernel_is_restarted_five_times_by_default(server: StockServer, client: Client) -> None:
    kernel_id = await client.start()
    launches = lambda: server.log.read_text().count(f"{kernel_id} (tiny_plain) launched, pid")  # noqa: E731
    for number in range(1, 7):
        await until(lambda number=number: launches() == number)  # type: ignore[misc]
        await idle(client, kernel_id)
        server.process_of(kernel_id).kill()
    model = await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "dead", timeout_s=100)
    assert "SIGKILL" in model["reason"]
    assert launches() == 6


async def test_a_kernel_that_does_not_answer_in_time_says_so(tuned_client: Client) -> None:
    kernel_id = await tuned_client.start("tiny_silent")
    model = await tuned_client.until_kernel(kernel_id, lambda model: "reason" in model)
    assert "1 s" in model["reason"]
    assert (await tuned_client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204


async def test_pending_kernels(strange_client: Client) -> None:
    model = (await strange_client.http.post("/api/kernels", json={"name": "tiny_slow"})).json()
    assert model["execution_state"] == "starting"
    async with await strange_client.connect(model["id"]) as socket:
        assert text_of(await socket.run("stream('early')")) == "early"
    assert (await strange_client.http.post(f"/api/kernels/{model['id']}/restart")).status_code == 200
    assert await strange_client.evaluate(model["id"], "'later'") == "later"
    assert (await strange_client.http.delete(f"/api/kernels/{model['id']}")).status_code == 204
    await strange_client.until(lambda kernels: all(one["id"] != model["id"] for one in kernels))


async def test_a_pending_kernel_that_is_deleted_before_it_answers(strange: StockServer, strange_client: Client) -> None:
    model = (await strange_client.http.post("/api/kernels", json={"name": "tiny_silent"})).json()
    assert (await strange_client.http.delete(f"/api/kernels/{model['id']}")).status_code == 204
    await strange_client.until(lambda kernels: all(one["id"] != model["id"] for one in kernels))
    assert not [process for process in strange.kernel_processes() if model["id"] in " ".join(process.cmdline())]


@since("2.20")
@pytest.mark.parametrize(("name", "encrypted"), [("tiny_curve", True), ("tiny_plain", False)])
async def test_kernels_that_can_are_encrypted(
    strange: StockServer, strange_client: Client, name: str, encrypted: bool
) -> None:
    kernel_id = await strange_client.start(name)
    await idle(strange_client, kernel_id)
    before = connection_file(strange, kernel_id)
    assert ("curve_publickey" in before) is encrypted
    assert await strange_client.evaluate(kernel_id, "'heard'") == "heard"
    assert (await strange_client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
    assert await strange_client.evaluate(kernel_id, "'again'") == "again"
    assert connection_file(strange, kernel_id) == before


async def test_a_provisioner_of_somebody_elses(strange: StockServer, strange_client: Client) -> None:
    kernel_id = await strange_client.start("provisioned")
    assert await strange_client.evaluate(kernel_id, "os.environ['THEIRS']") == kernel_id
    strange.process_of(kernel_id).kill()
    await strange_client.until_kernel(kernel_id, lambda model: model["execution_state"] != "idle")
    await idle(strange_client, kernel_id)
    assert await strange_client.evaluate(kernel_id, "os.environ['THEIRS']") == kernel_id


async def test_a_kernelspec_has_its_own_time_to_be_idle(strange_client: Client) -> None:
    stays = await strange_client.start()
    await strange_client.start("short")
    await strange_client.until(lambda kernels: [model["name"] for model in kernels] == ["tiny_plain"])
    assert [model["id"] for model in await strange_client.kernels()] == [stays]


async def test_a_renamed_notebook_is_told_to_the_next_process(client: Client) -> None:
    session = await client.start_session("before.ipynb")
    kernel_id = session["kernel"]["id"]
    name = "os.environ['JPY_SESSION_NAME']"
    assert (await client.evaluate(kernel_id, name)).endswith("before.ipynb")
    names = {"path": "after.ipynb", "name": "after.ipynb"}
    response = await client.http.patch(f"/api/sessions/{session['id']}", json=names)
    assert response.status_code == 200
    await client.http.post(f"/api/kernels/{kernel_id}/restart")
    assert (await client.evaluate(kernel_id, name)).endswith("after.ipynb")


async def test_failures_are_events_too(client: Client) -> None:
    url = f"ws{client.url[4:]}/api/events/subscribe"
    async with websockets.connect(url, proxy=None) as events:

        async def until_action(kernel_id: str, action: str) -> Json:
            async with asyncio.timeout(60):
                while True:
                    event: Json = json.loads(await events.recv())
                    if (event.get("kernel_id"), event.get("action")) == (kernel_id, action):
                        return event

        kernel_id = await client.start()
        assert (await until_action(kernel_id, "start"))["status"] == "success"
        await client.http.post(f"/api/kernels/{kernel_id}/interrupt")
        assert (await until_action(kernel_id, "interrupt"))["status"] == "success"
        await client.http.post("/api/kernels", json={"name": "no_such_program"})
        async with asyncio.timeout(60):
            while (event := json.loads(await events.recv()))["status"] != "error":
                """Of another kernel."""
    assert (event["kernel_name"], event["action"]) == ("no_such_program", "start")
    assert "no-such-program" in event["msg"]


# --- the WebSocket --------------------------------------------------------------------------------


async def test_who_may_not_execute_gets_no_websocket(strange_client: Client) -> None:
    kernel_id = await strange_client.start()
    with pytest.raises(websockets.InvalidStatus) as refused:
        await strange_client.connect(kernel_id, session="a-watcher")
    assert refused.value.response.status_code == 403
    assert await strange_client.evaluate(kernel_id, "'others'") == "others"


async def test_the_default_protocol_can_be_chosen(tuned_client: Client) -> None:
    kernel_id = await tuned_client.start()
    async with await tuned_client.connect(kernel_id, v1=True) as socket:  # which is only an offer
        assert not socket.v1
        assert text_of(await socket.run("stream('json')")) == "json"


async def test_nothing_is_kept_for_who_is_away(tuned_client: Client) -> None:
    kernel_id = await tuned_client.start()
    code = "import time\nfor number in range(20): stream(f'<{number}>'); time.sleep(0.05)"
    async with await tuned_client.connect(kernel_id, session="mine") as socket:
        await idle(tuned_client, kernel_id)
        await socket.execute(code)
        await socket.until(lambda message: message["header"]["msg_type"] == "stream")
    await idle(tuned_client, kernel_id)
    async with await tuned_client.connect(kernel_id, session="mine") as socket:
        assert text_of(await socket.run("stream('new')")) == "new"
        assert "<10>" not in text_of(socket.received)


async def test_the_users_text_instead_of_a_traceback(tuned_client: Client) -> None:
    kernel_id = await tuned_client.start()
    async with await tuned_client.connect(kernel_id) as socket:
        answers = await socket.run("1/0")
    [error] = of_type(answers, "error")
    assert error["content"]["traceback"] == ["Ask the author."]
    assert "ZeroDivision" not in json.dumps(answers)


async def test_a_limit_in_its_old_place_counts(tuned_client: Client) -> None:
    kernel_id = await tuned_client.start()
    async with await tuned_client.connect(kernel_id) as socket:
        answers = await socket.run("[stream(f'{n},') for n in range(500)]")
    assert text_of(answers) == "".join(f"{n}," for n in range(500))
    assert len(of_type(answers, "stream")) < 500


async def test_a_bound_of_messages_that_somebody_sets_counts(tuned_client: Client) -> None:
    kernel_id = await tuned_client.start()
    async with await tuned_client.connect(kernel_id) as other:
        async with await tuned_client.connect(kernel_id) as socket:
            await socket.execute("x" * 2 * MIB)
            assert (await socket.closed())[0] in (1006, 1009)
        assert text_of(await other.run("stream('well')")) == "well"


async def test_pings_are_answered_in_both_directions(tuned_client: Client) -> None:
    kernel_id = await tuned_client.start()
    async with (
        await tuned_client.connect(kernel_id, ping_interval=None) as alive,
        await tuned_client.connect(kernel_id, ping_interval=None) as mute,
    ):
        await tuned_client.until_kernel(kernel_id, lambda model: model["connections"] == 2)
        mute.ws.transport.pause_reading()  # and so it answers no ping
        await tuned_client.until_kernel(kernel_id, lambda model: model["connections"] == 1)
        async with asyncio.timeout(60):
            await (await alive.ws.ping())
        assert text_of(await alive.run("stream('alive')")) == "alive"
        mute.ws.transport.abort()


async def test_64_mib_each_way(client: Client) -> None:
    kernel_id = await client.start()
    data = bytes(range(256)) * (64 * MIB // 256)
    async with await client.connect(kernel_id, compression=None) as socket:
        content = {"comm_id": "c", "data": {}}
        msg_id = await socket.send("comm_msg", content, buffers=[data])
        got = await socket.until(
            lambda m: m["header"]["msg_type"] == "comm_msg" and m["parent_header"]["msg_id"] == msg_id, timeout_s=100
        )
    assert bytes(got[-1]["buffers"][0]) == data[::-1]


@pytest.mark.parametrize("size", [1, 100_000])
async def test_a_message_in_fragments(client: Client, size: int) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id, compression=None) as socket:
        await idle(client, kernel_id)
        content = {"comm_id": "c", "data": {}}
        message = {
            "channel": "shell",
            "header": header("comm_msg", socket.session),
            "parent_header": {},
            "metadata": {},
            "content": content,
            "buffers": [bytes(3 * size)],
        }
        data = pack_v1(message)
        await socket.ws.send([data[begin : begin + size] for begin in range(0, len(data), size)])
        [*_, got] = await socket.until(lambda m: m["header"]["msg_type"] == "comm_msg")
    assert bytes(got["buffers"][0]) == bytes(3 * size)
