"""Who can answer input requests: clients that said so, and have not been silent for too long."""

from __future__ import annotations

import pytest

from fps_kernels.execution import stdin_clients as stdin
from fps_kernels.execution.stdin_clients import EXPIRY_S, Answerers


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def answerers(clock: Clock) -> Answerers:
    return Answerers(clock)


def test_nobody_can_answer_at_first(answerers: Answerers) -> None:
    assert len(answerers) == 0


def test_a_client_that_registers_twice_is_one_client(answerers: Answerers) -> None:
    answerers.register("a")
    answerers.register("a")
    answerers.register("b")
    assert len(answerers) == 2


def test_a_client_that_left_cannot_answer(answerers: Answerers) -> None:
    answerers.register("a")
    answerers.register("b")
    answerers.remove("a")
    assert len(answerers) == 1
    answerers.remove("b")
    assert len(answerers) == 0


def test_a_client_that_is_not_known_may_leave(answerers: Answerers) -> None:
    answerers.register("a")
    answerers.remove("b")
    assert len(answerers) == 1


def test_a_silent_client_is_forgotten_when_its_time_is_over(answerers: Answerers, clock: Clock) -> None:
    answerers.register("a")
    clock.now += EXPIRY_S - 0.001
    assert len(answerers) == 1
    clock.now += 0.001
    assert len(answerers) == 0


def test_a_client_that_registers_again_has_all_its_time_again(answerers: Answerers, clock: Clock) -> None:
    answerers.register("a")
    answerers.register("b")
    clock.now += EXPIRY_S - 1
    answerers.register("a")
    clock.now += EXPIRY_S - 1
    assert len(answerers) == 1


def test_a_client_that_was_forgotten_can_register_again(answerers: Answerers, clock: Clock) -> None:
    answerers.register("a")
    clock.now += EXPIRY_S
    answerers.register("a")
    assert len(answerers) == 1


def test_of_too_many_clients_the_one_heard_of_longest_ago_goes(
    answerers: Answerers, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdin, "MAX_CLIENTS", 3)
    for client in ("a", "b", "c", "a", "d"):
        clock.now += 1
        answerers.register(client)
    assert len(answerers) == 3
    answerers.remove("b")
    assert len(answerers) == 3, "b, not a, was to go"
    for client in ("a", "c", "d"):
        answerers.remove(client)
    assert len(answerers) == 0


def test_a_client_that_is_there_does_not_push_another_out(
    answerers: Answerers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdin, "MAX_CLIENTS", 2)
    for client in ("a", "b", "b"):
        answerers.register(client)
    assert len(answerers) == 2
