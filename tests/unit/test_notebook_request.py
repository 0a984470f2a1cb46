"""REQUEST: what a cell is told of a request."""

from __future__ import annotations

import base64
import encodings.aliases
import json
import sys
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fps_kernels.errors import ClientError
from fps_kernels.notebook_http.header_options import header_options
from fps_kernels.notebook_http.request import json_scan, text_slices, urlencoded
from fps_kernels.notebook_http.request.multipart import MalformedMultipart
from fps_kernels.notebook_http.request.request_limits import RequestLimits, TooDeep, TooManyFields
from fps_kernels.notebook_http.request.request_variable import request_json

from ..support.cases import for_each

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


def request(content_type: str | None = None, body: bytes = b"") -> dict[str, Any]:
    headers = [] if content_type is None else [(b"content-type", content_type.encode("latin-1"))]
    result: dict[str, Any] = json.loads(request_json(headers, b"", {}, body))
    return result


def body_of(content_type: str | None, body: bytes) -> Any:
    return request(content_type, body)["body"]


def part(headers: bytes, data: bytes = b"x", end: bytes = b"--") -> bytes:
    return b"--b\r\n" + headers + b"\r\n\r\n" + data + b"\r\n--b" + end + b"\r\n"


def test_a_request_without_anything() -> None:
    assert request_json([], b"", {}, b"") == '{"body": "", "args": {}, "path": {}, "headers": {}}'


def test_arguments_are_lists_and_empty_ones_stay() -> None:
    text = request_json([], b"a=1&b=&a=%C3%A9+x&c", {"name": "Jürgen/x"}, b"")
    assert json.loads(text)["args"] == {"a": ["1", "é x"], "b": [""], "c": [""]}
    assert json.loads(text)["path"] == {"name": "Jürgen/x"}


def test_headers_are_in_title_case_and_repeated_ones_are_lists() -> None:
    headers = [(b"x-FOO-bar", b"1"), (b"host", b"h"), (b"X-Foo-Bar", b"2"), (b"etag", b"\xe9")]
    told = json.loads(request_json(headers, b"", {}, b""))["headers"]
    assert told == {"X-Foo-Bar": ["1", "2"], "Host": "h", "Etag": "é"}


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", 'application/json;a="b"']
)
def test_json_is_parsed(content_type: str) -> None:
    assert body_of(content_type, b'{"a": [1, "\\u00e9"]}') == {"a": [1, "é"]}


def test_json_in_another_charset() -> None:
    assert body_of("application/json; charset=latin-1", '"é"'.encode("latin-1")) == "é"
    assert body_of("application/json", '"é"'.encode("utf-16")) == "é"


@for_each(
    "body",
    [
        b"{",
        b"NaN",
        b"[1e999]",
        b'{"a": -Infinity}',
        b"1" * 10_000,
        b"  ",
    ],
)
def test_json_that_not_every_language_can_read_is_a_string(body: bytes) -> None:
    assert body_of("application/json", body) == body.decode()


def test_half_of_a_surrogate_pair_stays_an_escape() -> None:
    text = request_json([(b"content-type", b"application/json")], b"", {}, b'"\\ud800"')
    assert '"body": "\\ud800"' in text


def test_a_form() -> None:
    assert body_of(FORM + "; charset=UTF-8", b"a=1&a=&b=%C3%A9&c=\xc3\xa9") == {"a": ["1", ""], "b": ["é"], "c": ["é"]}
    assert body_of(FORM + "; charset=latin-1", b"a=%E9") == {"a": ["é"]}


def test_an_empty_form_has_no_fields() -> None:
    assert body_of(FORM, b"") == {}
    assert body_of("multipart/form-data; boundary=b", b"") == {}


def test_text_is_a_string_in_its_charset() -> None:
    assert request("text/plain; charset=latin-1", b"\xe9")["body"] == "é"
    assert request("text/csv", "é".encode())["body"] == "é"
    assert request(None, b'{"foo" : "bar"}')["body"] == '{"foo" : "bar"}'
    assert request("application/vnd.api+json", b"{}")["body"] == "{}"


@for_each("content_type", [None, "application/octet-stream", "text/plain", "application/json"])
def test_bytes_that_are_no_text_are_base64(content_type: str | None) -> None:
    told = request(content_type, b"\x00\xff")
    assert list(told) == ["body", "args", "path", "headers", "body_encoding"]
    assert (told["body"], told["body_encoding"]) == (base64.b64encode(b"\x00\xff").decode(), "base64")


@for_each("charset", ["nonsense", "base64", "rot13", "punycode", "unicode_escape", "../x", "a\x00b", ""])
def test_what_is_no_charset_does_not_count(charset: str) -> None:
    assert body_of(f"text/plain; charset={charset}", "é\\n".encode()) == "é\\n"


@pytest.mark.parametrize("content_type", ["application/json", FORM, "text/plain"])
def test_no_codec_of_python_breaks_a_request(content_type: str) -> None:
    for charset in {*encodings.aliases.aliases, *encodings.aliases.aliases.values(), "idna", "undefined"}:
        assert "body" in request(f"{content_type}; charset={charset}", b"\x80=%80%81\xff")


def test_a_mail_in_multipart_is_a_file_as_it_is() -> None:
    mail = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nhello\r\n--c--\r\n"
    body = part(b'content-disposition: form-data; name="m"; filename="m.eml"\r\nContent-Type: message/rfc822', mail)
    told = body_of(MULTIPART, body)
    assert base64.b64decode(told["m"][0]["data"]) == mail
    assert told["m"][0]["content_type"] == "message/rfc822"


def test_a_file_that_nobody_chose_is_an_empty_field() -> None:
    body = part(b'Content-Disposition: form-data; name="f"; filename=""\r\nContent-Type: application/octet-stream', b"")
    assert body_of(MULTIPART, body) == {"f": [""]}


def test_a_field_in_its_charset_and_one_that_is_no_text() -> None:
    disposition = b'Content-Disposition: form-data; name="f"'
    assert body_of(MULTIPART, part(disposition + b"\r\nContent-Type: text/plain; charset=latin-1", b"\xe9")) == {
        "f": ["é"]
    }
    assert body_of(MULTIPART, part(disposition, b"\xe9")) == {
        "f": [{"filename": "", "content_type": "application/octet-stream", "data": "6Q=="}]
    }


@for_each(
    ("content_type", "body", "what"),
    [
        ("multipart/form-data", part(b"A: b"), "no boundary"),
        (MULTIPART, b"--b\r\n", "ends before its last boundary"),
        (MULTIPART, part(b'Content-Disposition: form-data; name="f"', end=b"\r\n"), "ends before its last boundary"),
        (MULTIPART, b"hello", "it has no boundary"),
        (MULTIPART, part(b"A: b"), "part 1 has no Content-Disposition"),
        (MULTIPART, part(b"Content-Disposition: form-data"), "part 1 has no name"),
        (MULTIPART, part(b"no colon"), "part 1 has a line that is not a header"),
        (MULTIPART, part(b"A: " + b"b" * 16_384), "part 1 has headers of more than"),
        (MULTIPART, part(b"A: b").replace(b"\r\n\r\n", b"\n\n"), "part 1 has no empty line"),
        (f"multipart/form-data; boundary={'b' * 10_000}", b"x", "no boundary"),
    ],
)
def test_malformed_multipart_is_the_clients_error(content_type: str, body: bytes, what: str) -> None:
    with pytest.raises(MalformedMultipart, match=what) as info:
        body_of(content_type, body)
    assert info.value.status == 400


def test_what_only_looks_like_a_boundary_is_content() -> None:
    data = b"\r\n--bb\r\n--b x\r\nx--b--\r\n --b\r\n\r\n--b--x"
    assert body_of(MULTIPART, part(b'Content-Disposition: form-data; name="f"', data)) == {"f": [data.decode()]}


def test_what_surrounds_boundaries_does_not_count() -> None:
    field = b'--b \t\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n'
    assert body_of(MULTIPART, b"before\r\n" + field + field + b"--b-- \r\n" + field) == {"f": ["x", "x"]}


def test_a_boundary_is_no_pattern() -> None:
    body = part(b'Content-Disposition: form-data; name="f"').replace(b"--b", b"--a.(+)?")
    assert body_of('multipart/form-data; BOUNDARY="a.(+)?"', body) == {"f": ["x"]}


@for_each(
    ("value", "options"),
    [
        ("form-data", {}),
        ("Form-Data; NAME=a ;x", {"name": "a"}),
        ('form-data; name="a;filename=b"; filename="c"', {"name": "a;filename=b", "filename": "c"}),
        (r'form-data; filename="a\"b\\c\d"', {"filename": r'a"b\c\d'.replace("\\\\", "\\")}),
        ("form-data; filename=a; filename*=utf-8''b", {"filename": "a", "filename*": "utf-8''b"}),
        ("form-data; name=a; name=b", {"name": "a"}),
        ('form-data; name="a', {"name": '"a'}),
        ('form-data; name=" a "; b=""', {"name": " a ", "b": ""}),
        ("form-data; name=", {"name": ""}),
    ],
)
def test_options_of_a_header(value: str, options: dict[str, str]) -> None:
    assert header_options(value) == ("form-data", options)


def test_multipart_of_too_many_parts() -> None:
    one = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n'
    headers = [(b"content-type", MULTIPART.encode())]
    with pytest.raises(TooManyFields, match="more than 100 fields, the server's max_fields"):
        request_json(headers, b"", {}, one * 101 + b"--b--", RequestLimits(max_fields=100))


@given(st.dictionaries(st.text(), st.lists(st.text(), min_size=1)))
def test_every_form_comes_back(form: dict[str, list[str]]) -> None:
    assert body_of(FORM, urlencode(form, doseq=True, errors="replace").encode()) == json.loads(
        json.dumps(form).encode("utf-8", "replace")
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_every_json_comes_back(value: Any) -> None:
    assert body_of("application/json", json.dumps(value).encode()) == value


@given(
    st.sampled_from(["application/json", FORM, MULTIPART, "text/plain", "", "image/png", "text/plain; charset=utf-16"])
    | st.text(st.characters(max_codepoint=255)),
    st.binary() | st.text().map(str.encode) | st.binary().map(lambda data: part(b"A: b", data)),
    st.binary(),
    st.lists(st.tuples(st.binary(), st.binary())),
)
def test_whatever_comes_is_json_or_the_clients_error(
    content_type: str, body: bytes, query: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    try:
        text = request_json([(b"content-type", content_type.encode("latin-1")), *headers], query, {}, body)
    except ClientError:
        return
    assert text.isascii()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    told = json.loads(text, parse_constant=refuse)
    assert list(told)[:4] == ["body", "args", "path", "headers"]


# --- bounds --------------------------------------------------------------------------------------

FIELD = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n'


@for_each(
    ("content_type", "query", "fields"),
    [
        (FORM, b"", lambda number: b"&".join([b"a=1"] * number)),
        (FORM, b"", lambda number: b"&".join(b"%d" % at for at in range(number))),
        (FORM + "; charset=utf-16", b"", lambda number: "&".join(["a"] * number).encode("utf-16")),
        (MULTIPART, b"", lambda number: FIELD * number + b"--b--"),
    ],
)
def test_fields_are_bounded(content_type: str, query: bytes, fields: Any) -> None:
    limits = RequestLimits(max_fields=7)
    headers = [(b"content-type", content_type.encode())]
    request_json(headers, query, {}, fields(7), limits)
    with pytest.raises(TooManyFields, match="max_fields") as info:
        request_json(headers, query, {}, fields(8), limits)
    assert info.value.status == 400


def test_fields_of_a_query_are_bounded() -> None:
    limits = RequestLimits(max_fields=2)
    assert json.loads(request_json([], b"a&b=1", {}, b"", limits))["args"] == {"a": [""], "b": ["1"]}
    with pytest.raises(TooManyFields, match="The query has more than 2 fields, the server's max_fields"):
        request_json([], b"a&b=1&c", {}, b"", limits)


def test_what_is_no_field_of_a_form_is_bounded() -> None:
    with pytest.raises(TooManyFields):
        body_of(FORM, b"&" * 100_000)


@for_each(
    "body",
    [
        b"[" * 8 + b"]" * 8,
        b'{"a":' * 8 + b"1" + b"}" * 8,
        b'[{"a":' * 4 + b"1" + b"}]" * 4,
        b"[" * 7 + b"1, [2]" + b"]" * 7,
        b'["]]]]", ' * 8 + b"1" + b"]" * 8,
        b'["\\"]]", ' * 8 + b"1" + b"]" * 8,
        b"[" * 8,  # it is not JSON either
        b"[" * 100_000,
        b"[" * 5_000 + b"]" * 5_000,
        ("[" * 8 + "]" * 8).encode("utf-16"),
    ],
)
def test_depth_is_bounded(body: bytes) -> None:
    headers = [(b"content-type", b"application/json")]
    with pytest.raises(TooDeep, match="more than 7 levels deep, the server's max_depth") as info:
        request_json(headers, b"", {}, body, RequestLimits(max_depth=7))
    assert info.value.status == 400


@for_each(
    "body",
    [
        b"[" * 7 + b"]" * 7,
        b"[" + b"[]," * 1_000 + b"[]]",
        b'["' + b"[" * 1_000 + b'"]',
        b'["\\"' + b"[" * 1_000 + b'", "' + b"{" * 100 + b'\\\\"]',
        b'{"' + b"{" * 100 + b'": "\\\\"}',
    ],
)
def test_what_is_not_nested_is_not_deep(body: bytes) -> None:
    headers = [(b"content-type", b"application/json")]
    told = json.loads(request_json(headers, b"", {}, body, RequestLimits(max_depth=7)))
    assert told["body"] == json.loads(body)


def test_only_json_is_deep() -> None:
    assert body_of("text/plain", b"[" * 1_000) == "[" * 1_000


# --- slices --------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 8])
def sliced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices so short that everything is cut somewhere."""
    for module in (text_slices, json_scan, urlencoded):
        monkeypatch.setattr(module, "SLICE_BYTES", request.param)


def outcome(body: bytes) -> Any:
    """What a body of JSON is, as Python reads it: the value, or the text."""
    try:
        value = json.loads(body)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return body.decode()
    return value


json_texts = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent),
    json_values,
    st.booleans(),
    st.none() | st.just(1),
) | st.text('[]{}",:1e0.-+\\ué n"', max_size=30).map(lambda text: f'["{text}", {text}]')


@pytest.mark.usefixtures("sliced")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=json_texts, cut=st.integers(0, 1_000), put=st.text('[]{}",:1\\', max_size=2))
def test_json_in_slices_is_what_python_reads(text: str, cut: int, put: str) -> None:
    """Also when something has been cut out, or put in."""
    for body in (text.encode(errors="replace"), (text[:cut] + put + text[cut + 1 :]).encode(errors="replace")):
        assert body_of("application/json", body or b"0") == outcome(body or b"0")


@pytest.mark.usefixtures("sliced")
@pytest.mark.parametrize("lead", [0, 4])
@pytest.mark.parametrize(
    ("number", "fits"),
    [
        ("1e308", True),
        ("1e309", False),
        ("-1E+999", False),
        ("1e-999", True),
        ("0e999", True),
        ("1" * 308, True),
        ("9" * 309, True),  # an integer of Python
        ("9" * 309 + ".0", False),
        ("1" * 250 + "e99", False),
    ],
)
def test_a_number_that_is_cut_is_still_too_large(lead: int, number: str, fits: bool) -> None:
    for text in (f"{' ' * lead}{number}", f'[{" " * lead}{number}, "1e999"]', f'{{"a{" " * lead}":{number}}}'):
        assert isinstance(body_of("application/json", text.encode()), str) is not fits


@pytest.mark.parametrize(("digits", "fits"), [(4_300, True), (4_301, False)])
def test_a_number_has_as_many_digits_as_python_reads(digits: int, fits: bool) -> None:
    assert isinstance(body_of("application/json", f"[{'1' * digits}]".encode()), str) is not fits


@pytest.mark.usefixtures("sliced")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text("ab%41cC3A9+&=é", max_size=40))
def test_a_form_in_slices_is_what_python_reads(text: str) -> None:
    form = text.encode("ascii", "replace")
    assert body_of(FORM, form) == parse_qs(form.decode(), keep_blank_values=True, errors="replace")
    assert body_of(FORM, text.encode()) == parse_qs(text, keep_blank_values=True, errors="replace")


@pytest.mark.usefixtures("sliced")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"])), data=st.binary())
def test_text_and_bytes_in_slices_come_back(text: str, data: bytes) -> None:
    assert body_of("text/plain", text.encode()) == text
    for charset in ("utf-16", "utf-16-be", "utf-32", "gb18030", "utf-8-sig"):
        data_in_charset = text.encode(charset)
        assert body_of(f"text/plain; charset={charset}", data_in_charset) == (text if data_in_charset else "")
    assert body_of("text/plain; charset=utf-16", f"a{text}".encode(f"utf-16-{sys.byteorder[0]}e")) == f"a{text}"
    told = request("application/octet-stream", b"\xff" + data)
    assert base64.b64decode(told["body"]) == b"\xff" + data


def test_halves_of_surrogate_pairs_are_json() -> None:
    for text in ('"\\udc00\\ud800"', '["\\uD83D", "\\\\ud800", "\\ud83d\\ude00"]'):
        assert body_of("application/json", text.encode()) == json.loads(text)
    assert isinstance(body_of("application/json", b'["\\ud800", ]'), str)
