"""Jupyverse on Asphalt, as the routes see it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.websockets import WebSocket

from ...serving.identity import user_of
from ...serving.origin import origin_allowed
from .users import Users


class AsphaltHost:
    """A `Host`.

    allow_origin: the origins whose pages may open WebSockets, besides the server's own.
    users: what jupyverse's Auth knows of users.
    on_first_request: called once, before the first request is answered; the server is up then.
    """

    def __init__(
        self,
        base_url: str,
        allow_origin: Collection[str],
        users: Users,
        on_first_request: Callable[[], None] = lambda: None,
    ) -> None:
        self.base_url = base_url
        self._allow_origin = allow_origin
        self._users = users
        self._on_first_request: Callable[[], None] | None = on_first_request

    def origin_allowed(self, headers: Headers) -> bool:
        return origin_allowed(headers.get("origin"), headers.get("host"), self._allow_origin)

    async def may(self, request: Request, permissions: dict[str, list[str]]) -> bool:
        return await self._users.may(request.scope, permissions)

    async def user(self, websocket: WebSocket) -> str:
        return user_of(websocket.scope) or await self._users.name(websocket.scope)

    async def on_request(self) -> None:
        callback, self._on_first_request = self._on_first_request, None
        if callback is not None:
            callback()
