"""What counts as activity of a kernel: work for somebody, and not what open tabs ask by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from ..support.client import Client, Socket
from ..support.messages import Json, of_type
from ..support.servers import Launch, Server, options

UNTRACKED: list[tuple[str, str, Json]] = [
    ("kernel_info_request", "shell", {}),
    ("kernel_info_request", "control", {}),
    ("comm_info_request", "shell", {}),
    ("complete_request", "shell", {"code": "", "cursor_pos": 0}),
    ("inspect_request", "shell", {"code": "", "cursor_pos": 0, "detail_level": 0}),
    ("is_complete_request", "shell", {"code": ""}),
    ("history_request", "shell", {"hist_access_type": "tail", "n": 1, "output": False, "raw": True}),
    ("interrupt_request", "control", {}),
    ("debug_request", "control", {"type": "request", "command": "debugInfo", "seq": 1}),
    ("list_subshell_request", "control", {}),
]


async def shown(client: Client, kernel_id: str) -> list[Any]:
    """All that REST says of a kernel's activity."""
    kernel = await client.kernel(kernel_id)
    session = next(one for one in (await client.http.get("/api/sessions")).json() if one["kernel"]["id"] == kernel_id)
    status = (await client.http.get("/api/status")).json()
    return [
        kernel["last_activity"],
        session["kernel"]["last_activity"],
        status["last_activity"],
        kernel["execution_state"],
        session["kernel"]["execution_state"],
    ]


async def start(client: Client) -> str:
    return str((await client.start_session())["kernel"]["id"])


async def ask(socket: Socket, msg_type: str, channel: str, content: Json) -> None:
    """Ask, and wait for the reply and for idle."""
    await socket.answers(await socket.send(msg_type, content, channel=channel))


@pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])
async def test_what_a_tab_asks_by_itself_is_no_activity(client: Client, v1: bool) -> None:
    kernel_id = await start(client)
    async with await client.connect(kernel_id, v1=v1) as socket:
        await socket.run("stream('x')")
        before = await shown(client, kernel_id)
        assert before[0] == before[1] == before[2]
        for msg_type, channel, content in UNTRACKED:
            await ask(socket, msg_type, channel, content)
            assert await shown(client, kernel_id) == before, msg_type


async def test_a_question_does_not_make_the_kernel_busy_in_rest(client: Client) -> None:
    """Clients on WebSockets hear the status all the same."""
    kernel_id = await start(client)
    async with await client.connect(kernel_id) as socket:
        await socket.run("def wait():\n    import os, time\n    while not os.path.exists('go'): time.sleep(0.02)")
        await socket.run("handle = kernel.info\nkernel.info = lambda: (wait(), handle())[1]")
        before = await shown(client, kernel_id)
        await socket.send("kernel_info_request", {})
        await socket.until_status("busy")
        assert await shown(client, kernel_id) == before
        await client.http.post(f"/api/kernels/{kernel_id}/restart")


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [("execute_request", {"code": "", "silent": True}), ("comm_msg", {"comm_id": "c", "data": {}}), ("x_request", {})],
)
async def test_what_a_user_does_is_activity(client: Client, msg_type: str, content: Json) -> None:
    kernel_id = await start(client)
    async with await client.connect(kernel_id) as socket:
        before = await shown(client, kernel_id)
        await socket.send(msg_type, content)
        await socket.until_status("busy")
        await socket.until_status("idle")
        after = await shown(client, kernel_id)
        assert after[0] == after[1] == after[2] > before[0]


@pytest.mark.parametrize(
    "output",
    [
        "stream('x')",
        "publish('display_data', {'data': {}, 'metadata': {}})",
        "publish('update_display_data', {'data': {}, 'metadata': {}, 'transient': {}})",
        "publish('clear_output', {'wait': False})",
        "publish('comm_msg', {'comm_id': 'c', 'data': {}})",
        "publish('error', {'ename': 'E', 'evalue': '', 'traceback': []})",
    ],
)
async def test_output_of_a_cell_that_runs_is_activity(client: Client, output: str) -> None:
    kernel_id = await start(client)
    async with await client.connect(kernel_id) as socket:
        await socket.execute(f"import time\nwhile True:\n    {output}\n    time.sleep(0.01)")
        await socket.until_status("busy")
        last = ""
        for _ in range(3):
            model = await client.until_kernel(kernel_id, lambda model, last=last: model["last_activity"] > last)
            last = model["last_activity"]
        await client.http.post(f"/api/kernels/{kernel_id}/interrupt")
        await socket.until_status("idle")


async def test_late_output_is_activity(client: Client) -> None:
    """Of a thread, or a task, whose cell has ended."""
    kernel_id = await start(client)
    async with await client.connect(kernel_id) as socket:
        code = "import threading\ngo, parent = threading.Event(), request['header']\n"
        code += "def late():\n    go.wait(); publish('stream', {'name': 'stdout', 'text': 'late'}, parent=parent)\n"
        await socket.run(f"{code}threading.Thread(target=late).start()")
        before = await shown(client, kernel_id)
        await ask(socket, "kernel_info_request", "shell", {})
        assert await shown(client, kernel_id) == before
        await socket.run("go.set()")
        while not of_type(socket.received, "stream"):
            await socket.receive()
        assert (await shown(client, kernel_id))[0] > before[0]


async def test_a_cell_that_asks_for_input_is_busy_not_idle(client: Client) -> None:
    kernel_id = await start(client)
    async with await client.connect(kernel_id) as socket:
        await socket.execute("reply_input('?')", allow_stdin=True)
        await socket.until(lambda m: m["msg_type"] == "input_request")
        assert (await client.kernel(kernel_id))["execution_state"] == "busy"
        await socket.send("input_reply", {"value": "", "status": "ok"}, channel="stdin")
        await socket.until_status("idle")


async def test_untracked_message_types_is_an_option(launch: Launch) -> None:
    server = launch(*options(untracked_message_types=["execute_request", "execute_input", "status", "stream"]))
    async with Client(server.url) as client:
        kernel_id = await start(client)
        async with await client.connect(kernel_id) as socket:
            before = await shown(client, kernel_id)
            await socket.run("stream('x')")
            assert await shown(client, kernel_id) == before
            await ask(socket, "kernel_info_request", "shell", {})
            assert (await shown(client, kernel_id))[0] > before[0]


# --- culling --------------------------------------------------------------------------------------

SOON = {"cull_idle_timeout_s": 2, "cull_interval_s": 0.2, "cull_connected": True, "cull_busy": True}


@pytest.fixture(scope="module")
def culling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(Path(tmp_path_factory.mktemp("culling")), *options(**SOON))
    server.wait_ready()
    yield server
    server.stop()


@pytest.mark.parametrize(("msg_type", "channel", "content"), [UNTRACKED[0], UNTRACKED[2], UNTRACKED[3]])
async def test_a_tab_that_asks_keeps_no_kernel(culling: Server, msg_type: str, channel: str, content: Json) -> None:
    async with Client(culling.url) as client:
        kernel_id = await client.start()
        socket = await client.connect(kernel_id)
        code = None
        while code is None:
            try:
                await ask(socket, msg_type, channel, content)
            except websockets.ConnectionClosed as exc:
                code = exc.rcvd.code if exc.rcvd else 0
        assert code == 1000
        assert kernel_id not in [model["id"] for model in await client.kernels()]


async def test_a_cell_that_prints_keeps_its_kernel(culling: Server) -> None:
    """Another kernel, started later, is culled: so its turn has come and gone."""
    async with Client(culling.url) as client:
        printing = await client.start()
        async with await client.connect(printing) as socket:
            await socket.execute("import time\nwhile True: stream('x'); time.sleep(0.05)")
            await socket.until_status("busy")
            idle = await client.start()
            while idle in [model["id"] for model in await client.kernels()]:
                await socket.receive()
            assert printing in [model["id"] for model in await client.kernels()]
        await client.http.delete(f"/api/kernels/{printing}")
