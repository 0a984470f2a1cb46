"""A middleware that takes a proxy's word for its client, for servers with `trust_xheaders`."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

SCHEMES = {"http": ("http", "ws"), "https": ("https", "wss"), "ws": ("http", "ws"), "wss": ("https", "wss")}
"""The schemes of a request and of a WebSocket, by what proxies write."""


RECEIVED_HOST_KEY = "fps_kernels.received_host"
"""The key of an ASGI scope with the Host that came with a request, where a proxy has named another one."""
PEER_KEY = "fps_kernels.peer"
"""The key of an ASGI scope with the address of who has connected, where a header has named another client."""


class TrustedProxy:
    """A middleware that sets client, scheme and Host as Tornado does, from a proxy's headers.

    They are X-Forwarded-Host, X-Real-IP, X-Forwarded-For, X-Scheme and X-Forwarded-Proto. uvicorn's own middleware
    ignores X-Real-IP and X-Scheme, and when it trusts every proxy it takes the first address in X-Forwarded-For, which
    the client may have written. The last one is written by the proxy.
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
                scope[PEER_KEY] = str((scope.get("client") or ("",))[0])
                scope["client"] = (address, 0)
            scheme = (_last(headers, "x-scheme") or _last(headers, "x-forwarded-proto")).lower()
            if scheme in SCHEMES:
                scope["scheme"] = SCHEMES[scheme][scope["type"] == "websocket"]
            if host := _last(headers, "x-forwarded-host"):
                scope[RECEIVED_HOST_KEY] = headers.get("host")
                others = [pair for pair in scope["headers"] if pair[0] != b"host"]
                scope["headers"] = [(b"host", host.encode("latin-1")), *others]
        await self._app(scope, receive, send)


def _last(headers: Headers, name: str) -> str:
    """The last value of a header that may occur several times and contain lists; "" if there is none."""
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()
