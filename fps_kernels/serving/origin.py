"""The origins whose pages may use the server."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit


def origin_allowed(origin: str | None, host: str | None, allowed: Collection[str]) -> bool:
    """Whether a page from `origin` may open a WebSocket. CORS middleware does not check WebSockets.

    origin: the header Origin; None for programs other than browsers, which are allowed.
    host: the header Host, which the origin has to match.
    allowed: other origins that are allowed, compared literally; "*" allows all.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return True
    return is_own_origin(origin, host)


def is_own_origin(origin: str, host: str | None) -> bool:
    """Whether an origin is the Host of the request itself."""
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:  # such as http://[
        return False
    return bool(host) and netloc.lower() == str(host).lower()
