"""Who may come in, by what stands in a request."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from fps_kernels.errors import BadOption
from fps_kernels.serving.access.access_policy import AccessPolicy, Ask, Grant, includes_answer, needs_xsrf
from fps_kernels.serving.access.credentials import ProxyUsers, given_tokens, same, token_in_query
from fps_kernels.serving.access.guesses import (
    FORGET_S,
    FREE_FAILURES,
    MAX_DELAY_S,
    MAX_WAITING,
    PROXY_MAX_WAITING,
    Guesses,
    Guessing,
    Source,
    is_logged,
)
from fps_kernels.serving.access.host_names import LocalNames
from fps_kernels.serving.access.login_cookie import LIFETIME_S, LoginCookies, cookies_of, signing_key
from fps_kernels.serving.access.login_page import local_path, login_form, step, without_token
from fps_kernels.serving.access.password_hash import hash_password, is_password_hash, password_matches
from fps_kernels.serving.access.reach import check_reach
from fps_kernels.serving.access.refusal_log import FIRST_LINES_BY_PROXY, RefusalLog
from fps_kernels.serving.access.xsrf import has_xsrf
from fps_kernels.serving.origin import AllowedOrigins
from fps_kernels.serving.trusted_proxy import PEER_KEY

from ..support.cases import for_each

TOKEN = "0123456789abcdef"


def headers(**values: str) -> Headers:
    return Headers({name.replace("_", "-"): value for name, value in {"host": "localhost:8888", **values}.items()})


def ask(method: str = "GET", path: str = "/api", *, query: Any = "", websocket: Any = False, **values: str) -> Ask:
    return Ask(method, path, path, "ws" if websocket else "http", headers(**values), query.encode(), websocket)


# --- Host -------------------------------------------------------------------------------------------


@for_each(
    "host",
    ["localhost", "LOCALHOST:8888", "localhost.", "127.0.0.1:1", "127.9.9.9", "[::1]:8888", "[::ffff:127.0.0.1]", None],
)
def test_loopback_is_called_by_these_names(host: str | None) -> None:
    assert LocalNames().allows(host)


@for_each(
    "host",
    [
        "evil.example",
        "evil.example:8888",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "192.0.2.1",
        "0.0.0.0",
        "[::]",
        "[2001:db8::1]:8888",
        "2130706433",
        "127.1",
        "",
        ":8888",
        "localhost@evil.example",
        "[::1",
        "[::1]evil.example",
        "localhost:evil.example",
        "localhost/evil.example",
        "[evil.example]",
    ],
)
def test_another_name_is_refused(host: str) -> None:
    assert not LocalNames.parse(["", "."]).allows(host)
    refusal = AccessPolicy(local_names=LocalNames()).refusal(ask(host=host))
    assert refusal is not None
    assert refusal.status == 403


@pytest.mark.parametrize("host", ["notebooks.lan", "Notebooks.LAN:8888", "notebooks.lan."])
def test_a_listed_name_is_allowed(host: str) -> None:
    assert LocalNames.parse(["Notebooks.lan", "[2001:DB8::1]"]).allows(host)
    assert LocalNames.parse(["[2001:DB8::1]"]).allows("[2001:db8::1]:8888")


def test_a_proxy_does_not_hide_the_host_that_was_sent() -> None:
    policy = AccessPolicy(local_names=LocalNames())
    behind = Ask("GET", "/api", "/api", "http", headers(host="localhost"), b"", False, received_host="evil.example")
    refusal = policy.refusal(behind)
    assert refusal is not None
    assert "evil.example" in refusal.message


def test_any_name_is_allowed_where_no_names_are_asked_for() -> None:
    assert AccessPolicy().refusal(ask(host="evil.example")) is None


# --- Origin -----------------------------------------------------------------------------------------


@for_each("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
@for_each("websocket", [True, False])
def test_a_foreign_page_is_refused_whatever_it_does(method: str, websocket: bool) -> None:
    policy = AccessPolicy(token=TOKEN)
    for values in ({"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}, {"origin": "null"}):
        refusal = policy.refusal(ask("GET" if websocket else method, websocket=websocket, **values))
        assert refusal is not None
        assert (refusal.status, "allow_origin" in refusal.message) == (403, True)


def test_the_original_answers_a_foreign_page_as_if_nothing_were_there() -> None:
    refusal = AccessPolicy(foreign_status=404).refusal(ask(origin="http://evil.example"))
    assert refusal is not None
    assert (refusal.status, refusal.message) == (404, "Not found")


LINK = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}


def test_a_link_of_another_site_is_no_request_of_its_page() -> None:
    policy = AccessPolicy(token=TOKEN)
    assert policy.refusal(ask(path="/lab", **LINK)) is None
    assert policy.comes_from_elsewhere(ask(path="/lab", **LINK))
    assert not policy.comes_from_elsewhere(ask(path="/lab", **LINK | {"sec_fetch_site": "none"}))
    for other in (LINK | {"sec_fetch_dest": "iframe"}, LINK | {"sec_fetch_mode": "no-cors"}):
        assert policy.refusal(ask(path="/lab", **other)) is not None
    assert policy.refusal(ask("POST", path="/lab", **LINK)) is not None


# --- tokens -----------------------------------------------------------------------------------------


def test_without_secrets_everything_is_let_in() -> None:
    policy = AccessPolicy()
    assert (policy.closed, policy.open, policy.grant(ask())) == (False, True, Grant())


@pytest.mark.parametrize(
    "values",
    [
        {"authorization": f"token {TOKEN}"},
        {"authorization": f"Bearer   {TOKEN} "},
        {"sec_websocket_protocol": f"v1.kernel.websocket.jupyter.org, v1.token.websocket.jupyter.org.{TOKEN}"},
    ],
)
def test_the_token_may_stand_in_a_header(values: dict[str, str]) -> None:
    assert AccessPolicy(token=TOKEN).grant(ask(**values)) == Grant()


@for_each(
    ("query", "values"),
    [
        ("", {}),
        ("token=", {"authorization": f"token {TOKEN}"}),
        ("token=x", {"authorization": f"token {TOKEN}"}),
        (f"token={TOKEN}&token=", {}),
        (f"Token={TOKEN}", {}),
        ("", {"authorization": TOKEN}),
        ("", {"authorization": f"Basic {TOKEN}"}),
        ("", {"authorization": f"token {TOKEN}x"}),
        ("", {"authorization": "token "}),
        ("", {"x_token": TOKEN}),
        ("", {"sec_websocket_protocol": TOKEN}),
        ("", {"cookie": f"token={TOKEN}"}),
    ],
)
def test_nothing_else_is_the_token(query: str, values: dict[str, str]) -> None:
    assert AccessPolicy(token=TOKEN).grant(ask(query=query, **values)) is None


def test_the_token_may_stand_in_the_url() -> None:
    assert AccessPolicy(token=TOKEN).grant(ask(query=f"a=b&token={TOKEN}")) == Grant()
    assert token_in_query(b"a=1&token=%20x+y&token=z") == "z"
    assert token_in_query(b"tokens=1") is None
    assert given_tokens(b"", headers(authorization="token a, b")) == ["a, b"]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_token_of_any_characters_is_known_in_both_charsets(token: str) -> None:
    as_header = token.encode().decode("latin-1")
    assert same(as_header, token)
    assert same(token, token)
    assert not same(f"{as_header}x", token)
    assert not same("", token)


def test_a_token_ends_with_the_byte_that_is_a_space_elsewhere() -> None:
    as_header = "à".encode().decode("latin-1")  # its last byte is that of a space without a break
    assert AccessPolicy(token="à").grant(ask(authorization=f"token {as_header}")) == Grant()


def reach(policy: AccessPolicy, *, public: bool = True, allowed_open: bool = False) -> str:
    """What check_reach says of a server; "" if it is served."""
    options = {"token_option": "TOKEN-FILE", "proxy_option": "PROXY-FILE", "open_option": "OPEN"}
    try:
        check_reach(policy, "0.0.0.0", public=public, allowed_open=allowed_open, **options)
    except BadOption as exc:
        return str(exc)
    return ""


@for_each(
    ("token", "proxy_secret", "said"),
    [
        ("", "", "could run code. Set TOKEN-FILE"),
        ("x" * 15, "", "a token of fewer than 16 characters"),
        ("x" * 16, "", ""),
        ("", "x" * 3, "a proxy's secret of fewer than 16 characters"),
        ("x" * 16, "x" * 15, "Set a longer PROXY-FILE"),
        ("x" * 15, "x" * 16, "Set a longer TOKEN-FILE"),
        ("", "x" * 16, ""),
    ],
)
def test_no_short_secret_is_served_to_other_machines(token: str, proxy_secret: str, said: str) -> None:
    policy = AccessPolicy(token=token, proxy=ProxyUsers("x-user", proxy_secret) if proxy_secret else None)
    assert said in reach(policy)
    assert bool(said) == bool(reach(policy))
    assert reach(policy, public=False) == reach(policy, allowed_open=True) == ""
    assert reach(replace(policy, client_certificates=True)) == ""


def test_no_secret_is_shown() -> None:
    policy = AccessPolicy(token="t0ken", password_hash="h4sh", proxy=ProxyUsers("x-user", "s3cret"))
    assert not {one for one in policy.secrets if one in repr(policy)}
    assert sorted(policy.secrets) == ["h4sh", "s3cret", "t0ken"]


# --- a proxy's users --------------------------------------------------------------------------------

PROXY = AccessPolicy(proxy=ProxyUsers("x-forwarded-user", "between us"))


def test_the_proxy_names_the_user() -> None:
    right = {"x_forwarded_user": "Zoë".encode().decode("latin-1"), "x_fps_kernels_proxy_secret": "between us"}
    assert PROXY.grant(ask(**right)) == Grant("Zoë", ambient=False)
    assert PROXY.grant(ask(**right, cookie="a=b")) == Grant("Zoë", ambient=True)


@for_each(
    "values",
    [
        {},
        {"x_forwarded_user": "ann"},
        {"x_forwarded_user": "ann", "x_fps_kernels_proxy_secret": "guess"},
        {"x_forwarded_user": "ann", "x_fps_kernels_proxy_secret": ""},
        {"x_fps_kernels_proxy_secret": "between us"},
        {"x_forwarded_user": "  ", "x_fps_kernels_proxy_secret": "between us"},
        {"x_forwarded_user": "a\tb", "x_fps_kernels_proxy_secret": "between us"},
        {"x_forwarded_user": "a" * 257, "x_fps_kernels_proxy_secret": "between us"},
        {"x_user": "ann", "x_fps_kernels_proxy_secret": "between us"},
    ],
)
def test_no_one_else_names_a_user(values: dict[str, str]) -> None:
    assert PROXY.grant(ask(**values)) is None


def test_a_user_who_is_named_twice_is_none() -> None:
    pairs = [(b"x-forwarded-user", b"ann"), (b"x-forwarded-user", b"root"), (b"x-fps-kernels-proxy-secret", b"s")]
    assert ProxyUsers("x-forwarded-user", "s").user(Headers(raw=pairs)) is None


# --- cookies ----------------------------------------------------------------------------------------

COOKIES = LoginCookies(signing_key(b"k" * 32, TOKEN, ""), 8888)


@pytest.mark.parametrize("user", ["", "ann", "Zoë.B@x"])
def test_a_cookie_lasts_for_two_weeks(user: str) -> None:
    value = COOKIES.make(user, 1000.0)
    assert COOKIES.user(value, 1000.0 + LIFETIME_S - 1) == user
    assert COOKIES.user(value, 1000.0 + LIFETIME_S) is None


@given(st.integers(0, 60), st.characters(exclude_categories=["Cs"]))
def test_a_cookie_that_was_changed_is_worthless(place: int, other: str) -> None:
    value = COOKIES.make("ann", 1000.0)
    changed = value[:place] + other + value[place + 1 :]
    assert changed == value or COOKIES.user(changed, 1000.0) is None


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nonsense_is_no_cookie(text: str) -> None:
    assert COOKIES.user(text, 1000.0) is None


@pytest.mark.parametrize(
    "key",
    [
        signing_key(b"k" * 32, "other", ""),
        signing_key(b"j" * 32, TOKEN, ""),
        signing_key(b"k" * 32, TOKEN, "", "between us"),
        signing_key(b"k" * 32, "", TOKEN),
        signing_key(b"k" * 32, "", "", TOKEN),
    ],
)
def test_another_token_or_key_makes_cookies_worthless(key: bytes) -> None:
    assert LoginCookies(key, 8888).user(COOKIES.make("", 1000.0), 1000.0) is None


@for_each(
    ("policy", "grant", "earned"),
    [
        (AccessPolicy(token=TOKEN), Grant(), True),
        (AccessPolicy(token=TOKEN), Grant(ambient=True), False),
        (AccessPolicy(token=TOKEN, proxy=ProxyUsers("x-user", "s")), Grant("ann"), False),
        (AccessPolicy(token=TOKEN, proxy=ProxyUsers("x-user", "s")), Grant(), True),
        (AccessPolicy(proxy=ProxyUsers("x-user", "s")), Grant("ann"), False),
        (AccessPolicy(), Grant(), False),
        (AccessPolicy(client_certificates=True), Grant(), False),
    ],
)
def test_only_the_token_earns_a_cookie(policy: AccessPolicy, grant: Grant, earned: bool) -> None:
    assert policy.earns_cookie(grant) is earned


def test_a_cookie_that_was_logged_out_is_worthless() -> None:
    value, other = COOKIES.make("", 1000.0), COOKIES.make("", 1000.0)
    COOKIES.log_out(value)
    assert (COOKIES.user(value, 1000.0), COOKIES.user(other, 1000.0)) == (None, "")


def test_the_cookie_is_for_no_script_and_no_other_site() -> None:
    assert COOKIES.set_header("v", secure=False) == (
        f"fps-kernels-8888=v; Max-Age={LIFETIME_S}; Path=/; HttpOnly; SameSite=Strict"
    )
    secure = COOKIES.set_header("v", secure=True)
    assert secure.startswith("__Host-fps-kernels-8888=v; ")
    assert secure.endswith("; Secure")


def test_the_cookie_of_a_server_below_a_path_is_sent_to_no_other() -> None:
    cookies = LoginCookies(signing_key(b"k" * 32, TOKEN, ""), 8888, "/user/ann/")
    assert cookies.set_header("v", secure=False).startswith("fps-kernels-8888=v; ")
    for secure in (False, True):
        assert "; Path=/user/ann/; " in cookies.set_header("v", secure=secure)
        assert "; Path=/user/ann/; " in cookies.clear_header(secure=secure)
    assert cookies.name(secure=True) == "__Secure-fps-kernels-8888"  # __Host- is for the path / only


def test_one_bad_cookie_does_not_hide_the_others() -> None:
    pairs = [(b"cookie", b'a=1; broken; ;=; b="2";a=3'), (b"cookie", b"c={4}")]
    assert cookies_of(Headers(raw=pairs)) == {"a": "1", "": "", "b": "2", "c": "{4}"}


# --- XSRF -------------------------------------------------------------------------------------------

XSRF = "x" * 32


@for_each("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
def test_what_a_browser_sends_by_itself_needs_a_proof(method: str) -> None:
    assert needs_xsrf(ask(method), Grant(ambient=True))
    assert not needs_xsrf(ask(method), Grant())
    assert not needs_xsrf(ask("GET"), Grant(ambient=True))
    assert not needs_xsrf(ask(websocket=True), Grant(ambient=True))


@for_each(
    ("values", "query", "form", "expected"),
    [
        ({"x_xsrftoken": XSRF}, "", None, True),
        ({}, f"_xsrf={XSRF}", None, True),
        ({}, "", XSRF, True),
        ({}, "", None, False),
        ({"x_xsrftoken": XSRF[:-1]}, "", None, False),
        ({"x_xsrftoken": "é"}, "", None, False),
    ],
)
def test_the_proof_is_the_cookie_again(values: dict[str, str], query: str, form: str | None, expected: bool) -> None:
    assert has_xsrf({"_xsrf": XSRF}, headers(**values), query.encode(), form) is expected


@pytest.mark.parametrize("cookies", [{}, {"_xsrf": ""}, {"_xsrf": "short"}])
def test_without_the_cookie_nothing_is_a_proof(cookies: dict[str, str]) -> None:
    value = cookies.get("_xsrf", "")
    assert not has_xsrf(cookies, headers(x_xsrftoken=value), f"_xsrf={value}".encode(), value)


@for_each(
    ("values", "ambient", "refused"),
    [
        ({"referer": "http://evil.example/"}, True, True),
        ({"referer": "http://evil.example/"}, False, False),
        ({"referer": "http://localhost:8888/lab"}, True, False),
        ({}, True, False),
        ({"referer": "http://evil.example/", "accept": "text/html"}, True, False),  # a link of the whole page
    ],
)
def test_an_old_browser_tells_by_the_referer(values: dict[str, str], ambient: bool, refused: bool) -> None:
    found = includes_answer(ask(**values), Grant(ambient=ambient), AllowedOrigins())
    assert (found is not None) is refused


# --- passwords --------------------------------------------------------------------------------------


def test_a_password_is_known_by_its_hash() -> None:
    hashed = hash_password("correct horse", 10)
    assert is_password_hash(hashed)
    assert password_matches("correct horse", hashed)
    assert not password_matches("correct horsf", hashed)


@for_each(
    "text",
    [
        "",
        "correct horse",
        "scrypt:15:8:3:00:00",
        f"scrypt:40:8:1:{'0' * 32}:{'0' * 64}",
        f"scrypt:20:99:1:{'0' * 32}:{'0' * 64}",
        f"scrypt:15:0:1:{'0' * 32}:{'0' * 64}",
        f"argon2:15:8:1:{'0' * 32}:{'0' * 64}",
    ],
)
def test_what_is_no_hash_or_would_take_all_memory_is_refused(text: str) -> None:
    assert not is_password_hash(text)


# --- guesses ----------------------------------------------------------------------------------------


def fail(guesses: Guesses, times: int, address: str = "192.0.2.1", now: float = 0.0) -> float:
    for _ in range(times):
        guesses.failed(address, now)
    return guesses.delay_s(address, now)


def test_the_delay_grows_with_each_failure_up_to_a_bound() -> None:
    guesses = Guesses()
    assert fail(guesses, FREE_FAILURES - 1) == 0
    delays = [fail(guesses, 1) for _ in range(10)]
    assert delays == sorted(delays)
    assert (delays[0] > 0, delays[-1]) == (True, MAX_DELAY_S)
    assert fail(guesses, 1_000) == MAX_DELAY_S


def test_each_address_has_its_own() -> None:
    guesses = Guesses()
    fail(guesses, 20)
    assert guesses.delay_s("192.0.2.2", 0.0) == 0
    fail(guesses, 20, "2001:db8::1")
    assert guesses.delay_s("2001:db8::ffff", 0.0) == MAX_DELAY_S  # the same customer
    assert guesses.delay_s("2001:db8:0:1::1", 0.0) == 0
    assert guesses.delay_s("::ffff:192.0.2.1", 0.0) == MAX_DELAY_S


def test_failures_are_forgotten() -> None:
    guesses = Guesses()
    fail(guesses, 20)
    assert guesses.delay_s("192.0.2.1", FORGET_S + 1) == 0
    assert guesses.failed("192.0.2.1", FORGET_S + 1) == 1


def test_the_addresses_that_are_remembered_have_a_bound() -> None:
    guesses = Guesses()
    for number in range(10_100):
        guesses.failed(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}", 0.0)
    assert len(guesses._guessers) == 10_000


def test_only_some_answers_of_an_address_are_held_back() -> None:
    guesses = Guesses()
    holds: list[Any] = [guesses.held_back("192.0.2.1") for _ in range(MAX_WAITING)]
    for hold in holds:
        assert guesses.may_guess("192.0.2.1")
        hold.__enter__()
    assert not guesses.may_guess("192.0.2.1")
    assert guesses.may_guess("192.0.2.2")
    holds[0].__exit__(None, None, None)
    assert guesses.may_guess("192.0.2.1")


def test_a_proxy_that_lets_its_client_choose_the_address_bounds_the_guesses() -> None:
    guessing = Guessing()
    sources: list[Source] = [(f"192.0.2.{number}", "127.0.0.1") for number in range(PROXY_MAX_WAITING)]
    assert [guessing.failed(sources[0], 0.0) for _ in range(FREE_FAILURES)] == [0.0] * FREE_FAILURES
    delays = [guessing.failed((f"203.0.113.{number}", "127.0.0.1"), 0.0) for number in range(100)]
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0.0, MAX_DELAY_S)
    assert guessing.failed(("198.51.100.1", "127.0.0.2"), 0.0) == guessing.failed(("127.0.0.1", None), 0.0) == 0.0
    with contextlib.ExitStack() as holds:
        for source in sources:
            assert guessing.may_guess(source)
            holds.enter_context(guessing.held_back(source))
        assert not guessing.may_guess(("198.51.100.1", "127.0.0.1"))
        assert guessing.may_guess(("198.51.100.1", None))
    assert guessing.may_guess(sources[0])


def test_clients_of_a_proxy_do_not_fill_the_log_by_other_addresses(caplog: pytest.LogCaptureFixture) -> None:
    log = RefusalLog()
    for number in range(10_000):
        client = (f"10.0.{number // 250}.{number % 250}", 0)
        log.refused({"client": client, PEER_KEY: "127.0.0.1", "path": "/api"}, 401, "no token")
    assert FIRST_LINES_BY_PROXY <= len(caplog.records) < FIRST_LINES_BY_PROXY + 100


def test_thousands_of_failures_are_a_few_lines() -> None:
    assert sum(is_logged(number) for number in range(1, 10_001)) == FREE_FAILURES + 100


# --- pages ------------------------------------------------------------------------------------------


@for_each(
    "path",
    ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/a\nb", "/a\\..\\b", "javascript:x()"],
)
def test_a_login_leads_nowhere_else(path: str) -> None:
    assert local_path(path, "/lab") == "/lab"


@for_each(
    ("target", "query", "expected"),
    [
        ("/lab", "token=x", "/lab"),
        ("/lab", "reset&token=x&a=%2F", "/lab?reset&a=%2F"),
        ("/lab/tree/a%2Fb", "tok%65n=x", "/lab/tree/a%2Fb"),
        ("//evil.example/", "token=x", "/"),
    ],
)
def test_the_token_is_cut_out_of_a_url_and_nothing_else(target: str, query: str, expected: str) -> None:
    assert without_token(target, query.encode()) == expected


def test_what_a_request_says_is_escaped_in_pages() -> None:
    hostile = '"><script>alert(1)</script>'
    for page in (
        login_form(hostile, hostile, hostile, password=True, error=hostile),
        step(f"/{hostile}"),
    ):
        assert "<script>" not in page
