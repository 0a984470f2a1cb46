"""A `jupyverse` with users who have names and permissions, users of a proxy, and clients that are one of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .client import Client, Socket
from .servers import NOT_NEEDED, Server

PLUGIN = Path(__file__).parent / "plugins" / "named_users.py"
ENTRY_POINTS = """
[asphalt.components]
named_users = named_users:NamedUsersComponent
[jupyverse.components]
named_users = named_users:NamedUsersComponent
"""

Permissions = Mapping[str, Sequence[str]]


def server_of(
    base: Path, users: Mapping[str, Permissions], *arguments: str, disable: Sequence[str] = NOT_NEEDED
) -> Server:
    """A server whose users are these."""
    info = base / "plugins" / "named_users-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: named_users\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    shutil.copy(PLUGIN, base / "plugins")
    path = os.pathsep.join(filter(None, [str(base / "plugins"), os.environ.get("PYTHONPATH")]))
    env = {"PYTHONPATH": path, "NAMED_USERS": json.dumps(users)}
    server = Server(base, *arguments, disable=[*disable, "auth"], env=env)
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
