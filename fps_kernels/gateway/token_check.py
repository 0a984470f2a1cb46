"""The token, checked around each route: a path that no route has is 404 with and without it."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from ..api.table import FALLBACK
from .refusals import refuse


class TokenCheck:
    """Tells which requests may pass.

    token: the token that requests must have; empty to let all of them pass.
    open_paths: the paths that need no token, unquoted and with the base URL.
    """

    def __init__(self, token: str, open_paths: Collection[str] = ()) -> None:
        self._token = token
        self._open_paths = frozenset(open_paths)

    def passes(self, scope: Scope) -> bool:
        """Whether a request has the token or needs none. A token in the URL wins over the header, even if empty."""
        if not self._token or scope["path"] in self._open_paths:
            return True
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if "token" in query:
            return hmac.compare_digest(query["token"][-1].encode(), _utf8(self._token))
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, given = header.partition(b" ")
        if scheme.lower() not in (b"token", b"bearer"):
            return False
        # Headers have no charset of their own: curl sends that of its terminal, Tornado's client latin-1.
        given = given.strip()
        return any([hmac.compare_digest(given, form) for form in (_utf8(self._token), _latin_1(self._token))])


class GuardedRoute(BaseRoute):
    """A route for requests that pass the check. To others its path answers 401, whatever the method."""

    def __init__(self, route: BaseRoute, check: TokenCheck) -> None:
        self._route = route
        self._check = check

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = self._route.matches(scope)
        if match is not Match.NONE and not self._check.passes(scope):
            return Match.FULL, {"endpoint": _unauthorized}
        return match, child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope.get("endpoint") is _unauthorized
        await (_unauthorized if refused else self._route.handle)(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        return self._route.url_path_for(name, **path_params)


async def _unauthorized(scope: Scope, receive: Receive, send: Send) -> None:
    await refuse(scope, 401, "", "no token, or a wrong one")(scope, receive, send)


def guarded(routes: Iterable[BaseRoute], check: TokenCheck) -> list[BaseRoute]:
    """The routes behind the check, except those that only say that a path does not exist."""
    return [route if getattr(route, "name", None) == FALLBACK else GuardedRoute(route, check) for route in routes]


def _utf8(token: str) -> bytes:
    return token.encode(errors="surrogateescape")  # the bytes of the command line


def _latin_1(token: str) -> bytes:
    try:
        return token.encode("latin-1")
    except UnicodeEncodeError:
        return _utf8(token)
