"""The endpoints of a notebook, and which of them a request is for.

A path is literal, except for segments `:name`: these are parameters, each of which matches one segment that is not
empty. Paths are compared segment by segment, and decoded only after they were split, so that %2F does not end a
segment. A trailing slash counts. Paths without parameters take precedence; among the others, the one whose first
parameter comes later does. Ties are broken by the notebook's order.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_NAME = re.compile(r"[\w-]+")
_DOUBTFUL = re.compile(r"[(){}\[\]*?\\^|\s]")
"""Characters that suggest more than a path: a pattern, a query, or a comment after the path."""


class _Segment(NamedTuple):
    """A segment of a path: its decoded text, or the name of a parameter."""

    text: str
    is_parameter: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What runs for one verb of one path.

    source: its cells, joined in the notebook's order, with a newline after each.
    response_info: its ResponseInfo cells, joined in the same way; None if there are none.
    stream: whether its output is sent while it runs.
    cells: the numbers of the cells that `source` was joined from.
    """

    path: str
    verb: str
    source: str
    response_info: str | None = None
    stream: bool = False
    cells: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PathMatch:
    """The path of the notebook that a request is for.

    path: as the notebook writes it.
    verbs: the verbs that have cells.
    parameters: the values of the path's parameters, decoded.
    """

    path: str
    verbs: tuple[str, ...]
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class EndpointTable:
    """What a parser makes of a notebook.

    endpoints: the endpoints in the notebook's order.
    seeds: the cells that each kernel runs before it is used.
    warnings: what the notebook's author should know, one line each.
    document: the Swagger document of the notebook, if it has one.
    """

    endpoints: tuple[Endpoint, ...]
    seeds: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    document: dict[str, Any] | None = None
    _by_path: dict[str, dict[str, Endpoint]] = field(init=False, repr=False, compare=False)
    _routes: tuple[tuple[str, tuple[_Segment, ...]], ...] = field(init=False, repr=False, compare=False)
    _literal: dict[tuple[str, ...], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_path: dict[str, dict[str, Endpoint]] = {}
        for endpoint in self.endpoints:
            by_path.setdefault(endpoint.path, {})[endpoint.verb] = endpoint
        ordered = in_order(by_path)
        literal: dict[tuple[str, ...], str] = {}
        for path in ordered:
            if not parameters_of(path):
                literal.setdefault(tuple(segment.text for segment in _segments(path)), path)
        routes = tuple((path, _segments(path)) for path in ordered if parameters_of(path))
        object.__setattr__(self, "_by_path", {path: by_path[path] for path in ordered})
        object.__setattr__(self, "_literal", literal)
        object.__setattr__(self, "_routes", routes)

    def paths(self) -> tuple[str, ...]:
        """All paths, in their order of precedence."""
        return tuple(self._by_path)

    def verbs(self) -> list[tuple[str, list[str]]]:
        """Each path and its verbs, in the order of the notebook."""
        verbs: dict[str, list[str]] = {}
        for endpoint in self.endpoints:
            verbs.setdefault(endpoint.path, []).append(endpoint.verb)
        return list(verbs.items())

    def find(self, raw_path: str) -> PathMatch | None:
        """The path that a request is for; None if there is none.

        raw_path: the path of the request, still percent-encoded, without the query.
        """
        if not raw_path.startswith("/"):
            return None
        raw = raw_path[1:].split("/")
        segments = tuple(map(unquote, raw))
        if path := self._literal.get(segments):
            return PathMatch(path, tuple(self._by_path[path]), {})
        for path, route in self._routes:
            if (parameters := _match(route, segments)) is not None:
                return PathMatch(path, tuple(self._by_path[path]), parameters)
        return None

    def allowed(self, path: str) -> tuple[str, ...]:
        """The verbs that a path answers, for the Allow header. path: as the notebook writes it."""
        verbs = self._by_path.get(path, {})
        return (*(verb for verb in VERBS if verb in verbs or (verb == "HEAD" and "GET" in verbs)), "OPTIONS")

    def endpoint(self, match: PathMatch, verb: str) -> Endpoint | None:
        """The endpoint for a verb; None if there is none. HEAD is answered by GET unless it has cells of its own."""
        verbs = self._by_path[match.path]
        return verbs.get(verb) or (verbs.get("GET") if verb == "HEAD" else None)


def parameters_of(path: str) -> list[str]:
    """The names of the parameters of a path, in their order."""
    return [segment[1:] for segment in path.split("/") if segment.startswith(":")]


def in_order(paths: Sequence[str] | dict[str, Any]) -> list[str]:
    """Paths in their order of precedence; ties keep the order given."""
    return sorted(paths, key=_first_parameter, reverse=True)  # stable, also when reversed


def check_path(path: str) -> None:
    """Raises ValueError when the parameters of a path have no names, or not one name each."""
    if not path.startswith("/"):
        raise ValueError(f"the path {path!r} does not start with a slash")
    names = parameters_of(path)
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{':' + name!r} in {path!r} is not a name: a parameter has only letters, digits, _ and -")
        if names.count(name) > 1:
            raise ValueError(f"the parameter ':{name}' is in {path!r} more than once")


def doubts(path: str) -> list[str]:
    """The segments of a path that are literal but do not look it, one line each."""
    found = []
    for segment in path.split("/"):
        if segment.startswith(":"):
            continue
        if re.search(r":\w", segment):
            found.append(f"{segment!r} in {path!r} is literal: a parameter is a whole segment")
        elif _DOUBTFUL.search(segment):
            found.append(f"{segment!r} in {path!r} is literal: a path has no patterns, no query and no comment")
    return found


def unreachable(paths: Sequence[str] | dict[str, Any]) -> list[tuple[str, str]]:
    """Each path that never gets a request, with the path that gets its requests."""
    found: list[tuple[str, str]] = []
    before: list[str] = []
    for path in in_order(paths):
        if winner := next((earlier for earlier in before if _covers(_segments(earlier), _segments(path))), None):
            found.append((path, winner))
        before.append(path)
    return found


def _first_parameter(path: str) -> int:
    return next((at for at, segment in enumerate(path.split("/")) if segment.startswith(":")), sys.maxsize)


def _segments(path: str) -> tuple[_Segment, ...]:
    return tuple(
        _Segment(segment[1:], True) if segment.startswith(":") else _Segment(unquote(segment), False)
        for segment in path[1:].split("/")
    )


def _match(route: tuple[_Segment, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    if len(route) != len(segments):
        return None
    parameters = {}
    for expected, segment in zip(route, segments, strict=True):
        if expected.is_parameter:
            if not segment:
                return None
            parameters[expected.text] = segment
        elif expected.text != segment:
            return None
    return parameters


def _covers(earlier: tuple[_Segment, ...], later: tuple[_Segment, ...]) -> bool:
    """Whether every request for the later path also matches the earlier one."""
    if len(earlier) != len(later):
        return False
    pairs = zip(earlier, later, strict=True)
    return all((mine.is_parameter and other.text != "") or mine == other for mine, other in pairs)
