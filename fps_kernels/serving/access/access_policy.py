"""Who may come in at a server of ours: the decisions, by what stands in a request. Pure: time is passed in."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..origin import NO_REFERER, AllowedOrigins, RequestHeaders, foreign_page, foreign_referer, is_navigation
from .credentials import PROXY_SECRET_HEADER, ProxyUsers, given_tokens, same
from .host_names import LocalNames
from .xsrf import SAFE_METHODS


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, or the one for a WebSocket, as far as it matters here.

    method: GET for a WebSocket. path: unquoted. target: the path as it was sent. scheme: as in ASGI.
    received_host: the Host as it was sent, if a proxy has named another one.
    """

    method: str
    path: str
    target: str
    scheme: str
    headers: RequestHeaders
    query_string: bytes
    is_websocket: bool
    received_host: str | None = None

    @property
    def secure(self) -> bool:
        return self.scheme in ("https", "wss")

    @property
    def is_read(self) -> bool:
        return not self.is_websocket and self.method in ("GET", "HEAD")

    @property
    def is_navigation(self) -> bool:
        return not self.is_websocket and is_navigation(self.method, self.headers)

    @property
    def wants_page(self) -> bool:
        """Whether a person waits for a page, and not a program for an answer."""
        if not self.is_read:
            return False
        destination = self.headers.get("sec-fetch-dest")
        return destination == "document" or (destination is None and "text/html" in (self.headers.get("accept") or ""))


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that may not come in.

    message: names what to set. why: for the log only.
    """

    status: int
    message: str
    why: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What lets a request in.

    user: "" where all are one.
    ambient: whether the browser sends it with the requests of any page, so that these need an XSRF token, too.
    """

    user: str = ""
    ambient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """Who may come in.

    token: what requests have to show; "" for none.
    password_hash: what a login's password must have; "" for none. Counts only where there are logins.
    proxy: the proxy whose word for its users is believed.
    client_certificates: whether the TLS layer asks for them.
    origins: the origins whose pages may use the server, besides its own.
    local_names: the names by which the server may be called; None for any.
    foreign_status: the status that answers a request of a foreign page.
    local_option: what to set to be called by other names, in the words of the command.
    """

    token: str = field(default="", repr=False)
    password_hash: str = field(default="", repr=False)
    proxy: ProxyUsers | None = None
    client_certificates: bool = False
    origins: AllowedOrigins = field(default_factory=AllowedOrigins)
    local_names: LocalNames | None = None
    foreign_status: int = 403
    local_option: str = "local_hostnames or allow_remote_access"

    @property
    def closed(self) -> bool:
        """Whether requests have to show something."""
        return bool(self.token or self.password_hash or self.proxy)

    @property
    def open(self) -> bool:
        """Whether nothing at all is asked for, neither here nor by TLS."""
        return not (self.closed or self.client_certificates)

    @property
    def proxy_secret(self) -> str:
        """What the proxy shows; "" without one."""
        return "" if self.proxy is None else self.proxy.secret

    @property
    def secrets(self) -> list[str]:
        """What must not stand in a log."""
        return [secret for secret in (self.token, self.password_hash, self.proxy_secret) if secret]

    def refusal(self, ask: Ask) -> Refusal | None:
        """Whether a request comes by a wrong name, or from a page that may not make it.

        A user who follows a link of another site makes such a request, but may: see `Ask.is_navigation`.
        """
        if self.local_names is not None:
            for host in (ask.headers.get("host"), ask.received_host):
                if not self.local_names.allows(host):
                    shown = str(host)[:200]
                    message = f"Host {shown} is not allowed: set {self.local_option}"
                    return Refusal(403, message, f"the Host {shown!r}")
        page = foreign_page(ask.headers, ask.scheme, self.origins)
        if page is None or ask.is_navigation:
            return None
        if ask.is_websocket:
            return Refusal(403, "Cross origin request refused: set allow_origin", page)
        message = "Not found" if self.foreign_status == 404 else "Cross origin request refused: set allow_origin"
        return Refusal(self.foreign_status, message, page)

    def comes_from_elsewhere(self, ask: Ask) -> bool:
        """Whether a user follows a link of another site: cookies for this one do not come with it."""
        return ask.is_navigation and foreign_page(ask.headers, ask.scheme, self.origins) is not None

    def grant(self, ask: Ask) -> Grant | None:
        """What lets a request in, of all but cookies."""
        if not self.closed:
            return Grant()
        if self.proxy is not None and (user := self.proxy.user(ask.headers)) is not None:
            return Grant(user, ambient="cookie" in ask.headers)
        return Grant() if self.token and any([same(one, self.token) for one in self.shown_tokens(ask)]) else None

    def earns_cookie(self, grant: Grant) -> bool:
        """Whether a request was let in by the token: what a proxy says of a user holds for one request only."""
        return bool(self.token) and not grant.ambient and not grant.user

    def shown_tokens(self, ask: Ask) -> list[str]:
        """The tokens that a request shows, right or wrong; none where nothing asks for one."""
        return given_tokens(ask.query_string, ask.headers) if self.token else []

    def shown_proxy_secrets(self, ask: Ask) -> list[str]:
        """What a request shows as the secret of a proxy, right or wrong; none where there is no proxy."""
        return ask.headers.getlist(PROXY_SECRET_HEADER) if self.proxy is not None else []


def needs_xsrf(ask: Ask, grant: Grant) -> bool:
    """Whether a request has to show that a page of ours has made it."""
    return grant.ambient and not ask.is_websocket and ask.method not in SAFE_METHODS


def includes_answer(ask: Ask, grant: Grant, origins: AllowedOrigins) -> str | None:
    """What shows that another site's page includes the answer, where the browser does not say of which site it is."""
    if not grant.ambient or "origin" in ask.headers or "sec-fetch-site" in ask.headers or ask.wants_page:
        return None
    page = foreign_referer(ask.headers, ask.scheme, origins)
    return None if page == NO_REFERER else page
