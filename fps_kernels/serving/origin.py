"""The origins whose pages may use the server. Pure.

A browser adds its user's cookies, and its place in the network, to requests that any page makes. Which page that was,
only its headers tell, so one rule holds for every request and every WebSocket, whatever the method: CORS middleware
does not see WebSockets, and does not stop requests that need no preflight. Programs send none of these headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from ..errors import BadOption

DEFAULT_PORTS = {"http": "80", "https": "443"}
SECURE_SCHEMES = ("https", "wss")
SAME_SITE = ("same-origin", "none")
"""What Sec-Fetch-Site says of a request that no other page has made. `none`: the user typed the address."""


class RequestHeaders(Protocol):
    """The headers of a request, by lower-case names."""

    def get(self, key: str, /) -> str | None: ...

    def getlist(self, key: str, /) -> list[str]: ...

    def __contains__(self, key: object, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class AllowedOrigins:
    """The origins that are allowed besides the server's own.

    listed: in the form of `normalized`.
    everyone: whether any origin is allowed.
    pattern: matches all of an allowed origin, in that form; None for no others.
    """

    listed: frozenset[str] = frozenset()
    everyone: bool = False
    pattern: re.Pattern[str] | None = field(default=None)

    @classmethod
    def parse(
        cls, origins: Iterable[str], pattern: str | None = None, *, option: str = "allow_origin_pat"
    ) -> AllowedOrigins:
        """The origins of options, where "*" stands for all.

        pattern: a regular expression; "" and None for none.
        option: the name of the option with the pattern.
        Raises BadOption for a pattern that is none.
        """
        origins = list(origins)
        try:
            compiled = re.compile(pattern) if pattern else None
        except re.error as exc:
            raise BadOption(f"{option}={pattern}: not a regular expression: {exc}") from exc
        return cls(frozenset(map(normalized, origins)) - {"*", ""}, "*" in origins, compiled)

    def allows(self, origin: str) -> bool:
        """Whether a page from `origin` is allowed, though it is not the server's own."""
        if self.everyone:
            return True
        if normalized(origin) in self.listed:
            return True
        # A pattern may be written for either form: with the default port, or without as browsers send it.
        forms = (normalized(origin), origin.lower())
        return self.pattern is not None and any(self.pattern.fullmatch(form) for form in forms)


def foreign_page(headers: RequestHeaders, scheme: str, allowed: AllowedOrigins) -> str | None:
    """What shows that a request comes from a page that may not make it, in words; None if nothing does.

    headers: those of an HTTP request, or of one for a WebSocket.
    scheme: how the request came to the server, as in ASGI: http, https, ws or wss.
    """
    origins = headers.getlist("origin")
    host = headers.get("host")
    if len(origins) > 1:
        return "several headers Origin"
    if origins:
        [origin] = origins
        if allowed.allows(origin) or is_own_origin(origin, host, scheme):
            return None
        return f"the origin {origin[:200]!r}"
    site = headers.get("sec-fetch-site")
    if site is None or site in SAME_SITE or allowed.everyone:
        return None
    # Requests without CORS, such as those of <img> and <script>, have no Origin, but usually a Referer.
    page = foreign_referer(headers, scheme, allowed)
    return f"another site (Sec-Fetch-Site: {site[:20]})" if page == NO_REFERER else page


NO_REFERER = "no Referer"


def foreign_referer(headers: RequestHeaders, scheme: str, allowed: AllowedOrigins) -> str | None:
    """As `foreign_page`, by the header Referer alone; NO_REFERER if it is missing or makes no sense."""
    page = origin_of(headers.get("referer") or "")
    if page is None:
        return NO_REFERER
    if allowed.allows(page) or is_own_origin(page, headers.get("host"), scheme):
        return None
    return f"the origin {page[:200]!r}"


def is_navigation(method: str, headers: RequestHeaders) -> bool:
    """Whether the user follows a link, or types an address: the page that had the link does not see the answer."""
    return (
        method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and "origin" not in headers
    )


def is_own_origin(origin: str, host: str | None, scheme: str = "http") -> bool:
    """Whether an origin is the Host of the request itself.

    An origin of https is believed though the request came by http, as a proxy may have taken TLS off.
    """
    parts = _split(origin)
    if parts is None or not host:
        return False
    origin_scheme, netloc = parts
    if origin_scheme == "http" and scheme in SECURE_SCHEMES:
        return False
    return netloc == _without_port(host.lower(), origin_scheme)


def normalized(origin: str) -> str:
    """An origin in lower case, without a slash at its end and without the default port of its scheme."""
    origin = origin.strip().rstrip("/").lower()
    parts = _split(origin)
    return origin if parts is None else "://".join(parts)


def origin_of(url: str) -> str | None:
    """The origin of an absolute URL; None if it has none."""
    parts = _split(url)
    return None if parts is None else "://".join(parts)


def _split(url: str) -> tuple[str, str] | None:
    """Scheme and host of a URL, in lower case, with the port unless it is the default; None if it lacks either."""
    try:
        parts = urlsplit(url.lower())
    except ValueError:  # such as http://[
        return None
    if not (parts.scheme and parts.netloc):
        return None
    return parts.scheme, _without_port(parts.netloc, parts.scheme)


def _without_port(netloc: str, scheme: str) -> str:
    return netloc.removesuffix(f":{DEFAULT_PORTS[scheme]}") if scheme in DEFAULT_PORTS else netloc
