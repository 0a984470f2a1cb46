"""How much of what a process writes is logged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.kernel_driver.line_rate import LineRate


def rate() -> LineRate:
    return LineRate(window_s=10, max_lines=3, max_bytes=100, line_bytes=50)


def test_lines_beyond_the_limit_are_left_out_until_the_window_ends() -> None:
    limit = rate()
    assert [limit.admits(1, now) for now in (0, 1, 2, 3, 9.9)] == [True, True, True, False, False]
    assert limit.end == 10
    assert limit.take_left_out() == (2, 2)
    assert limit.take_left_out() == (0, 0)
    assert [limit.admits(1, now) for now in (10, 11, 12, 13)] == [True, True, True, False]


def test_bytes_count_too_and_nothing_follows_what_was_left_out() -> None:
    limit = rate()
    assert [limit.admits(size, 0) for size in (40, 40, 40, 1)] == [True, True, False, False]
    assert limit.take_left_out() == (2, 41)


def test_of_a_long_line_only_what_is_logged_counts() -> None:
    limit = rate()
    assert [limit.admits(10_000_000, 0) for _ in range(3)] == [True, True, False]


def test_a_window_begins_with_the_first_line() -> None:
    limit = rate()
    assert limit.admits(1, 1_000)
    assert limit.end == 1_010


def test_a_window_that_was_ended_admits_as_a_new_one() -> None:
    limit = rate()
    for _ in range(4):
        limit.admits(1, 0)
    limit.end_window()
    assert limit.admits(1, 9)
    assert limit.end == 19


@given(st.lists(st.tuples(st.integers(0, 200), st.floats(0, 5)), max_size=100))
def test_no_window_has_more(lines: list[tuple[int, float]]) -> None:
    limit, now = rate(), 0.0
    admitted: dict[float, list[int]] = {}
    left_out = 0
    for size, pause in lines:
        now += pause
        if limit.admits(size, now):
            admitted.setdefault(limit.end, []).append(min(size, 50))
        else:
            left_out += 1
    assert all(len(sizes) <= 3 and sum(sizes) <= 100 for sizes in admitted.values())
    assert sum(map(len, admitted.values())) + left_out == len(lines)
    assert limit.take_left_out()[0] == left_out
