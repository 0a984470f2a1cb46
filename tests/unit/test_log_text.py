"""Text of others in the log: no line of its own, and nothing that a terminal obeys."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.log_text import MAX_LINE_CHARS, escape, printable, shorten

from ..support.cases import for_each

ANY = st.text(st.characters(codec=None))


@for_each(
    ("text", "expected"),
    [
        ("plain, ünïcode, 漢字 🙂", "plain, ünïcode, 漢字 🙂"),
        ("two\nlines", "two\\nlines"),
        ("\r\t", "\\r\\t"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x9b31m\x7f\0", "\\x9b31m\\x7f\\x00"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("user\u202egpj", "user\\u202egpj"),
        ("\u2066\u200b\ufeff\xad", "\\u2066\\u200b\\ufeff\\xad"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("C:\\new", "C:\\new"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, expected: str) -> None:
    assert escape(text) == expected


@given(ANY)
def test_the_result_is_one_line_that_can_be_written_anywhere(text: str) -> None:
    safe = escape(text)
    assert safe.isprintable()
    assert safe.encode().decode() == safe
    assert escape(safe) == safe


@given(st.text(st.characters(codec=None, exclude_characters="\\'\"")))
def test_nothing_is_lost(text: str) -> None:
    assert ast.literal_eval(f"'{escape(text)}'") == text


@given(ANY, st.integers(1, 50))
def test_a_long_text_is_cut_and_says_so(text: str, limit: int) -> None:
    cut = shorten(text, limit)
    assert cut[:limit] == text[:limit]
    assert len(cut) <= limit + 40
    assert (cut == text) is (len(text) <= limit)
    assert printable(text, limit).isprintable()


def test_the_note_counts_what_is_missing() -> None:
    assert printable("x" * (MAX_LINE_CHARS + 5)) == "x" * MAX_LINE_CHARS + "… (5 more characters)"
