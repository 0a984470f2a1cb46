"""The WebSocket to a kernel: who may open one, and to what."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from starlette.responses import Response
from starlette.websockets import WebSocket

from ..errors import FPSKernelsError, KernelStartFailed, NotAWebSocket, ServerStopping
from ..kernel_server.connection import MAX_SESSION_ID_CHARS, NAMING_TIMEOUT_S
from ..kernel_server.wire import V1_PROTOCOL
from ..kernels.registry import KernelRegistry
from ..kernels.sessions import SessionStore
from ..serving.access.credentials import TOKEN_PROTOCOL
from ..websocket.asgi import StarletteSocket
from .host import Host
from .responses import deny
from .table import ALL_METHODS, CHANNELS_PATH, Endpoint


class ChannelsEndpoint:
    """`/api/kernels/ID/channels`.

    plain: the endpoint for requests that are no WebSockets.
    """

    def __init__(self, registry: KernelRegistry, sessions: SessionStore, host: Host) -> None:
        self._registry = registry
        self._sessions = sessions
        self._host = host
        self.plain = Endpoint(
            "no_websocket",
            " ".join(ALL_METHODS),
            CHANNELS_PATH,
            self.refuse_plain,
            {"kernels": ["read"]},
            in_schema=False,
        )

    async def serve(
        self, websocket: WebSocket, kernel_id: str, session_id: str | None, granted: Collection[str] | None
    ) -> None:
        """Serve a WebSocket to a kernel until it is closed; refuse it with an HTTP status before it is opened.

        granted: what the user may do with kernels; None for everything.
        """
        await self._host.on_request()
        if granted is not None and not {"read", "execute"} & set(granted):
            await deny(websocket, 403, "You may not watch kernels")
            return
        if not self._host.origin_allowed(websocket.headers, websocket.scope["scheme"]):
            origin = websocket.headers.get("origin", "another site")
            await deny(websocket, 403, f"Origin not allowed: {origin[:200]} (see the option allow_origin)")
            return
        session_id = session_id or uuid.uuid4().hex
        if len(session_id) > MAX_SESSION_ID_CHARS:
            await deny(websocket, 400, f"session_id is longer than {MAX_SESSION_ID_CHARS} characters")
            return
        try:
            if self._registry.stopping:  # or a client that was just disconnected would come back immediately
                raise ServerStopping
            server = self._registry.get(kernel_id).server
            user = await self._host.user(websocket)
            page = "origin" in websocket.headers  # of which every browser tells
            server.check_room(session_id, user, page=page)
        except FPSKernelsError as exc:
            if isinstance(exc, KernelStartFailed):  # JupyterLab shows why only if it listens to the session already
                await self._sessions.wait_named(kernel_id, NAMING_TIMEOUT_S)
            await deny(websocket, exc.status, exc.message)
            return
        offered = websocket.scope["subprotocols"]
        v1 = V1_PROTOCOL in offered
        # A browser that offers protocols, if only to show a token, closes a connection that names none of them.
        chosen = next((protocol for protocol in (V1_PROTOCOL, TOKEN_PROTOCOL) if protocol in offered), None)
        await websocket.accept(chosen)
        may_execute = granted is None or "execute" in granted
        socket = StarletteSocket(websocket)
        await server.serve(socket, session_id, v1=v1, may_execute=may_execute, user=user, page=page)

    async def refuse_plain(self, kernel_id: str) -> Response:
        """The answer to a plain request, with the status that Tornado has for it."""
        self._registry.get(kernel_id)
        raise NotAWebSocket
