"""A WebSocket to a kernel of Jupyter Server, which its `KernelServer` serves."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.web import HTTPError

from ...errors import FPSKernelsError, KernelStartFailed
from ...kernel_server.connection import CLOSE_NORMAL, CLOSE_RESTART, MAX_SESSION_ID_CHARS, NAMING_TIMEOUT_S
from ...kernels.kernel import Kernel
from ...tasks import TaskSet
from ...websocket.frame_batch import IncomingMessage
from .handler_user import user_of
from .kernel_manager import KernelError, escaped
from .message_bound import bound_messages
from .tornado_socket import TornadoSocket

TORNADO_OPTION = "websocket_max_message_size"
"""Tornado's own bound on messages, for all WebSockets; where somebody has set it, it counts."""


class FpsWebSocketConnection(ZMQChannelsWebsocketConnection):
    """Has the options of jupyter_server's own, and leaves kernels to it that are not ours."""

    _connections: ClassVar[set[FpsWebSocketConnection]] = set()
    _socket: TornadoSocket | None = None

    def __new__(cls, **options: Any) -> Any:
        if getattr(options["parent"], "kernel", None) is None:
            return ZMQChannelsWebsocketConnection(**options)
        return super().__new__(cls)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._tasks = TaskSet()

    @classmethod
    async def close_all(cls) -> None:
        """Close all WebSockets, jupyter_server's own, too."""
        for connection in list(cls._connections):
            connection.websocket_handler.close(CLOSE_RESTART, "the server is shutting down")
        await ZMQChannelsWebsocketConnection.close_all()  # type: ignore[no-untyped-call]

    @property
    def kernel(self) -> Kernel:
        """The kernel that the WebSocket is to."""
        kernel: Kernel = self.kernel_manager.kernel
        return kernel

    @property
    def session_id(self) -> str:
        """The id by which a client that comes back is known."""
        return str(self.websocket_handler.get_argument("session_id", None) or self.session.session)

    @property
    def _page(self) -> bool:
        """Whether the client is a page in a browser, which says where it is from."""
        return "Origin" in self.websocket_handler.request.headers

    async def prepare(self) -> None:
        """Wait until the kernel's process runs; refuse the WebSocket before it is opened, with a status, if need be.

        Raises HTTPError: 400, 503, or 500 when the start failed.
        """
        if len(self.session_id) > MAX_SESSION_ID_CHARS:
            raise HTTPError(400, f"session_id is longer than {MAX_SESSION_ID_CHARS} characters")
        try:
            await asyncio.shield(self.kernel_manager.ready)  # with pending kernels it may not be launched yet
        except HTTPError:
            raise
        except Exception as exc:
            raise HTTPError(500, escaped(str(exc))) from exc
        if self.kernel_manager.gone:
            raise HTTPError(404, escaped(f"Kernel does not exist: {self.kernel_id}"))
        try:
            self.kernel.server.check_room(self.session_id, user_of(self.websocket_handler), page=self._page)
        except FPSKernelsError as exc:
            if isinstance(exc, KernelStartFailed):  # JupyterLab shows why only if it listens to the session already
                await self.kernel_manager.wait_settled(NAMING_TIMEOUT_S)
            raise KernelError(exc) from exc

    async def connect(self) -> None:  # type: ignore[override]  # the handler awaits it
        """Serve the WebSocket, which is open now, in the background."""
        handler = self.websocket_handler
        if self.kernel_manager.gone:  # since `prepare`
            handler.close(CLOSE_NORMAL, "the kernel is gone")
            return
        handler.set_nodelay(True)
        theirs = handler.settings.get(TORNADO_OPTION)
        max_bytes, option = (
            (self.multi_kernel_manager.ws_max_message_bytes, "ws_max_message_bytes")
            if theirs is None
            else (theirs, TORNADO_OPTION)
        )
        bound_messages(handler.ws_connection, max_bytes, option, self._tasks)
        self._connections.add(self)
        self.multi_kernel_manager.notify_connect(self.kernel_id)
        self._socket = TornadoSocket(handler)
        # All is asked now: the client may be gone, and its handler empty, when this has its turn.
        served = self.kernel.server.serve(
            self._socket, self.session_id, v1=bool(self.subprotocol), user=user_of(handler), page=self._page
        )
        self._tasks.start(served, name=f"WebSocket to kernel {self.kernel_id}")

    def handle_incoming_message(self, incoming_msg: IncomingMessage) -> None:
        """Handle a message of the client."""
        if self._socket is not None:
            self._socket.on_message(incoming_msg)

    def disconnect(self) -> None:  # type: ignore[override]  # as in jupyter_server
        """The WebSocket is closed, or was never opened."""
        if self._socket is not None and self in self._connections:
            self._connections.discard(self)
            self._socket.on_close()
            self.multi_kernel_manager.notify_disconnect(self.kernel_id)
