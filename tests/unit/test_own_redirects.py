"""Redirects that lead to the server itself."""

from __future__ import annotations

from fps_kernels.serving.own_redirects import own_path

from ..support.cases import for_each


@for_each(
    ("location", "path"),
    [
        ("http://h:1/a?b=c#d", "/a?b=c#d"),
        ("https://H:1/a%2Fb", "/a%2Fb"),
        ("http://h:1", "/"),
        ("/a", "/a"),
        ("../a", "../a"),
        ("http://h/a", "http://h/a"),
        ("http://other:1/a", "http://other:1/a"),
        ("http://h:1//evil.example/a", "http://h:1//evil.example/a"),
        ("http://h:1@evil.example/a", "http://h:1@evil.example/a"),
        ("ftp://h:1/a", "ftp://h:1/a"),
        ("http://[", "http://["),
    ],
)
def test_only_what_names_the_server_becomes_a_path(location: str, path: str) -> None:
    assert own_path(location, "h:1") == path


def test_without_a_host_nothing_is_the_servers_own() -> None:
    assert own_path("http://h:1/a", None) == "http://h:1/a"
