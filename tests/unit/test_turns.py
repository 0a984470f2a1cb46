"""When kernels share the loop, so that one with a flood takes pauses."""

from __future__ import annotations

from fps_kernels.kernel_driver.turns import SHARED_S, Turns


def test_a_kernel_that_is_alone_shares_with_nobody() -> None:
    turns = Turns()
    assert not any(turns.are_shared("a", n * SHARED_S / 10) for n in range(100))


def test_two_that_have_something_at_the_same_time_share() -> None:
    turns = Turns()
    assert not turns.are_shared("a", 1)
    assert turns.are_shared("b", 1 + SHARED_S / 2)
    assert turns.are_shared("a", 1 + SHARED_S)


def test_sharing_ends_when_the_other_has_nothing_for_a_while() -> None:
    turns = Turns()
    turns.are_shared("a", 1)
    turns.are_shared("b", 1)
    assert turns.are_shared("a", 1 + SHARED_S * 0.9)
    assert turns.are_shared("a", 1 + SHARED_S * 1.8)  # the last change of kernels was a moment ago
    assert not turns.are_shared("a", 1 + SHARED_S * 2.7)


def test_one_after_the_other_is_not_at_the_same_time() -> None:
    turns = Turns()
    assert not any(turns.are_shared(kernel, n * SHARED_S * 1.1) for n, kernel in enumerate("ababab"))
