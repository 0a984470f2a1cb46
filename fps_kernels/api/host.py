"""What the routes need from the program that serves them."""

from __future__ import annotations

from typing import Protocol

from starlette.datastructures import Headers


class Host(Protocol):
    """The program that serves the routes: Jupyverse, or the gateway.

    Who may call an endpoint is not asked here: a host checks the permissions in the table before it calls one, and
    tells the endpoint of WebSockets what the user was granted.
    """

    @property
    def base_url(self) -> str:
        """The path that all paths begin with; it begins and ends with a slash."""
        ...

    def origin_allowed(self, headers: Headers, scheme: str) -> bool:
        """Whether a request may come from the page that its headers tell of, if they do.

        scheme: how it came to the server, as in ASGI: http, https, ws or wss.
        """
        ...

    async def on_request(self) -> None:
        """Called before an endpoint is, and before a WebSocket is opened."""
        ...
