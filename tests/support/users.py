"""A `jupyverse` with users who have names and permissions, users of a proxy, and clients that are one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .client import Client, Socket
from .plugin_folders import plugin_environment
from .servers import Server

ENTRY_POINTS = """
[asphalt.components]
named_users = named_users:NamedUsersComponent
[jupyverse.components]
named_users = named_users:NamedUsersComponent
[fps.modules]
named_users_auth = named_users_module:NamedUsersModule
[jupyverse.modules]
named_users_auth = named_users_module:NamedUsersModule
"""

Permissions = Mapping[str, Sequence[str]]


def server_of(
    base: Path, users: Mapping[str, Permissions], *arguments: str, disable: Sequence[str] | None = None
) -> Server:
    """A server whose users are these."""
    env = plugin_environment(base, "named_users", ENTRY_POINTS) | {"NAMED_USERS": json.dumps(users)}
    others = Server.generation.not_needed if disable is None else disable
    server = Server(base, *arguments, disable=[*others, "auth", "noauth"], env=env)
    server.wait_ready()
    return server


class UserClient(Client):
    """Talks to a server as one of its users."""

    def __init__(self, url: str, user: str) -> None:
        super().__init__(url)
        self.http.headers["X-User"] = self.user = user

    async def connect(self, kernel_id: str, *, v1: bool = True, session: str | None = None, **options: Any) -> Socket:
        options.setdefault("additional_headers", {"X-User": self.user})
        return await super().connect(kernel_id, v1=v1, session=session, **options)


PROXY_SECRET = "what only the proxy knows, and long enough"


def proxy_secret_file(folder: Path) -> Path:
    """A file with the secret of the proxy, for a server's option."""
    path = folder / "proxy-secret"
    path.write_text(PROXY_SECRET)
    path.chmod(0o600)
    return path


class Proxied(Client):
    """A client behind a proxy that says whose requests they are."""

    def __init__(self, url: str, user: str) -> None:
        super().__init__(url)
        self.headers = {"X-Forwarded-User": user, "X-Fps-Kernels-Proxy-Secret": PROXY_SECRET}
        self.http.headers.update(self.headers)

    async def connect(self, kernel_id: str, *, v1: bool = True, session: str | None = None, **options: Any) -> Socket:
        return await super().connect(kernel_id, v1=v1, session=session, additional_headers=self.headers, **options)
