"""Widgets whose state is a shared document: one in a kernel, and its model in the server, follow each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.client import Client
from ..support.messages import text_of
from ..support.servers import NOT_NEEDED_BY_DOCUMENTS, Server, options
from ..support.waits import until

MODULE = '''
"""The same widget in the kernel and in the server; the server's answers what the kernel's writes."""
import asyncio
from pycrdt import Text
from ypywidgets import Widget
from ypywidgets.comm import CommWidget


class Echo(CommWidget):
    def __init__(self):
        super().__init__()
        self.ydoc["value"] = self.value = Text()


class EchoModel(Widget):
    def __init__(self):
        super().__init__()
        self.ydoc["value"] = self.value = Text()
        self.value.observe(lambda event: asyncio.get_running_loop().call_soon(self.answer))

    def answer(self):
        if str(self.value) == "ping":
            self.value += "-pong"
'''
IN_KERNEL = """
from echo_widget import Echo
echo = Echo()
"""


def install(folder: Path) -> None:
    info = folder / "echo_widget-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echo_widget\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ypywidgets]\nEchoModel = echo_widget:EchoModel\n")
    (folder / "echo_widget.py").write_text(MODULE)


@pytest.fixture
def widget_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Its parameter is the types of messages that clients may send; without one, all."""
    allowed = options(allowed_message_types=request.param) if hasattr(request, "param") else []
    pytest.importorskip("ypywidgets")
    install(tmp_path / "widgets")
    path = os.pathsep.join(filter(None, [str(tmp_path / "widgets"), os.environ.get("PYTHONPATH")]))
    server = Server(
        tmp_path, *options(require_yjs=True), *allowed, env={"PYTHONPATH": path}, disable=NOT_NEEDED_BY_DOCUMENTS
    )
    server.wait_ready()
    yield server
    server.stop()


@pytest.mark.parametrize("widget_server", [["execute_request"]], indirect=True)
async def test_a_widget_does_not_reach_a_kernel_where_clients_may_not_send_comm_messages(widget_server: Server) -> None:
    async with Client(widget_server.url) as client:
        kernel_id = await client.start("python3")
        async with await client.connect(kernel_id) as socket:
            await socket.run(IN_KERNEL)
            await socket.run("echo.value += 'ping'")
            await until(
                lambda: "a widget cannot be updated: Messages of type comm_msg" in widget_server.log.read_text()
            )
            assert text_of(await socket.run("print(echo.value)")) == "ping\n"


async def test_a_widget_and_its_model_in_the_server_follow_each_other(widget_server: Server) -> None:
    async with Client(widget_server.url) as client:
        kernel_id = await client.start("python3")
        async with await client.connect(kernel_id) as socket:
            await socket.run(IN_KERNEL)
            await socket.run("echo.value += 'ping'")
            while "pong" not in (said := text_of(await socket.run("print(echo.value)"))):
                assert said == "ping\n"  # the server's answer comes between two of our requests
