"""The text of a stream as a terminal shows it, and the edits by which somebody else's copy follows it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.execution.terminal import MAX_LINE_CHARS, StreamText

from ..support.cases import for_each
from ..support.terminals import terminal_text

NOTICE = "\n[cut]\n"
BYTES = {"é": 2, "█": 3, "😀": 4}


SHORT = 10
"""A bound of lines, for tests of what is beyond it."""


def shown(*writes: str, max_line_chars: int = MAX_LINE_CHARS) -> str:
    text = StreamText(max_line_chars)
    for one in writes:
        text.write(one)
    return str(text)


class Copy:
    """A document's copy of the text: bytes, changed at the end only."""

    def __init__(self) -> None:
        self.data = b""

    def follow(self, text: StreamText) -> None:
        delete, append = text.take_edit()
        assert delete <= len(self.data)
        self.data = self.data[: len(self.data) - delete] + append.encode()


pieces = st.text(st.sampled_from("ab é█😀\n\r\b"), max_size=8)


@for_each(
    ("text", "expected"),
    [
        ("", ""),
        ("a", "a"),
        ("a\n", "a\n"),
        ("\n\na\n\n", "\n\na\n\n"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("a\r\r\nb", "a\nb"),
        ("abc\rX", "Xbc"),
        ("abc\rX\nY", "Xbc\nY"),
        ("abc\r", "abc"),
        ("\rabc", "abc"),
        ("10%\r20%\r30%", "30%"),
        ("long\rlonger text", "longer text"),
        ("abc\b", "ab"),
        ("abc\bd", "abd"),
        ("\b\ba", "a"),
        ("a\n\bb", "a\nb"),
        ("ab\b\b\b\bc", "c"),
        ("abcd\r\bX", "Xbcd"),
        ("abcd\rXY\b", "Xcd"),
        ("abcd\rXY\bZ", "XZd"),
        ("é😀\r█", "█😀"),
        ("tab\there\x1b[31m \x0b\x0c\x85\u2028", "tab\there\x1b[31m \x0b\x0c\x85\u2028"),
    ],
)
def test_control_characters_are_applied(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert shown(*text) == expected


def test_a_backspace_takes_away_what_was_said_in_an_earlier_write() -> None:
    assert shown("abc", "\b") == "ab"


def test_a_carriage_return_and_its_newline_may_come_apart() -> None:
    assert shown("a\r", "\nb") == "a\nb"


def test_what_follows_a_carriage_return_overwrites_in_a_later_write() -> None:
    assert shown("abc\r", "X", "Y") == "XYc"


@given(st.lists(pieces, max_size=20))
def test_text_is_that_of_a_terminal_however_it_is_cut_into_writes(writes: list[str]) -> None:
    assert shown(*writes) == terminal_text("".join(writes))


@given(st.lists(pieces | st.none(), max_size=30))
def test_a_copy_that_applies_the_edits_always_has_the_text(steps: list[str | None]) -> None:
    """None: the copy is brought up to date."""
    text, copy = StreamText(), Copy()
    for step in [*steps, None]:
        if step is None:
            copy.follow(text)
            assert copy.data.decode() == str(text)
        else:
            text.write(step)
        assert len(text) == len(str(text))
    assert text.take_edit() == (0, "")


@given(st.lists(pieces | st.none(), max_size=30), st.integers(1, 6))
def test_edits_are_right_with_lines_of_any_bound(steps: list[str | None], bound: int) -> None:
    text, copy = StreamText(bound), Copy()
    for step in [*steps, None]:
        if step is None:
            copy.follow(text)
            assert copy.data.decode() == str(text)
        else:
            text.write(step)
        assert len(text) == len(str(text))


def test_an_edit_counts_what_it_deletes_in_bytes() -> None:
    text = StreamText()
    text.write("10% " + "".join(BYTES))
    text.take_edit()
    text.write("\r20%")
    assert text.take_edit() == (len("10% ") + sum(BYTES.values()), "20% é█😀")


def test_an_edit_deletes_only_what_differs() -> None:
    text = StreamText()
    text.write("done: 10%")
    text.take_edit()
    text.write("\rdone: 11%")
    assert text.take_edit() == (2, "1%")


def test_an_edit_of_text_that_only_grows_deletes_nothing() -> None:
    text = StreamText()
    text.write("one\ntw")
    text.take_edit()
    text.write("o\nthree\n")
    assert text.take_edit() == (0, "o\nthree\n")


# --- lines that are too long ---------------------------------------------------------------------


def test_a_carriage_return_goes_back_over_a_line_of_the_bound() -> None:
    assert shown("0123456789", "\rX", max_line_chars=SHORT) == "X123456789"


def test_a_carriage_return_does_not_reach_the_start_of_a_line_beyond_the_bound() -> None:
    assert shown("0123456789a", "\rX", max_line_chars=SHORT) == "0123456789aX"


def test_what_is_right_of_the_cursor_of_a_line_beyond_the_bound_can_be_overwritten() -> None:
    assert shown("0123456789", "\r", "abcdefghij", "\r01234567890", "X\r", "Y", max_line_chars=SHORT) == "01234567890Y"


def test_a_line_beyond_the_bound_is_settled_though_a_carriage_return_ends_it_at_once() -> None:
    """Or a line without end, of which all is one write, would be neither bounded nor cut."""
    assert shown("x" * 50 + "\r", "Y", max_line_chars=SHORT) == "x" * 50 + "Y"


# --- cutting -------------------------------------------------------------------------------------


def lines(first: int, last: int) -> str:
    return "".join(f"line {number:04}\n" for number in range(first, last))


def test_a_cut_keeps_whole_lines_of_both_ends() -> None:
    text = StreamText()
    text.write(lines(0, 100))
    text.cut(25, 25, NOTICE)
    assert str(text) == lines(0, 2) + NOTICE + lines(98, 100)
    assert len(text) == len(str(text))


def test_a_cut_leaves_the_line_that_is_being_written() -> None:
    text = StreamText()
    text.write(lines(0, 100) + "10%")
    text.cut(25, 25, NOTICE)
    text.write("\r20%")
    assert str(text) == lines(0, 2) + NOTICE + lines(98, 100) + "20%"


def test_repeated_cuts_leave_one_notice_and_the_first_head() -> None:
    text = StreamText()
    for start in range(0, 500, 10):
        text.write(lines(start, start + 10))
        if len(text) > 200:
            text.cut(58, 50, NOTICE)  # the notice begins before that
    assert str(text).count(NOTICE) == 1
    assert str(text).startswith(lines(0, 5) + NOTICE)
    assert str(text).endswith(lines(496, 500))
    assert len(text) == len(str(text)) <= 200


def test_the_edits_after_a_cut_go_on_from_its_text() -> None:
    text, copy = StreamText(), Copy()
    text.write(lines(0, 50) + "at 1")
    copy.follow(text)
    text.write("\n" + lines(50, 100) + "at 2")
    text.cut(25, 25, NOTICE)
    text.take_edit()
    copy.data = str(text).encode()  # taken as a whole
    text.write("\rat 3\nmore é")
    copy.follow(text)
    assert copy.data.decode() == str(text)
    assert str(text).endswith("line 0099\nat 3\nmore é")


def test_a_cut_of_a_line_without_end_keeps_both_its_ends() -> None:
    text = StreamText(max_line_chars=SHORT)
    text.write("<" + "x" * 1000 + ">\n")
    text.cut(20, 20, NOTICE)
    assert str(text) == "<" + "x" * 19 + NOTICE + "x" * 18 + ">\n"


def test_a_cut_keeps_a_head_though_the_first_newline_comes_early() -> None:
    text = StreamText()
    text.write("a\n" + "x" * 1000 + "\n")
    text.cut(20, 20, NOTICE)
    assert str(text) == "a\n" + "x" * 18 + NOTICE + "x" * 19 + "\n"
