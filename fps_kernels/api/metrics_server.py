"""`/metrics` on a port of its own, for a Prometheus that has no token."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from ..errors import BadOption
from ..serving.access.access_layer import AccessLayer
from ..serving.access.access_policy import AccessPolicy
from ..serving.access.host_names import LocalNames
from ..serving.http_server import Server, make_server, url_of
from ..serving.serving_limits import ServingLimits
from ..serving.sockets import Listening, bound, is_public
from .host import Host
from .responses import error_response
from .starlette_router import EndpointRoute
from .table import METRICS_PATH, Endpoint

logger = logging.getLogger(__name__)

LIMITS = ServingLimits(max_connections=20, reserved_connections=0)
"""A few monitors, and nothing that they could take from the server's own clients."""


@contextlib.contextmanager
def bound_for_metrics(ip: str, port: int | None, name: str) -> Iterator[list[socket.socket]]:
    """The sockets to serve on; none if there is no port. Raises BadOption.

    ip: as of `Listening`. port: 0 for one that the system chooses. name: the option of the port, as users know it.
    """
    if port is None:
        yield []
        return
    with contextlib.ExitStack() as at_end:
        try:
            socks = at_end.enter_context(
                bound(Listening(ip, port, port_retries=0, trust_proxy=False, ping_interval_s=0))
            )
        except BadOption as exc:
            raise BadOption(f"{name}: {exc.message}") from exc
        yield socks


class MetricsServer:
    """Serves an endpoint, and nothing else, to whoever reaches the sockets.

    socks: those of `bound_for_metrics`; without any, nothing is served.
    ip: where they listen. On this machine's own addresses it must be called by the name of one, see host_names.py.
    """

    def __init__(self, socks: Sequence[socket.socket], ip: str) -> None:
        self._socks = list(socks)
        self._policy = AccessPolicy(local_names=None if is_public(ip) else LocalNames())
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None

    def start(self, endpoint: Endpoint, host: Host) -> None:
        """Begin to serve, unless there are no sockets."""
        if not self._socks:
            return
        app = Starlette(routes=[EndpointRoute(endpoint, host)])
        app.router.redirect_slashes = False
        app.router.default = _not_found
        self._server = make_server(AccessLayer(app, self._policy), None, None, LIMITS)
        self._serving = asyncio.create_task(self._server.serve(self._socks), name="metrics server")
        url = f"{url_of(self._socks[0], None)[:-1]}{METRICS_PATH}"
        logger.info("Numbers for Prometheus, without a token, at %s", url)

    async def close(self) -> None:
        """End it. May be called twice, and before it was started."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await error_response(404, f"Not found: only {METRICS_PATH} is served here")(scope, receive, send)
