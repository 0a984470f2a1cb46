"""The gateway, as the routes see it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request

from ..kernels.launch_environment import LAUNCH_TIMEOUT, WORKING_DIRECTORY
from ..serving.identity import user_of


class GatewayHost:
    """A `Host` that has checked everything before a route is reached.

    seeded: whether a seed is run in new kernels; they are handed out when it has ended.
    """

    notebook_page = ""

    def __init__(self, base_url: str, *, seeded: bool = False) -> None:
        self.base_url = base_url
        self._seeded = seeded

    def origin_allowed(self, headers: Headers, scheme: str) -> bool:
        return True  # the gateway has checked the Origin of every request already, and accepts more spellings

    async def may(self, request: Request, permissions: dict[str, list[str]]) -> bool:
        return True  # who has the token may do everything

    async def user(self, connection: HTTPConnection) -> str:
        return user_of(connection.scope)

    def at_once(self, request: Request, environ: Mapping[str, str] | None) -> bool:
        """Whether a person waits who types meanwhile, rather than a program.

        That is so for sessions, which front ends make for notebooks; for pages, which browsers name; and for a Jupyter
        server in front of us, whose GatewayClient tells the notebook's folder and its own patience.
        """
        if self._seeded:
            return False
        if environ is None or "origin" in request.headers or "sec-fetch-mode" in request.headers:
            return True
        return WORKING_DIRECTORY in environ and LAUNCH_TIMEOUT in environ

    async def on_request(self) -> None:
        """Nothing depends on it here."""
