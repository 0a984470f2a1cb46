"""When the extension takes the kernels of a Jupyter Server over, and when it leaves them alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from ..support.client import Client
from ..support.messages import text_of
from ..support.stock import BeginStock, StockServer

STOCK_MANAGER = "jupyter_server.services.kernels.kernelmanager.AsyncMappingKernelManager"
STOCK_CONNECTION = "jupyter_server.services.kernels.connection.channels.ZMQChannelsWebsocketConnection"
OURS = "runs the kernels"


async def check_that_kernels_work(server: StockServer) -> None:
    """Run a cell, restart the kernel, and run another one."""
    async with Client(server.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            assert text_of(await socket.run("stream('first')")) == "first"
        assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
        async with await client.connect(kernel_id) as socket:
            assert text_of(await socket.run("stream('second')")) == "second"
        assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204


@pytest.mark.parametrize(
    ("name", "value"),
    [("kernel_manager_class", STOCK_MANAGER), ("kernel_websocket_connection_class", STOCK_CONNECTION)],
)
async def test_a_class_on_the_command_line_counts(begin: BeginStock, name: str, value: str) -> None:
    server = begin(f"--ServerApp.{name}={value}")
    assert f"fps_kernels does not run the kernels: ServerApp.{name} is set" in server.log.read_text()
    assert OURS not in server.log.read_text()
    await check_that_kernels_work(server)


async def test_a_class_in_a_file_counts(begin: BeginStock, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "jupyter_server_config.json").write_text(
        json.dumps({"ServerApp": {"kernel_manager_class": STOCK_MANAGER}})
    )
    server = begin(env={"JUPYTER_CONFIG_DIR": str(config)})
    assert "fps_kernels does not run the kernels: ServerApp.kernel_manager_class is set" in server.log.read_text()
    await check_that_kernels_work(server)


def test_the_kernels_of_a_gateway_are_left_to_it(begin: BeginStock) -> None:
    for server in (
        begin("--GatewayClient.url=http://127.0.0.1:9"),
        begin(env={"JUPYTER_GATEWAY_URL": "http://127.0.0.1:9"}),
    ):
        assert "fps_kernels does not run the kernels: they are a gateway's" in server.log.read_text()
        assert OURS not in server.log.read_text()


async def test_a_user_can_disable_it(begin: BeginStock, tmp_path: Path) -> None:
    folder = tmp_path / "config" / "jupyter_server_config.d"
    folder.mkdir(parents=True)
    disabled = {"ServerApp": {"jpserver_extensions": {"fps_kernels": False}}}
    (folder / "fps_kernels.json").write_text(json.dumps(disabled))
    # In a venv, its own configuration counts more than its user's unless this is set.
    server = begin(env={"JUPYTER_CONFIG_DIR": str(folder.parent), "JUPYTER_PREFER_ENV_PATH": "0"})
    assert "fps_kernels" not in server.log.read_text()
    await check_that_kernels_work(server)


def extension(folder: Path, name: str, code: str) -> dict[str, str]:
    """Write an extension, a module of this name; returns the environment in which it is found."""
    (folder / f"{name}.py").write_text(
        f"def _jupyter_server_extension_points():\n    return [{{'module': '{name}'}}]\n{dedent(code)}"
    )
    return {"PYTHONPATH": str(folder)}


async def test_a_failure_inside_leaves_kernels_of_the_servers_own(begin: BeginStock, tmp_path: Path) -> None:
    env = extension(
        tmp_path,
        "aaa_breaks",
        """
        import sys

        def _link_jupyter_server_extension(serverapp):
            sys.modules["fps_kernels.hosts.jupyter_server.websocket_connection"] = None  # cannot be imported

        def _load_jupyter_server_extension(serverapp):
            pass
        """,
    )
    server = begin("--ServerApp.jpserver_extensions={'aaa_breaks': True, 'jupyterlab': False}", env=env)
    assert OURS not in server.log.read_text()
    await check_that_kernels_work(server)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("kernel_manager_class", STOCK_MANAGER, "fps_kernels does not run the kernels: "),
        ("kernel_websocket_connection_class", STOCK_CONNECTION, "fps_kernels does not serve the WebSockets"),
    ],
)
async def test_another_extension_may_replace_a_class_and_is_named(
    begin: BeginStock, tmp_path: Path, name: str, value: str, said: str
) -> None:
    env = extension(
        tmp_path,
        "zzz_replaces",
        f"""
        from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
        from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

        def _link_jupyter_server_extension(serverapp):
            config = type(serverapp.config)()
            config.ServerApp.{name} = {value.rpartition(".")[2]}
            serverapp.update_config(config)

        def _load_jupyter_server_extension(serverapp):
            pass
        """,
    )
    server = begin("--ServerApp.jpserver_extensions={'zzz_replaces': True, 'jupyterlab': False}", env=env)
    [line] = [line for line in server.log.read_text().splitlines() if said in line]
    assert value in line
    await check_that_kernels_work(server)


async def test_a_users_class_of_one_kernel_goes_on_top_of_ours(begin: BeginStock, tmp_path: Path) -> None:
    (tmp_path / "their_manager.py").write_text(
        dedent(
            """
            from jupyter_server.services.kernels.kernelmanager import ServerKernelManager

            class TheirManager(ServerKernelManager):
                async def start_kernel(self, **options):
                    options["env"] = {**options.get("env", {}), "THEIRS": "heeded"}
                    await super().start_kernel(**options)
            """
        )
    )
    server = begin(
        "--AsyncMappingKernelManager.kernel_manager_class=their_manager.TheirManager",
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert OURS in server.log.read_text()
    async with Client(server.url) as client:
        kernel_id = await client.start()
        assert await client.evaluate(kernel_id, "os.environ.get('THEIRS')") == "heeded"
        process = server.process_of(kernel_id)
        process.kill()
        await client.until_kernel(kernel_id, lambda model: model["execution_state"] in ("starting", "restarting"))
        await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")
        assert await client.evaluate(kernel_id, "os.environ.get('THEIRS')") == "heeded"
    await check_that_kernels_work(server)


TWO_CLIENTS = """
import asyncio
import json

from jupyter_server.base.handlers import APIHandler

async def run(client, text):
    said = []
    client.allow_stdin = False
    reply = await client.execute_interactive(f"stream('{text}')", output_hook=said.append, timeout=60)
    assert reply["content"]["status"] == "ok"
    return "".join(m["content"]["text"] for m in said if m["header"]["msg_type"] == "stream")

class Handler(APIHandler):
    async def get(self, kernel_id):
        manager = self.kernel_manager.get_kernel(kernel_id)
        clients = manager.client(), manager.client()
        for client in clients:
            client.start_channels()
            await client.wait_for_ready(timeout=60)
        try:
            texts = await asyncio.gather(*(run(client, f"{number}") for number, client in enumerate(clients)))
        finally:
            for client in clients:
                client.stop_channels()
        self.finish(json.dumps(texts))

def _load_jupyter_server_extension(serverapp):
    serverapp.web_app.add_handlers(".*$", [(r"/two/(.+)", Handler)])
"""


async def test_extensions_that_have_clients_of_one_kernel_each_get_their_replies(
    begin: BeginStock, tmp_path: Path
) -> None:
    env = extension(tmp_path, "two_clients", TWO_CLIENTS)
    server = begin("--ServerApp.jpserver_extensions={'two_clients': True, 'jupyterlab': False}", env=env)
    async with Client(server.url) as client:
        kernel_id = await client.start()
        response = await client.http.get(f"/two/{kernel_id}", timeout=200)
        assert (response.status_code, response.json()) == (200, ["0", "1"]), server.log.read_text()


def test_the_package_imports_nothing_for_it() -> None:
    code = (
        "import sys; import fps_kernels; fps_kernels._jupyter_server_extension_points();"
        "print([name for name in sys.modules if name.startswith(('fps_kernels.', 'jupyter', 'tornado', 'zmq'))])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n"
