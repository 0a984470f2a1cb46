"""The second thing that a page has to send with a cookie, which no page of another site can read. Pure.

As in Jupyter Server, whose clients send it: the value of the cookie `_xsrf` again, as header X-XSRFToken or as the
parameter `_xsrf`. The value only has to be the same. It is not bound to the login, as servers on other ports of the
host share the cookie.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs

from ..origin import RequestHeaders

COOKIE = "_xsrf"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
MIN_CHARS = 16
"""A shorter value is not from a server: all of them make 32 characters and more."""


def make_xsrf() -> str:
    return secrets.token_hex(16)


def set_xsrf_header(value: str, *, secure: bool) -> str:
    """The value of Set-Cookie. Scripts of our pages have to read it."""
    return f"{COOKIE}={value}; Path=/; SameSite=Strict" + ("; Secure" if secure else "")


def missing_xsrf(cookies: Mapping[str, str], *, secure: bool) -> str | None:
    """The value of Set-Cookie that gives a browser its XSRF token; None if it has one."""
    return None if cookies.get(COOKIE) else set_xsrf_header(make_xsrf(), secure=secure)


def has_xsrf(
    cookies: Mapping[str, str], headers: RequestHeaders, query_string: bytes, form_value: str | None = None
) -> bool:
    """Whether a request repeats its cookie's value.

    form_value: the parameter of a form in the body.
    """
    cookie = cookies.get(COOKIE)
    if not cookie or len(cookie) < MIN_CHARS:
        return False
    query = parse_qs(query_string.decode("latin-1"))
    given = [headers.get("x-xsrftoken"), headers.get("x-csrftoken"), form_value, *query.get(COOKIE, [])]
    return any([one is not None and hmac.compare_digest(one.encode(), cookie.encode()) for one in given])
