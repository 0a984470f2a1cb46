"""Jupyverse, as the routes see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request

from ...serving.identity import user_of
from ...serving.origin import AllowedOrigins, foreign_page
from .users import Users


class JupyverseHost:
    """A `Host`.

    origins: the origins whose pages may use the server, besides its own.
    users: what jupyverse's Auth knows of users.
    before_request: awaited before each request is answered; the server is up then.
    answers_at_once: whether requests that start kernels are answered at once.
    has_jupyterlab: whether JupyterLab's page is served.

    notebook_page: see kernels_page.kernel_feed.KernelSource.
    """

    def __init__(
        self,
        base_url: str,
        origins: AllowedOrigins,
        users: Users,
        before_request: Callable[[], Awaitable[None]],
        *,
        answers_at_once: bool = True,
        has_jupyterlab: bool = False,
    ) -> None:
        self.base_url = base_url
        self.notebook_page = "lab/tree/" if has_jupyterlab else ""
        self._answers_at_once = answers_at_once
        self._origins = origins
        self._users = users
        self._before_request = before_request

    def origin_allowed(self, headers: Headers, scheme: str) -> bool:
        return foreign_page(headers, scheme, self._origins) is None

    async def may(self, request: Request, permissions: dict[str, list[str]]) -> bool:
        return await self._users.may(request.scope, permissions)

    async def user(self, connection: HTTPConnection) -> str:
        return user_of(connection.scope) or await self._users.name(connection.scope)

    def at_once(self, request: Request, environ: Mapping[str, str] | None) -> bool:
        return self._answers_at_once

    async def on_request(self) -> None:
        await self._before_request()
