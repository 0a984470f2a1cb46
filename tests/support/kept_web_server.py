"""A program that serves the WebSockets of one kernel that a keeper keeps, or of the one that is there already.

usage: python -m tests.support.kept_web_server STATE_DIR CONNECTION_DIR PORT

It writes "ready" to stdout when the kernel is ready, and takes commands as requests:

    GET /state       the execution state, and how many requests are pending, as JSON
    GET /restart     restarts the kernel
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import uuid
from pathlib import Path

import uvloop
import zmq
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from fps_kernels.keeper.keeper_folder import KeeperFolder
from fps_kernels.kept.client_sockets import ClientSockets
from fps_kernels.kept.cursor_file import Cursor, CursorFile, dead_files, read_cursors
from fps_kernels.kept.keeper_client import KeeperClient
from fps_kernels.kept.kept_journal import start_number
from fps_kernels.kept.kept_kernel_server import KeptKernelServer
from fps_kernels.kept.kept_launcher import KeptLauncher
from fps_kernels.kept.kept_process import KeptProcess, open_channels
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernel_driver.launch import LaunchOptions
from fps_kernels.kernel_server.wire import V1_PROTOCOL
from fps_kernels.serving.http_server import make_server
from fps_kernels.websocket.asgi import StarletteSocket


async def main(state_dir: str, connection_dir: str, port: str) -> None:
    keeper = KeeperClient(KeeperFolder(Path(state_dir)), orphan_timeout_s=120)
    await keeper.start()
    folder = Path(state_dir) / "cursors"
    file = CursorFile(folder)
    dead = dead_files(folder)
    cursors: dict[str, Cursor] = {}
    for path in dead:
        cursors |= read_cursors(path)
    process = None
    found = (await keeper.call("kernels"))["kernels"]
    if found:
        process = await KeptProcess.adopt(keeper, found[0], start_number(found[0], cursors))
    options = LaunchOptions("tiny_plain", state_dir, dict(os.environ), {}, Path(connection_dir))
    kernel_id = process.kernel_id if process is not None else uuid.uuid4().hex
    client = KernelClient(kernel_id, zmq.Context(), open_channels=open_channels)
    sockets = ClientSockets(KeeperFolder(Path(state_dir)).clients)
    sockets.open()
    server = KeptKernelServer(client, file, sockets)
    launcher = KeptLauncher(options, Kernelspecs(), keeper, adopted=process)
    launcher.on_process = server.kept.watch
    driver = KernelDriver(client, launcher)
    driver.observer = server
    if found:
        server.kept.restore(found[0], cursors)
        for path in dead:
            path.unlink()

    async def channels(websocket: WebSocket) -> None:
        v1 = V1_PROTOCOL in websocket.scope["subprotocols"]
        await websocket.accept(V1_PROTOCOL if v1 else None)
        user = websocket.query_params.get("user", "")
        await server.serve(StarletteSocket(websocket), websocket.query_params["session_id"], v1=v1, user=user)

    async def state(request: Request) -> Response:
        return JSONResponse({"state": client.execution_state.value, "pending": client.pending})

    async def restart(request: Request) -> Response:
        await driver.restart()
        return JSONResponse({})

    routes = [
        WebSocketRoute("/api/kernels/{kernel_id}/channels", channels),
        Route("/state", state),
        Route("/restart", restart),
    ]
    serving = make_server(Starlette(routes=routes), None, 20)
    start = asyncio.create_task(driver.start())
    with socket.create_server(("127.0.0.1", int(port))) as listening:
        served = asyncio.create_task(serving.serve(sockets=[listening]))
        await start
        os.write(1, b"ready\n")
        await served


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
