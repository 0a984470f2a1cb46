"""A client's JSON as a literal, in the syntax of each language."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.notebook_http.request.literals import (
    CONSTANT_MAX_CHARS,
    assignment,
    declaration,
    inert,
    printable,
)

LANGUAGES = [
    *("python", "R", "julia", "scala", "bash", "sh", "zsh", "perl", "javascript", "typescript", "ruby", "java"),
    *("", "elixir", "kotlin", "powershell", "c++"),
]
BACKSLASH = "\\"


@pytest.mark.parametrize("language", LANGUAGES)
@given(text=st.text())
def test_the_code_is_one_line_of_printable_ascii(language: str, text: str) -> None:
    assert re.fullmatch(r"[ -~]+", assignment(language, "REQUEST", text))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@given(value=JSON_VALUES, ascii_only=st.booleans(), indent=st.none() | st.just("\t"))
def test_other_spellings_are_the_same_json(value: object, ascii_only: bool, indent: str | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert json.loads(printable(text)) == value
    assert json.loads(inert(text)) == value


@given(text=st.text())
def test_an_inert_text_has_nothing_that_interpolates(text: str) -> None:
    assert not set(inert(text)) & set("$`#@%'!&|;<>()*?~^=\n\r\0\x7f")


def test_a_lone_surrogate_is_escaped() -> None:
    assert printable('"\ud800"') == '"' + BACKSLASH + 'ud800"'


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", 'REQUEST = "{\\"a\\": \\"$x\'\\\\n#{y}\\"}"'),
        ("R", 'REQUEST = "{\\"a\\": \\"$x\'\\\\n#{y}\\"}"'),
        ("javascript", 'REQUEST = "{\\"a\\": \\"$x\'\\\\n#{y}\\"}"'),
        ("julia", 'REQUEST = "{\\"a\\": \\"\\$x\'\\\\n#{y}\\"}"'),
        ("scala", 'REQUEST = "{\\"a\\": \\"$x\'\\\\n#{y}\\"}"'),
        ("bash", "REQUEST='{\"a\": \"$x'\\''\\n#{y}\"}'"),
        ("Perl", 'my $REQUEST = \'{"a": "$x\\\'\\\\n#{y}"}\';'),
        ("ruby", 'REQUEST = \'{"a": "$x\\\'\\\\n#{y}"}\''),
        ("klingon", 'REQUEST = "{\\"a\\": \\"\\\\u0024x\\\\u0027\\\\n\\\\u0023{y}\\"}"'),
        ("", 'REQUEST = "{\\"a\\": \\"\\\\u0024x\\\\u0027\\\\n\\\\u0023{y}\\"}"'),
    ],
)
def test_the_literal_of_a_language(language: str, code: str) -> None:
    assert assignment(language, "REQUEST", json.dumps({"a": "$x'\n#{y}"})) == code


@given(text=st.text("\\u0ad\"'\n$"))
def test_scala_finds_no_unicode_escape(text: str) -> None:
    """Scala 2 replaces one wherever an even number of backslashes is before its own."""
    code = assignment("scala", "REQUEST", json.dumps(text))
    assert not re.search(r"(?<!\\)(?:\\\\)*\\u", code)


def test_a_long_scala_text_is_of_constants_that_a_class_file_can_hold() -> None:
    text = json.dumps({"body": "\\\"'" * 100_000})
    code = assignment("scala", "REQUEST", text)
    parts = re.fullmatch(r"REQUEST = Seq\((.*)\)\.mkString", code)
    assert parts is not None
    constants = json.loads(f"[{parts[1]}]")
    assert max(map(len, constants)) <= CONSTANT_MAX_CHARS < 65_536
    assert "".join(constants) == text


@given(text=st.text("$\\\"'x{}()"))
def test_every_dollar_of_a_julia_literal_is_escaped(text: str) -> None:
    code = assignment("julia", "REQUEST", json.dumps(text))
    assert not re.search(r"(?<!\\)(?:\\\\)*\$", code)
    assert json.loads(code.removeprefix("REQUEST = ").replace(r"\$", "$")) == json.dumps(text)


@pytest.mark.parametrize(("language", "code"), [("scala", 'var REQUEST: String = ""'), ("python", ""), ("", "")])
def test_only_some_languages_need_a_declaration(language: str, code: str) -> None:
    assert declaration(language, "REQUEST") == code
