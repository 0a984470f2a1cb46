"""Who can answer input requests: clients that said so, and have not been silent for too long."""

from __future__ import annotations

import pytest

from fps_kernels.execution.stdin_clients import EXPIRY_S, StdinClients


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clients(clock: Clock) -> StdinClients:
    return StdinClients(clock)


def test_nobody_can_answer_at_first(clients: StdinClients) -> None:
    assert len(clients) == 0


def test_a_client_that_registers_twice_is_one_client(clients: StdinClients) -> None:
    clients.register("a")
    clients.register("a")
    clients.register("b")
    assert len(clients) == 2


def test_a_client_that_left_cannot_answer(clients: StdinClients) -> None:
    clients.register("a")
    clients.register("b")
    clients.remove("a")
    assert len(clients) == 1
    clients.remove("b")
    assert len(clients) == 0


def test_a_client_that_is_not_known_may_leave(clients: StdinClients) -> None:
    clients.register("a")
    clients.remove("b")
    assert len(clients) == 1


def test_a_silent_client_is_forgotten_when_its_time_is_over(clients: StdinClients, clock: Clock) -> None:
    clients.register("a")
    clock.now += EXPIRY_S - 0.001
    assert len(clients) == 1
    clock.now += 0.001
    assert len(clients) == 0


def test_a_client_that_registers_again_has_all_its_time_again(clients: StdinClients, clock: Clock) -> None:
    clients.register("a")
    clients.register("b")
    clock.now += EXPIRY_S - 1
    clients.register("a")
    clock.now += EXPIRY_S - 1
    assert len(clients) == 1


def test_a_client_that_was_forgotten_can_register_again(clients: StdinClients, clock: Clock) -> None:
    clients.register("a")
    clock.now += EXPIRY_S
    clients.register("a")
    assert len(clients) == 1


def test_of_too_many_clients_the_one_heard_of_longest_ago_goes(
    clock: Clock,
) -> None:
    clients = StdinClients(clock, max_clients=3)
    for client in ("a", "b", "c", "a", "d"):
        clock.now += 1
        clients.register(client)
    assert len(clients) == 3
    clients.remove("b")
    assert len(clients) == 3, "b, not a, was to go"
    for client in ("a", "c", "d"):
        clients.remove(client)
    assert len(clients) == 0


def test_a_client_that_is_there_does_not_push_another_out(
    clock: Clock,
) -> None:
    clients = StdinClients(clock, max_clients=2)
    for client in ("a", "b", "b"):
        clients.register(client)
    assert len(clients) == 2


def test_a_user_does_not_remove_the_client_of_another_one() -> None:
    clients = StdinClients()
    clients.register("me", "ada")
    clients.remove("me", "bob")
    clients.remove("me")
    assert len(clients) == 1
    clients.register("me", "bob")
    assert len(clients) == 2
    clients.remove("me", "ada")
    clients.remove("me", "bob")
    assert len(clients) == 0
