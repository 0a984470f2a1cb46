"""A client's JSON as a literal, in the syntax of each language."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.notebook_http.request.literals import CONSTANT_MAX_CHARS, LANGUAGES, Language, printable

from ..support.cases import for_each

BACKSLASH = "\\"
ALL = pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)


@ALL
@given(text=st.text())
def test_the_code_is_one_line_of_printable_ascii(language: Language, text: str) -> None:
    for code in (language.assign("REQUEST", text), language.append("REQUEST", text)):
        assert re.fullmatch(r"[ -~]+", code)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@given(value=JSON_VALUES, ascii_only=st.booleans(), indent=st.none() | st.just("\t"))
def test_other_spellings_are_the_same_json(value: object, ascii_only: bool, indent: str | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert json.loads(printable(text)) == value


def test_a_lone_surrogate_is_escaped() -> None:
    assert printable('"\ud800"') == '"' + BACKSLASH + 'ud800"'


@for_each(
    ("language", "code"),
    [
        ("python", 'REQUEST = "{\\"a\\": \\"$x\'\\\\n#{y}\\"}"'),
        ("r", 'REQUEST = "{\\"a\\": \\"$x\'\\\\n#{y}\\"}"'),
        ("javascript", 'REQUEST = "{\\"a\\": \\"$x\'\\\\n#{y}\\"}"'),
        ("julia", 'REQUEST = "{\\"a\\": \\"\\$x\'\\\\n#{y}\\"}"'),
        ("scala", 'REQUEST = "{\\"a\\": \\"$x\'\\\\n#{y}\\"}"'),
        ("bash", "REQUEST='{\"a\": \"$x'\\''\\n#{y}\"}'"),
        ("perl", 'my $REQUEST = \'{"a": "$x\\\'\\\\n#{y}"}\';'),
        ("ruby", 'REQUEST = \'{"a": "$x\\\'\\\\n#{y}"}\''),
        ("tcl", r'set REQUEST "\u007b\u0022a\u0022: \u0022\u0024x\u0027\u005cn\u0023\u007by\u007d\u0022\u007d"'),
        ("lua", 'REQUEST = "{\\"a\\": \\"$x\'\\\\n#{y}\\"}"'),
        ("php", '$REQUEST = \'{"a": "$x\\\'\\\\n#{y}"}\';'),
        ("octave", "REQUEST = '{\"a\": \"$x''\\n#{y}\"}';"),
    ],
)
def test_the_literal_of_a_language(language: str, code: str) -> None:
    assert LANGUAGES[language].assign("REQUEST", json.dumps({"a": "$x'\n#{y}"})) == code


@given(text=st.text())
def test_a_literal_of_tcl_has_nothing_but_letters_and_escapes(text: str) -> None:
    code = LANGUAGES["tcl"].assign("REQUEST", text)
    assert re.fullmatch(r'set REQUEST "(?:[\w ,./:+-]|\\u00[2-7][0-9a-f])*"', code)


@given(text=st.text("\\u0ad\"'\n$"))
def test_scala_finds_no_unicode_escape(text: str) -> None:
    """Scala 2 replaces one wherever an even number of backslashes is before its own."""
    code = LANGUAGES["scala"].assign("REQUEST", json.dumps(text))
    assert not re.search(r"(?<!\\)(?:\\\\)*\\u", code)


def test_a_long_scala_text_is_of_constants_that_a_class_file_can_hold() -> None:
    text = json.dumps({"body": "\\\"'" * 100_000})
    code = LANGUAGES["scala"].assign("REQUEST", text)
    parts = re.fullmatch(r"REQUEST = Seq\((.*)\)\.mkString", code)
    assert parts is not None
    constants = json.loads(f"[{parts[1]}]")
    assert max(map(len, constants)) <= CONSTANT_MAX_CHARS < 65_536
    assert "".join(constants) == text


@given(text=st.text("$\\\"'x{}()"))
def test_every_dollar_of_a_julia_literal_is_escaped(text: str) -> None:
    code = LANGUAGES["julia"].assign("REQUEST", json.dumps(text))
    assert not re.search(r"(?<!\\)(?:\\\\)*\$", code)
    assert json.loads(code.removeprefix("REQUEST = ").replace(r"\$", "$")) == json.dumps(text)


def test_only_some_languages_need_a_declaration() -> None:
    assert LANGUAGES["scala"].declare("REQUEST") == 'var REQUEST: String = ""'
    assert [language.name for language in LANGUAGES.values() if language.declare("x")] == [
        "scala",
        "javascript",
        "typescript",
    ]
