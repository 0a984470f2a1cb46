"""The origins whose pages may use the server."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit


def origin_allowed(origin: str | None, host: str | None, allowed: Collection[str]) -> bool:
    """Whether a page of `origin` may open a WebSocket here.

    Programs send no Origin. A page must come from the Host it asks, or from one that is listed, to
    the letter; "*" lists all. CORS middleware does not look at WebSockets at all.
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
