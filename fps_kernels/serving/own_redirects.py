"""Redirects that lead to the server itself, as they are right behind a proxy."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class OwnRedirects:
    """Middleware that takes scheme and host out of a Location that names the server by the Host of the request.

    Frameworks write `http://HOST/…` there. Behind a proxy that takes TLS off, the browser of an https page would be
    led to http; a path leads it to where it has come from (RFC 9110, 10.2.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_relative(message: Message) -> None:
            if message["type"] == "http.response.start" and 300 <= message["status"] < 400:
                headers = MutableHeaders(scope=message)
                location = headers.get("location")
                if location is not None:
                    headers["location"] = own_path(location, Headers(scope=scope).get("host"))
            await send(message)

        await self._app(scope, receive, send_relative if scope["type"] == "http" else send)


def own_path(location: str, host: str | None) -> str:
    """A Location without scheme and host if these are the server's own, else as it is."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return location
    if host is None or parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
        return location
    path = parts.path or "/"
    if path.startswith("//"):  # a path, but read as the name of a host
        return location
    return path + (f"?{parts.query}" if parts.query else "") + (f"#{parts.fragment}" if parts.fragment else "")
