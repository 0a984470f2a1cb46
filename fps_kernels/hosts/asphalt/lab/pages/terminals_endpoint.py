"""`/api/terminals` and their WebSockets, as of Jupyter Server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from terminado.management import MaxTerminalsReached

from .....api.json_body import read_body
from .....api.responses import deny, security_headers
from .....errors import FPSKernelsError, InvalidBody, NotFound
from .....json_model import decode
from .....serving.access.credentials import TOKEN_PROTOCOL
from .....serving.json_responses import json_response
from .....tasks import cancel_and_wait
from .page_endpoints import answering
from .terminal_manager import TerminalClient, TerminalManager, page_size, shell_input

logger = logging.getLogger(__name__)

SEND_TIMEOUT_S = 20
"""How long a page may take nothing before it is given up: other pages of the terminal wait for it."""
RETRY_S = 0.02
"""Seconds until a program that does not read its input is tried again."""


class TerminalsEndpoint:
    """The terminals of the server. url: its address, for programs in them."""

    def __init__(self, root: Path, url: str) -> None:
        self.manager = TerminalManager(root, url)

    def routes(self, base_url: str) -> list[BaseRoute]:
        security = security_headers(base_url)
        return [
            Route(f"{base_url}api/terminals", answering(self.all, security), methods=["GET", "POST"]),
            Route(f"{base_url}api/terminals/{{name}}", answering(self.one, security), methods=["GET", "DELETE"]),
            WebSocketRoute(f"{base_url}terminals/websocket/{{name}}", self.connect),
        ]

    async def all(self, request: Request) -> Response:
        """List the terminals, or begin one. Raises InvalidBody, FPSKernelsError."""
        manager = self.manager
        if request.method != "POST":
            return json_response([manager.model(name) for name in manager.terminals])
        body = await read_body(request)
        wanted = decode(body) if body.strip() else {}
        if wanted is None:
            wanted = {}
        name, folder = (wanted.get("name"), wanted.get("cwd")) if isinstance(wanted, dict) else (0, 0)
        if not isinstance(name, str | None) or not isinstance(folder, str | None) or "\0" in (folder or ""):
            raise InvalidBody("name and cwd of a terminal are texts, in a JSON object")
        if name is not None and not re.fullmatch(r"\w{1,100}", name):
            raise InvalidBody("The name of a terminal has letters, digits and underscores only")
        if name in manager.terminals:  # another page was first to open it again
            return json_response(manager.model(name))
        if len(manager.terminals) >= manager.max_terminals:
            raise FPSKernelsError(str(MaxTerminalsReached(manager.max_terminals)))
        try:
            return json_response(manager.begin(name, folder))
        except OSError as exc:
            raise FPSKernelsError(f"No terminal can be opened: {exc.strerror or exc}") from exc

    async def one(self, request: Request) -> Response:
        """Show or end a terminal. Raises NotFound."""
        name: str = request.path_params["name"]
        if name not in self.manager.terminals:
            raise NotFound(f"Terminal not found: {name[:100]}")
        if request.method == "DELETE":
            await self.manager.end(name)
            return Response(status_code=204)
        return json_response(self.manager.model(name))

    async def connect(self, websocket: WebSocket) -> None:
        """Show a terminal to a page, and type what it types."""
        name: str = websocket.path_params["name"]
        if name not in self.manager.terminals:
            await deny(websocket, 404, f"Terminal not found: {name[:100]}")
            return
        offered = websocket.scope["subprotocols"]
        await websocket.accept(TOKEN_PROTOCOL if TOKEN_PROTOCOL in offered else None)
        if name not in self.manager.terminals:
            await websocket.close()
            return
        client = self.manager.join(name)
        tasks = [
            asyncio.create_task(_show(websocket, client), name=f"output of terminal {name}"),
            asyncio.create_task(self._type(websocket, client), name=f"input of terminal {name}"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.manager.leave(name, client)
            await cancel_and_wait(*tasks)

    async def _type(self, websocket: WebSocket, client: TerminalClient) -> None:
        while True:
            try:
                message = json.loads(await websocket.receive_text())
            except WebSocketDisconnect:
                return
            except (ValueError, RecursionError, KeyError):  # no JSON, or bytes
                await websocket.close(1007, "messages are arrays in JSON")
                return
            if (typed := shell_input(message)) is not None:
                await _write(client, typed)
            elif (size := page_size(message)) is not None:
                client.resize(*size)


async def _show(websocket: WebSocket, client: TerminalClient) -> None:
    try:
        await websocket.send_text('["setup", {}]')
        while (message := await client.next_message()) is not None:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await websocket.send_text(message)
        await websocket.send_text('["disconnect", 1]')
        await websocket.close()
    except WebSocketDisconnect:
        return
    except TimeoutError:
        logger.warning("A page takes nothing of its terminal; it is disconnected")


async def _write(client: TerminalClient, data: bytes) -> None:
    """Type in a terminal, whose program may read it later, or never."""
    while data and not client.terminal.ptyproc.closed:
        try:
            data = data[os.write(client.terminal.ptyproc.fd, data) :]
        except BlockingIOError:
            await asyncio.sleep(RETRY_S)
        except OSError:  # it has just ended
            return
