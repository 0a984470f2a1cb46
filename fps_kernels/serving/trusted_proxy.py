"""What a proxy in front of us says about its client: believed with trust_xheaders, and by nobody else."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

SCHEMES = {"http": ("http", "ws"), "https": ("https", "wss"), "ws": ("http", "ws"), "wss": ("https", "wss")}
"""As proxies write them: the scheme of a request, and of a WebSocket."""


class TrustedProxy:
    """Sets client and scheme from X-Real-IP, X-Forwarded-For, X-Scheme and X-Forwarded-Proto, as Tornado does.

    Not uvicorn's middleware: it does not know X-Real-IP and X-Scheme, and with everybody trusted it takes the
    first address of X-Forwarded-For, which is whatever the client wrote itself. The last is the proxy's word.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = dict(scope)
            headers = Headers(scope=scope)
            address = _last(headers, "x-real-ip") or _last(headers, "x-forwarded-for")
            with suppress(ValueError):  # not an address
                ip_address(address)
                scope["client"] = (address, 0)
            scheme = (_last(headers, "x-scheme") or _last(headers, "x-forwarded-proto")).lower()
            if scheme in SCHEMES:
                scope["scheme"] = SCHEMES[scheme][scope["type"] == "websocket"]
        await self._app(scope, receive, send)


def _last(headers: Headers, name: str) -> str:
    """The last of the values, each of which may be a list; "" for none."""
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()
