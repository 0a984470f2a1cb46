"""The cookie of a browser that has logged in: who, until when, signed. Pure: time is passed in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict

from ..origin import RequestHeaders

LIFETIME_S = 14 * 86_400
"""Seconds that a login lasts."""
MAX_LOGGED_OUT = 1_000
"""Cookies that are remembered as logged out until they expire; beyond that, the oldest are forgotten."""


def cookies_of(headers: RequestHeaders) -> dict[str, str]:
    """The cookies of a request, by name; the first of each. One that makes no sense does not hide the others."""
    cookies: dict[str, str] = {}
    for pair in "; ".join(headers.getlist("cookie")).split(";"):
        name, equals, value = pair.partition("=")
        if equals:
            cookies.setdefault(name.strip(), value.strip().strip('"'))
    return cookies


def signing_key(secret: bytes, token: str, password_hash: str, proxy_secret: str = "") -> bytes:
    """The key of a server's cookies: if another secret lets in, those that were made before are worthless."""
    ways_in = "\0".join((token, password_hash, proxy_secret))
    return hmac.new(secret, ways_in.encode(errors="surrogateescape"), hashlib.sha256).digest()


class LoginCookies:
    """Makes and checks the cookies of one server.

    secret: the key that they are signed with. Another key makes all of them worthless.
    port: the server's, which stands in the cookie's name: browsers send a cookie to all ports of a host.
    path: what the server's paths begin with. Below another path of the host there may be another user's server, as
      behind JupyterHub, which is not sent the cookie.
    """

    def __init__(self, secret: bytes, port: int, path: str = "/") -> None:
        self._secret = secret
        self._port = port
        self._path = path
        self._logged_out: OrderedDict[str, None] = OrderedDict()

    def name(self, *, secure: bool) -> str:
        """The cookie's name. With TLS no page without TLS can set it, and without a path no other host, either."""
        prefix = "" if not secure else "__Host-" if self._path == "/" else "__Secure-"
        return f"{prefix}fps-kernels-{self._port}"

    def make(self, user: str, now: float) -> str:
        """The value of a new cookie.

        user: "" where all are one user. now: seconds since the epoch.
        """
        encoded = base64.urlsafe_b64encode(user.encode()).decode().rstrip("=")
        text = f"1.{int(now + LIFETIME_S)}.{secrets.token_urlsafe(16)}.{encoded}"
        return f"{text}.{self._signature(text)}"

    def user(self, value: str, now: float) -> str | None:
        """The user of a cookie; None if it is not one of ours, has expired, or was logged out."""
        text, _, signature = value.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(text).encode()) or value in self._logged_out:
            return None
        _, expires, _, encoded = text.split(".")
        if now >= int(expires):
            return None
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()

    def log_out(self, value: str) -> None:
        """Have a cookie be worthless from now on, wherever a copy of it is."""
        self._logged_out[value] = None
        if len(self._logged_out) > MAX_LOGGED_OUT:
            self._logged_out.popitem(last=False)

    def set_header(self, value: str, *, secure: bool) -> str:
        """The value of Set-Cookie."""
        return f"{self.name(secure=secure)}={value}; Max-Age={LIFETIME_S}; {self._attributes(secure)}"

    def clear_header(self, *, secure: bool) -> str:
        """The value of Set-Cookie that has the browser forget it."""
        return f"{self.name(secure=secure)}=; Max-Age=0; {self._attributes(secure)}"

    def _signature(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def _attributes(self, secure: bool) -> str:
        return f"Path={self._path}; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
