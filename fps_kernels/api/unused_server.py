"""The end of a server that nobody uses: one without kernels, to which no request has come for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from ..kernels.registry import KernelRegistry
from ..serving.access.access_layer import GRANTED_KEY

logger = logging.getLogger(__name__)

LOOK_S = 10.0
"""Seconds from one look at what tells nobody of its end, such as a terminal, to the next."""
OF_MONITORS = ("api", "api/status", "api/security/csp-report", "healthz", "readyz", "metrics", "kernels/events")
"""Paths below the base URL that are asked for whether anybody uses the server or not, as by a page that stays open."""


class UnusedServer:
    """Knows since when a server has been unused.

    timeout_s: seconds without use after which `wait` returns.
    base_url: the path that all paths begin with.
    in_use: whether there is something besides kernels for which the server is needed.
    """

    def __init__(
        self, registry: KernelRegistry, timeout_s: float, base_url: str, in_use: Callable[[], bool] = lambda: False
    ) -> None:
        self._registry = registry
        self._timeout_s = timeout_s
        self._in_use = in_use
        self._untracked = frozenset(base_url + path for path in OF_MONITORS)
        self._under_way = 0
        self._last_use = time.monotonic()
        registry.watch(on_removed=lambda _: self._note_use())

    def watch_requests(self, app: ASGIApp) -> ASGIApp:
        """The application, whose requests count as use. What has not been let in does not, nor what monitors ask."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if not self._counts(scope):
                await app(scope, receive, send)
                return
            self._note_use()
            self._under_way += 1
            try:
                await app(scope, receive, send)
            finally:
                self._under_way -= 1
                self._note_use()

        return watched

    async def wait(self) -> None:
        """Return once the server has been unused for so long."""
        while True:
            if self._registry.list() or self._under_way or self._in_use():
                self._note_use()
                await asyncio.sleep(min(self._timeout_s, LOOK_S))
                continue
            left_s = self._last_use + self._timeout_s - time.monotonic()
            if left_s <= 0:
                logger.info("Shutting down: there are no kernels, and nobody has come for %g s", self._timeout_s)
                return
            await asyncio.sleep(left_s)

    def _note_use(self) -> None:
        self._last_use = time.monotonic()

    def _counts(self, scope: Scope) -> bool:
        """As in Jupyter Server, whose clients add `no_track_activity` to what they ask by themselves."""
        if scope["type"] != "http" or scope["path"] in self._untracked or not scope.get(GRANTED_KEY, True):
            return False
        return "no_track_activity" not in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
