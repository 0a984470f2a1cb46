"""The same users for today's Jupyverse: see named_users.py."""

from __future__ import annotations

import json
import os
from typing import Any

from fastapi import HTTPException, Request, WebSocket
from fps import Module
from jupyverse_auth import Auth, User

USERS: dict[str, dict[str, list[str]]] = json.loads(os.environ.get("NAMED_USERS", "{}"))


class NamedUsers(Auth):
    """As fps-auth has it: a WebSocket is let in with any of the permissions, other requests need all of them."""

    def current_user(self, permissions: dict[str, list[str]] | None = None) -> Any:
        async def current_user(request: Request) -> User:
            name = request.headers.get("x-user", "")
            granted = USERS.get(name)
            if granted is None or any(
                set(needed) - set(granted.get(of, [])) for of, needed in (permissions or {}).items()
            ):
                raise HTTPException(403)
            return User(username=name)

        return current_user

    def websocket_auth(self, permissions: dict[str, list[str]] | None = None) -> Any:
        async def websocket_auth(websocket: WebSocket) -> Any:
            granted = USERS.get(websocket.headers.get("x-user", ""), {})
            checked = {
                of: [one for one in wanted if one in granted.get(of, [])] for of, wanted in (permissions or {}).items()
            }
            if any(checked.values()):
                return websocket, checked
            await websocket.close(1008)
            return None

        return websocket_auth

    async def update_user(self) -> Any:
        raise NotImplementedError


class NamedUsersModule(Module):
    async def prepare(self) -> None:
        self.put(NamedUsers(), Auth)
