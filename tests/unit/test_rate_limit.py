"""Rate limits of iopub: stream messages are merged, then cut; everything else always passes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.kernel_driver.message import Message, make_frames
from fps_kernels.kernel_server.journal import Journal
from fps_kernels.kernel_server.rate_limit import RateLimiter, RateLimits, cut_middle

from ..support.messages import Json
from ..support.readers import Reader

NOTICE = "characters are not shown: iopub_data_rate_limit"


# --- the limiter ---------------------------------------------------------------------------------


def test_messages_are_too_many_from_the_rate_on() -> None:
    limiter = RateLimiter(RateLimits(msg_rate=10, window_s=2))
    limiter.count(0.0, 19)
    assert not limiter.too_many(1.9)
    limiter.count(1.9, 1)
    assert limiter.too_many(1.9)


def test_a_new_window_begins_with_nothing_counted() -> None:
    limiter = RateLimiter(RateLimits(msg_rate=10, data_rate=10, window_s=2))
    limiter.count(0.0, 100)
    limiter.allow_text(0.0, 100)
    assert not limiter.too_many(2.0)
    assert limiter.allow_text(2.0, 100) == 20


def test_without_a_message_rate_messages_are_never_too_many() -> None:
    limiter = RateLimiter(RateLimits(data_rate=10))
    limiter.count(0.0, 1_000_000)
    assert not limiter.too_many(0.0)


def test_without_a_data_rate_all_text_is_allowed() -> None:
    limiter = RateLimiter(RateLimits(msg_rate=1))
    assert limiter.allow_text(0.0, 10**9) == 10**9


def test_messages_are_collected_when_no_more_text_may_be_sent() -> None:
    """Or each of them would become a notice, which is longer than what a loop prints."""
    limiter = RateLimiter(RateLimits(data_rate=10, window_s=1))
    assert not limiter.too_many(0.0)
    limiter.allow_text(0.0, 10)
    assert limiter.too_many(0.0)


@given(st.lists(st.integers(0, 100)), st.integers(1, 200), st.integers(1, 3))
def test_no_more_text_is_allowed_in_a_window_than_the_rate(sizes: list[int], rate: int, window_s: int) -> None:
    limiter = RateLimiter(RateLimits(data_rate=rate, window_s=window_s))
    allowed = [limiter.allow_text(0.0, size) for size in sizes]
    assert sum(allowed) == min(sum(sizes), rate * window_s)
    assert all(0 <= one <= size for one, size in zip(allowed, sizes, strict=True))


@pytest.mark.parametrize(("limits", "on"), [((0, 0), False), ((1, 0), True), ((0, 1), True)])
def test_limits_are_off_when_both_are_zero(limits: tuple[float, float], on: bool) -> None:
    assert RateLimits(*limits).on is on


@given(st.text(), st.integers(0, 60))
def test_a_cut_text_has_its_two_ends_and_says_what_is_missing(text: str, keep: int) -> None:
    cut = cut_middle(text, keep)
    if len(text) <= keep:
        assert cut == text
        return
    head, tail = keep // 2, keep - keep // 2
    notice = f"\n[{len(text) - keep} {NOTICE}]\n"
    assert cut == text[:head] + notice + text[len(text) - tail :]


# --- over the outbox -----------------------------------------------------------------------------


def contents(said: Sequence[tuple[str, Json]], rates: RateLimits) -> list[Json]:
    """The contents that a client with these limits is sent at once, in its first window."""
    journal = Journal()
    reader = Reader(journal, rates=rates)
    journal.append([Message("iopub", make_frames(*one, "kernel")) for one in said], 0.0)
    return [json.loads(frames[3]) for _, frames in reader.read()]


def test_the_text_of_many_small_messages_is_cut_with_one_notice() -> None:
    said = [("stream", {"name": "stdout", "text": f"{number}\n"}) for number in range(40)]
    [content] = contents(said, RateLimits(data_rate=0.1, window_s=1000))
    assert content["text"].count(NOTICE) == 1
    assert content["text"].startswith("0\n1\n")
    assert content["text"].endswith("38\n39\n")


def test_what_is_no_stream_is_never_cut() -> None:
    said: list[tuple[str, Json]] = [
        ("display_data", {"data": {"text/plain": "x" * 1000}}),
        ("error", {"traceback": ["y" * 1000]}),
    ]
    assert contents(said, RateLimits(data_rate=0.001, window_s=1000)) == [content for _, content in said]
