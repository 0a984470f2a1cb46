"""Which endpoint a request is for."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fps_kernels.notebook_http.parsing.endpoints import (
    Endpoint,
    EndpointTable,
    PathMatch,
    check_path,
    doubts,
    unreachable,
)

from ..support.cases import for_each


def table(*annotations: str) -> EndpointTable:
    """Of "VERB /path" each."""
    endpoints = []
    for number, annotation in enumerate(annotations):
        verb, path = annotation.split(" ", 1)
        endpoints.append(Endpoint(path, verb, f"# {annotation}\n", cells=(number,)))
    return EndpointTable(tuple(endpoints))


def found(raw_path: str, *paths: str) -> tuple[str, dict[str, str]] | None:
    match = table(*(f"GET {path}" for path in paths)).find(raw_path)
    return None if match is None else (match.path, match.parameters)


def test_the_order_of_precedence() -> None:
    made = table("POST /:foo", "POST /hello/:foo", "GET /hello/:foo", "PUT /hello/world", "GET /a/b/:c", "GET /")
    assert made.paths() == ("/hello/world", "/", "/a/b/:c", "/hello/:foo", "/:foo")


def test_ties_keep_the_notebooks_order() -> None:
    assert table("GET /b/:x/c", "GET /a/:x", "GET /z", "GET /y").paths() == ("/z", "/y", "/b/:x/c", "/a/:x")
    assert found("/1/2", "/:a/:b", "/:c/2") == ("/:a/:b", {"a": "1", "b": "2"})
    assert found("/1/2", "/:c/2", "/:a/:b") == ("/:c/2", {"c": "1"})


@for_each(
    ("raw_path", "expected"),
    [
        ("/hello/person", ("/hello/person", {})),
        ("/hello/governor", ("/hello/:person", {"person": "governor"})),
        ("/hello", None),
        ("/hello/", None),
        ("/hello/person/", None),
        ("/hello/a/b", ("/hello/:first/:second", {"first": "a", "second": "b"})),
        ("/hello//b", None),
        ("/hello/a/", None),
        ("", None),
        ("hello/person", None),
        ("*", None),
    ],
)
def test_a_parameter_is_one_segment(raw_path: str, expected: tuple[str, dict[str, str]] | None) -> None:
    assert found(raw_path, "/hello/:person", "/hello/person", "/hello/:first/:second") == expected


def test_a_trailing_slash_counts() -> None:
    assert found("/a", "/a/", "/a") == ("/a", {})
    assert found("/a/", "/a/", "/a") == ("/a/", {})
    assert found("/a/1/", "/a/:x", "/a/:x/") == ("/a/:x/", {"x": "1"})
    assert found("/a/1/", "/a/:x") is None


def test_the_root() -> None:
    assert found("/", "/", "/:x") == ("/", {})
    assert found("/1", "/", "/:x") == ("/:x", {"x": "1"})


@for_each(
    ("raw", "value"), [("a%2Fb", "a/b"), ("%C3%A9", "é"), ("a+b", "a+b"), ("%2525", "%25"), ("%", "%"), ("%3Ax", ":x")]
)
def test_a_parameter_is_decoded_once_after_the_split(raw: str, value: str) -> None:
    assert found(f"/f/{raw}/g", "/f/:name/g") == ("/f/:name/g", {"name": value})


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert found("/%ff", "/:name") == ("/:name", {"name": "\ufffd"})


@pytest.mark.parametrize("path", ["/a b", "/a%20b"])
def test_literals_are_compared_decoded(path: str) -> None:
    assert found("/a%20b", path) == (path, {})


def test_an_encoded_slash_is_not_a_slash() -> None:
    assert found("/a%2Fb", "/a/b") is None
    assert found("/a%2fb", "/a%2Fb") == ("/a%2Fb", {})


def test_an_encoded_colon_makes_no_parameter() -> None:
    assert found("/%3Aid", "/%3Aid") == ("/%3Aid", {})
    assert found("/:id", "/%3Aid") == ("/%3Aid", {})
    assert found("/7", "/%3Aid") is None


@for_each("path", ["/a.c", "/(.*)", "/[a-c]+", "/c++", "/a$", "/v:version", "/{id}"])
def test_a_path_is_no_pattern(path: str) -> None:
    assert found(path, path) == (path, {})
    assert found("/abc", path) is None


@given(values=st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_a_quoted_parameter_comes_back(values: list[str]) -> None:
    path = "".join(f"/p/:x{number}" for number in range(len(values)))
    raw_path = "".join(f"/p/{quote(value, safe='')}" for value in values)
    match = table(f"GET {path}").find(raw_path)
    assert match is not None
    assert list(match.parameters.values()) == values


SEGMENTS = st.lists(st.sampled_from(["a", "b", ":x", ":y", ":z", "%61", ""]), min_size=1, max_size=4).map(
    lambda segments: "/" + "/".join(segments)
)


@given(paths=st.lists(SEGMENTS, min_size=1, max_size=6, unique=True), segments=st.lists(st.sampled_from("abc")))
def test_an_unreachable_path_is_never_found(paths: list[str], segments: list[str]) -> None:
    for path in paths:
        names = [segment for segment in path.split("/") if segment.startswith(":")]
        assume(len(set(names)) == len(names))
    match = table(*(f"GET {path}" for path in paths)).find("/" + "/".join(segments))
    if match is not None:
        assert match.path not in [path for path, _ in unreachable(paths)]


def test_an_unreachable_path_is_told_with_the_one_that_comes_first() -> None:
    assert unreachable(["/a/:x", "/a/:y", "/a/b", "/:y/b", "/a%2fb", "/a%2Fb"]) == [
        ("/a%2Fb", "/a%2fb"),
        ("/a/:y", "/a/:x"),
    ]


def test_the_allowed_verbs() -> None:
    made = table("DELETE /a", "GET /a", "POST /b", "HEAD /c", "PATCH /c", "PUT /c")
    assert made.allowed("/a") == ("GET", "HEAD", "DELETE", "OPTIONS")
    assert made.allowed("/b") == ("POST", "OPTIONS")
    assert made.allowed("/c") == ("HEAD", "PUT", "PATCH", "OPTIONS")


def test_a_match_has_the_verbs_of_its_path() -> None:
    assert table("GET /a/:x", "POST /a/:x", "PUT /:y/b").find("/a/b") == PathMatch("/a/:x", ("GET", "POST"), {"x": "b"})


def test_head_is_answered_by_get_unless_it_has_cells() -> None:
    made = table("GET /a", "GET /b", "HEAD /b", "POST /c")

    def answer(raw_path: str, verb: str) -> str | None:
        match = made.find(raw_path)
        assert match is not None
        endpoint = made.endpoint(match, verb)
        return None if endpoint is None else endpoint.verb

    assert answer("/a", "HEAD") == "GET"
    assert answer("/b", "HEAD") == "HEAD"
    assert answer("/b", "GET") == "GET"
    assert answer("/c", "HEAD") is None
    assert answer("/c", "GET") is None


@for_each("path", ["a", "/:", "/:a.json", "/:x/:y/:x", "/a/:b c", "/:a:b"])
def test_a_path_with_bad_parameters_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"path|parameter"):
        check_path(path)


@for_each("path", ["/", "/a", "/:a-b/:c_d", "/:naïve", "/a:b"])
def test_a_good_path(path: str) -> None:
    check_path(path)


@for_each("path", ["/v:version", "/{id}", "/(.*)", "/a?b=c", "/a returns all", "/a*"])
def test_what_looks_like_more_than_a_path_is_doubtful(path: str) -> None:
    assert len(doubts(path)) == 1


@for_each("path", ["/:id", "/a.json", "/c++", "/a@b", "/~me/$x", "/10:"])
def test_what_is_a_path_is_not_doubtful(path: str) -> None:
    assert doubts(path) == []
