"""Which pages may use the server, by the headers that browsers send."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from fps_kernels.errors import BadOption
from fps_kernels.serving.origin import AllowedOrigins, foreign_page, is_navigation, normalized

from ..support.cases import for_each

NONE = AllowedOrigins()


def headers(host: str | None = "localhost:8888", **values: str) -> Headers:
    """Headers by names with underscores."""
    given = values if host is None else {"host": host, **values}
    return Headers({name.replace("_", "-"): value for name, value in given.items()})


@for_each(
    ("origin", "host", "scheme"),
    [
        ("http://localhost:8888", "localhost:8888", "http"),
        ("HTTP://LocalHost:8888", "localhost:8888", "ws"),
        ("http://localhost:8888", "LOCALHOST:8888", "http"),
        ("http://[::1]:8888", "[::1]:8888", "http"),
        ("http://example.org", "example.org:80", "http"),
        ("http://example.org:80", "example.org", "http"),
        ("https://example.org", "example.org:443", "https"),
        ("https://example.org:443", "example.org", "wss"),
        ("https://example.org", "example.org", "http"),  # a proxy took TLS off
        ("https://example.org:8443", "example.org:8443", "https"),
    ],
)
def test_the_own_origin_is_allowed(origin: str, host: str, scheme: str) -> None:
    assert foreign_page(headers(host, origin=origin), scheme, NONE) is None


@for_each(
    ("origin", "host", "scheme"),
    [
        ("http://evil.example", "localhost:8888", "http"),
        ("http://localhost:8790", "localhost:8888", "http"),  # another server of this machine
        ("http://127.0.0.1:8888", "localhost:8888", "http"),
        ("http://localhost", "localhost:8888", "http"),
        ("http://localhost:8888", "localhost", "http"),
        ("http://localhost:8888.evil.example", "localhost:8888", "http"),
        ("http://localhost:88880", "localhost:8888", "http"),
        ("http://user@localhost:8888", "localhost:8888", "http"),
        ("http://example.org", "example.org", "https"),  # a page without TLS acts on a server with it
        ("http://example.org", "example.org:443", "https"),
        ("https://example.org:443", "example.org:80", "http"),
        ("null", "localhost:8888", "http"),
        ("", "localhost:8888", "http"),
        ("localhost:8888", "localhost:8888", "http"),
        ("http://[", "localhost:8888", "http"),
        ("http://evil.example", None, "http"),
        ("http://", "", "http"),
    ],
)
def test_another_origin_is_named(origin: str, host: str | None, scheme: str) -> None:
    assert foreign_page(headers(host, origin=origin), scheme, NONE) == f"the origin {origin!r}"


def test_two_origins_are_refused_though_one_is_allowed() -> None:
    raw = [(b"host", b"localhost:8888"), (b"origin", b"http://localhost:8888"), (b"origin", b"http://evil.example")]
    assert foreign_page(Headers(raw=raw), "http", NONE) == "several headers Origin"


@for_each("listed", ["https://good.example", "HTTPS://Good.Example/", "https://good.example:443"])
@for_each("origin", ["https://good.example", "https://GOOD.example", "https://good.example:443"])
def test_a_listed_origin_is_compared_without_case_and_default_port(listed: str, origin: str) -> None:
    allowed = AllowedOrigins.parse([listed])
    assert foreign_page(headers(origin=origin), "http", allowed) is None
    for other in ("http://good.example", "https://good.example:444", "https://a.good.example", "null"):
        assert foreign_page(headers(origin=other), "http", allowed) is not None


def test_a_star_allows_all() -> None:
    allowed = AllowedOrigins.parse(["*"])
    assert foreign_page(headers(origin="null"), "http", allowed) is None
    assert foreign_page(headers(sec_fetch_site="cross-site"), "http", allowed) is None


def test_a_pattern_has_to_match_all_of_the_origin() -> None:
    written_with_ports = AllowedOrigins.parse([], "https://a[.]example:443|http://.*:80")
    for origin in ("https://a.example:443", "http://b:80"):
        assert written_with_ports.allows(origin)
    allowed = AllowedOrigins.parse([], "https://.*[.]example")
    assert foreign_page(headers(origin="https://u1.example"), "http", allowed) is None
    for origin in ("https://u1.example.evil.org", "https://u1.example:8443", "xhttps://u1.example"):
        assert foreign_page(headers(origin=origin), "http", allowed) is not None


def test_a_pattern_that_is_none_is_named() -> None:
    with pytest.raises(BadOption) as refusal:
        AllowedOrigins.parse([], "https://(", option="kernels.allow_origin_pat")
    assert refusal.value.message.startswith("kernels.allow_origin_pat=https://(: not a regular expression: ")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "something-new"])
def test_without_an_origin_what_the_browser_says_of_the_site_counts(site: str) -> None:
    assert foreign_page(headers(sec_fetch_site=site), "http", NONE) == f"another site (Sec-Fetch-Site: {site})"


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_a_request_of_the_own_page_or_of_the_user_is_allowed(site: str) -> None:
    assert foreign_page(headers(sec_fetch_site=site), "http", NONE) is None


@for_each(
    ("referer", "refused"),
    [
        ("https://good.example/page?x", None),
        ("http://localhost:8888/lab", None),
        ("http://evil.example/", "the origin 'http://evil.example'"),
        ("nonsense", "another site (Sec-Fetch-Site: same-site)"),
    ],
)
def test_the_picture_of_a_listed_page_is_known_by_its_referer(referer: str, refused: str | None) -> None:
    allowed = AllowedOrigins.parse(["https://good.example"])
    assert foreign_page(headers(sec_fetch_site="same-site", referer=referer), "http", allowed) == refused


def test_a_program_sends_none_of_these_headers() -> None:
    assert foreign_page(headers(), "http", NONE) is None
    assert foreign_page(headers(None), "http", NONE) is None


@for_each(
    ("method", "mode", "destination", "expected"),
    [
        ("GET", "navigate", "document", True),
        ("HEAD", "navigate", "document", True),
        ("POST", "navigate", "document", False),
        ("GET", "navigate", "iframe", False),
        ("GET", "no-cors", "image", False),
        ("GET", "cors", "empty", False),
    ],
)
def test_only_a_link_of_the_whole_page_is_a_navigation(
    method: str, mode: str, destination: str, expected: bool
) -> None:
    assert is_navigation(method, headers(sec_fetch_mode=mode, sec_fetch_dest=destination)) is expected


@for_each(
    ("origin", "form"),
    [
        ("HTTP://A.example:80/", "http://a.example"),
        ("https://a.example:80", "https://a.example:80"),
        ("null", "null"),
        ("*", "*"),
    ],
)
def test_origins_have_one_form(origin: str, form: str) -> None:
    assert normalized(origin) == form
