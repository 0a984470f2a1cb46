"""Match: from the path and the verb of a request to an endpoint of the notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import unquote

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from ..api.responses import error_response
from .parsing.endpoints import Endpoint, EndpointTable, PathMatch


class Answer(Protocol):
    """Answers a request for an endpoint. parameters: the parameters of the path, decoded."""

    async def __call__(
        self, endpoint: Endpoint, parameters: Mapping[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None: ...


class EndpointRoute(BaseRoute):
    """A route for all endpoints of a notebook.

    It compares the path as it was sent, still percent-encoded, where Starlette's routes compare the decoded one:
    an encoded slash is part of a parameter. The path is looked up once; the result is in `scope["endpoint"]`.
    """

    def __init__(self, table: EndpointTable, answer: Answer) -> None:
        self._table = table
        self._answer = answer

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or (match := self._table.find(raw_path(scope))) is None:
            return Match.NONE, {}
        return Match.FULL, {"endpoint": match, "path_params": match.parameters}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        match: PathMatch = scope["endpoint"]
        endpoint = self._table.endpoint(match, scope["method"])
        if endpoint is None:
            allowed = ", ".join(self._table.allowed(match.path))
            response = error_response(405, f"{scope['method']} is not allowed here", {"Allow": allowed})
            await response(scope, receive, send)
        else:
            await self._answer(endpoint, match.parameters, scope, receive, send)


def raw_path(scope: Scope) -> str:
    """The path of a request below the base URL, percent-encoded as it was sent; "" when it is not below."""
    path: str = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
    root: str = scope.get("root_path", "")  # decoded
    segments = path.split("/")
    depth = root.count("/") + 1
    if unquote("/".join(segments[:depth])) != root:
        return ""  # an encoded slash stands where the base URL has a plain one
    return "".join(f"/{segment}" for segment in segments[depth:])
