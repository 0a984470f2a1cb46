"""What jupyverse's Auth knows of a user, asked outside of the dependencies of a route.

Auth has no other way to be asked: `current_user` makes a dependency of FastAPI, which lets a request through or not.
So each question is a route of its own, which no application has. It is called with the scope of the request that the
question is about.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from jupyverse_api.exceptions import RedirectException
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Scope

logger = logging.getLogger(__name__)

ANSWER = "fps_kernels.answer"
"""Where a route leaves the user, alone in a tuple, if it was let through."""

Permissions = dict[str, list[str]]


class Auth(Protocol):
    """What either generation's plugin for users publishes, as far as it is needed here."""

    def current_user(self, permissions: Permissions | None = None) -> Callable[..., Any]:
        """A dependency of FastAPI that lets only users with these permissions through."""

    def websocket_auth(self, permissions: Permissions | None = None) -> Callable[..., Any]:
        """A dependency for WebSockets: the WebSocket and the permissions that the user has, or None if it is closed."""


class Users:
    """The users of a Jupyverse."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._routes: dict[str, ASGIApp] = {}

    async def may(self, scope: Scope, permissions: Permissions) -> bool:
        """Whether the user who sent a request has these permissions."""
        return await self._ask(scope, permissions) is not None

    async def name(self, scope: Scope) -> str:
        """What the user who sent a request is told apart by: an id, else a name; "" if Auth does not tell."""
        try:
            answer = await self._ask(scope, None)
        except Exception:  # of a plugin; what a request may do is decided elsewhere
            logger.exception("the Auth of this server does not tell whose a request is")
            return ""
        user = answer[0] if answer else None
        return str(getattr(user, "id", None) or getattr(user, "username", None) or "")

    async def _ask(self, scope: Scope, permissions: Permissions | None) -> tuple[Any] | None:
        route = self._routes.get(str(permissions))
        if route is None:
            route = self._routes[str(permissions)] = _question(self._auth, permissions)
        asked: Scope = {**scope, "type": "http", "method": "GET", ANSWER: None}
        try:
            await route(asked, _receive, _send)
        except (HTTPException, RedirectException) as exc:
            logger.debug("no user with the permissions %s: %r", permissions, exc)
        answer: tuple[Any] | None = asked[ANSWER]
        return answer


def _question(auth: Auth, permissions: Permissions | None) -> ASGIApp:
    current_user = Depends(auth.current_user(permissions=permissions))

    async def answer(request: Request, user: Any = current_user) -> Response:
        request.scope[ANSWER] = (user,)
        return Response()

    return APIRoute("/", answer, methods=["GET"], response_model=None).app


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    """Nobody is to be sent anything."""
