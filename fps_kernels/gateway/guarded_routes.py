"""Routes behind the token: a path that no route has is 404 with and without it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from ..api.table import FALLBACK
from ..serving.access.access_layer import GRANTED_KEY
from ..serving.access.refusal_log import RefusalLog
from ..serving.json_responses import error_response


class GuardedRoute(BaseRoute):
    """A route for requests that the access layer lets in. To others its path answers 401, whatever the method.

    open_paths: the paths that all requests may have, unquoted and with the base URL.
    """

    def __init__(self, route: BaseRoute, open_paths: Collection[str], log: RefusalLog) -> None:
        self._route = route
        self._open_paths = open_paths
        self._log = log

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = self._route.matches(scope)
        is_open = scope.get(GRANTED_KEY, False) or scope["path"] in self._open_paths
        if match is not Match.NONE and not is_open:
            return Match.FULL, {"endpoint": self._unauthorized}
        return match, child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope.get("endpoint") == self._unauthorized
        await (self._unauthorized if refused else self._route.handle)(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        return self._route.url_path_for(name, **path_params)

    async def _unauthorized(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._log.refused(scope, 401, "no token, or a wrong one")
        await error_response(401, "")(scope, receive, send)


def guarded(routes: Iterable[BaseRoute], open_paths: Collection[str], log: RefusalLog) -> list[BaseRoute]:
    """The routes behind the token, except those that only say that a path does not exist."""
    paths = frozenset(open_paths)
    return [route if getattr(route, "name", None) == FALLBACK else GuardedRoute(route, paths, log) for route in routes]
