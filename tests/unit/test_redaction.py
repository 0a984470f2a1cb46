"""Secrets are found in a log by their values, in any spelling, and by the names before them."""

from __future__ import annotations

import base64
import json
from itertools import product
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fps_kernels.serving.redaction import HIDDEN, MIN_SECRET_CHARS, Redaction

from ..support.cases import for_each

SECRET = "s3cr3t/T+k'n\\ ü=\"x"
FREE = "abc-DEF.123"  # a value that was never registered


@pytest.fixture
def redaction() -> Redaction:
    redaction = Redaction()
    redaction.hide(SECRET, "", "abc")
    return redaction


def basic(text: str, encoding: str = "utf-8") -> str:
    return base64.b64encode(text.encode(encoding)).decode()


def every_char_encoded(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


SPELLINGS = {
    "plain": SECRET,
    "quoted": quote(SECRET),
    "all quoted": quote(SECRET, safe=""),
    "plus": quote_plus(SECRET),
    "lower case": quote(SECRET, safe="").lower().replace("t", "T", 2).replace("T", "t", 1),
    "every character": every_char_encoded(SECRET),
    "twice": quote(quote(SECRET, safe=""), safe=""),
    "thrice": quote(quote(quote(SECRET))),
    "latin-1": quote(SECRET, encoding="latin-1"),
    "repr": repr(SECRET)[1:-1],
    "repr of repr": repr(repr(SECRET))[3:-3],
    "ascii": ascii(SECRET)[1:-1],
    "bytes": repr(SECRET.encode())[2:-1],
    "latin-1 bytes": repr(SECRET.encode("latin-1"))[2:-1],
    "JSON": json.dumps(SECRET)[1:-1],
    "JSON in JSON": json.dumps(json.dumps(SECRET))[3:-3],
    "read as latin-1": SECRET.encode().decode("latin-1"),
}


@for_each("spelling", SPELLINGS.values())
def test_a_value_is_found_however_it_is_spelled(redaction: Redaction, spelling: str) -> None:
    assert redaction.redact(f"before {spelling} after") == f"before {HIDDEN} after"


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "jovyan:"])
def test_a_value_is_found_in_basic_credentials(redaction: Redaction, before: str) -> None:
    for after, encoding in product(["", ":", "after"], ["utf-8", "latin-1"]):
        encoded = basic(before + SECRET + after, encoding)
        for spelling in (encoded, quote(encoded, safe=""), encoded.translate(str.maketrans("+/", "-_"))):
            assert redaction.redact(f"they are {spelling}, ok") == f"they are {HIDDEN}, ok"


# No client can send control characters in a header.
secrets = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=MIN_SECRET_CHARS, max_size=30)


@example("00%0", quote)
@given(secrets, st.sampled_from([str, quote, quote_plus, every_char_encoded, json.dumps, repr, ascii]))
def test_no_value_is_shown(secret: str, spell: object) -> None:
    redaction = Redaction()
    redaction.hide(secret)
    spelled = spell(secret)  # type: ignore[operator]
    assert HIDDEN in redaction.redact(f"<{spelled}>")
    assert secret not in redaction.redact(f"<{secret}{spelled}{secret}>").replace(HIDDEN, "")


def test_short_values_are_left() -> None:
    redaction = Redaction()
    redaction.hide("abc", "")
    assert redaction.redact("abc") == "abc"


@for_each(
    "form",
    [
        "< {name}: {value}",
        "{name}:{value}",
        "{{'{name}': '{value}', 'host': 'x'}}",
        "[(b'{name}', b'{value}'), (b'host', b'x')]",
        'Headers({{"{name}": "{value}"}})',
        '{{\\"{name}\\": \\"{value}\\"}}',
        "{name}='{value}'",
    ],
)
@for_each("value", [f"token {FREE}", f"Bearer {FREE}", f"Basic {FREE}", f"a=b; c={FREE}", FREE])
def test_a_header_is_found_by_its_name(form: str, value: str) -> None:
    for name in ("Authorization", "proxy-authorization", "COOKIE", "Set-Cookie", "X-XSRFToken"):
        redacted = Redaction().redact(form.format(name=name, value=value))
        assert FREE not in redacted
        assert name in redacted


@pytest.mark.parametrize("value", [f'a="b"; c={FREE}', f"a='b'; c={FREE}", f"it's \\ {FREE}"])
def test_quotes_in_a_value_do_not_end_it(value: str) -> None:
    for shown in ({"Cookie": value}, [(b"cookie", value.encode())], json.dumps({"cookie": value})):
        assert FREE not in Redaction().redact(f"got {shown}")


@for_each("name", ["X-Proxy-Secret", "X-Auth-Token", "X-Api-Key", "x-user-password", "X-CSRFToken", "Token"])
def test_headers_whose_names_speak_of_secrets(name: str) -> None:
    assert FREE not in Redaction().redact(f"< {name}: {FREE}")


QUERIES = ["token", "access_token", "auth_token", "_xsrf", "password", "client_secret", "api_key", "%74oken", "t%6Fken"]


@for_each("name", QUERIES)
def test_a_parameter_is_found_by_its_name(name: str) -> None:
    redacted = Redaction().redact(f'GET /lab?a=1&{name}={FREE}&b=2 "HTTP/1.1 200"')
    assert redacted == f'GET /lab?a=1&{name}={HIDDEN}&b=2 "HTTP/1.1 200"'


def test_a_parameter_is_found_in_a_parameter() -> None:
    inner = f"/lab?{urlencode({'token': FREE, 'x': '1'})}"
    for _ in range(3):
        inner = f"/login?{urlencode({'next': inner})}"
        assert FREE not in Redaction().redact(f"< referer: http://host{inner}")


def test_a_password_in_a_url() -> None:
    assert Redaction().redact(f"GET http://me:{FREE}@host/") == f"GET http://{HIDDEN}@host/"


@pytest.mark.parametrize("form", ["< Sec-WebSocket-Protocol: {}", "'sec-websocket-protocol': '{}'"])
def test_a_token_among_the_subprotocols(form: str) -> None:
    kept = "v1.kernel.websocket.jupyter.org"
    given = f"{kept}, v1.token.websocket.jupyter.org, {FREE}, v1.token.websocket.jupyter.org.{FREE}"
    redacted = Redaction().redact(form.format(given))
    assert FREE not in redacted
    assert kept in redacted
    scope = {"subprotocols": [f"v1.token.websocket.jupyter.org.{FREE}"]}
    assert FREE not in Redaction().redact(f"scope {scope}")


@pytest.mark.parametrize(
    "text",
    [
        "401 for '/x' from 127.0.0.1: no token, or a wrong one",
        "This server is open to everyone. Set auth_token",
        "kernel 3f2c (python3) launched, pid 12",
        "the cookie of port 8888 has expired",
        "This server needs no token: everybody can run code",
        "SyntaxError: unexpected token: line 5, column 1",
        'POST /api/kernels?name=python3&path=a%20b "HTTP/1.1 201 Created"',
        "a token\nof another line",
    ],
)
def test_other_text_stays(redaction: Redaction, text: str) -> None:
    assert redaction.redact(text) == text


@for_each("unit", ["\\", "%25", "token", "a", "token%5f", "'", "://a", "cookie: '", "s3cr3t/"])
def test_no_text_takes_long(redaction: Redaction, unit: str) -> None:
    """Where a pattern takes the square of a text's length, this takes minutes."""
    redacted = redaction.redact(unit * (50_000 // len(unit)))
    assert SECRET not in redacted
