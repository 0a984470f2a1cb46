"""What the routes need from the program that serves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request


class Host(Protocol):
    """The program that serves the routes: Jupyverse, or the gateway.

    A host checks the permissions in the table before it calls an endpoint, and tells the endpoint of WebSockets what
    the user was granted. What a request needs in some cases only, the endpoint asks for.
    """

    @property
    def base_url(self) -> str:
        """The path that all paths begin with; it begins and ends with a slash."""
        ...

    @property
    def notebook_page(self) -> str:
        """What comes between the base URL and a notebook's path in the URL of its page; "" if it has no such pages."""
        ...

    def origin_allowed(self, headers: Headers, scheme: str) -> bool:
        """Whether a request may come from the page that its headers tell of, if they do.

        scheme: how it came to the server, as in ASGI: http, https, ws or wss.
        """
        ...

    async def may(self, request: Request, permissions: dict[str, list[str]]) -> bool:
        """Whether the user who sent a request has permissions besides those in the table."""
        ...

    async def user(self, connection: HTTPConnection) -> str:
        """The name of the user whose request or WebSocket it is; "" where all are one user, or nothing tells."""
        ...

    def at_once(self, request: Request, environ: Mapping[str, str] | None) -> bool:
        """Whether a request that starts a kernel is answered at once, whatever `start_answer_s` says.

        environ: the variables that it wants to set; None when it is about a session.
        """
        ...

    async def on_request(self) -> None:
        """Called before an endpoint is, and before a WebSocket is opened."""
        ...
