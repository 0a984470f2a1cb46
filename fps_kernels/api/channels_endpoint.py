"""The WebSocket to a kernel: who may open one, and to what."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from starlette.websockets import WebSocket

from ..errors import FPSKernelsError, ServerStopping
from ..kernel_server.wire import V1_PROTOCOL
from ..kernels.registry import KernelRegistry
from ..serving.origin import origin_allowed
from ..websocket.asgi import StarletteSocket
from .responses import deny

MAX_SESSION_ID_CHARS = 256


class ChannelsEndpoint:
    """`/api/kernels/ID/channels`.

    allow_origin: the origins whose pages may open WebSockets, besides the server's own.
    """

    def __init__(self, registry: KernelRegistry, allow_origin: Collection[str]) -> None:
        self._registry = registry
        self._allow_origin = allow_origin

    async def serve(
        self, websocket: WebSocket, kernel_id: str, session_id: str | None, granted: Collection[str] | None
    ) -> None:
        """Serve a WebSocket to a kernel until it is closed; refuse it with an HTTP status before it is opened.

        granted: what the user may do with kernels; None for everything.
        """
        if granted is not None and not {"read", "execute"} & set(granted):
            await deny(websocket, 403, "You may not watch kernels")
            return
        headers = websocket.headers
        if not origin_allowed(headers.get("origin"), headers.get("host"), self._allow_origin):
            await deny(websocket, 403, f"Origin not allowed: {headers['origin'][:200]}")
            return
        session_id = session_id or uuid.uuid4().hex
        if len(session_id) > MAX_SESSION_ID_CHARS:
            await deny(websocket, 400, f"session_id is longer than {MAX_SESSION_ID_CHARS} characters")
            return
        try:
            if self._registry.stopping:  # or a client that we sent away would come back at once
                raise ServerStopping
            server = self._registry.get(kernel_id).server
        except FPSKernelsError as exc:
            await deny(websocket, exc.status, exc.message)
            return
        v1 = V1_PROTOCOL in websocket.scope["subprotocols"]
        await websocket.accept(V1_PROTOCOL if v1 else None)
        may_execute = granted is None or "execute" in granted
        await server.serve(StarletteSocket(websocket), session_id, v1=v1, may_execute=may_execute)
