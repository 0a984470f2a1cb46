"""How often, and how soon, a kernel that dies is restarted."""

from __future__ import annotations

from fps_kernels.kernel_driver.restart_budget import MAX_BACKOFF_S, RestartBudget


def test_the_first_death_is_followed_by_a_restart_without_a_wait() -> None:
    assert RestartBudget(limit=5, window_s=60, backoff_s=0.5).on_death(100) == 0


def test_the_waits_double_up_to_a_bound() -> None:
    budget = RestartBudget(limit=8, window_s=60, backoff_s=0.5)
    assert [budget.on_death(100) for _ in range(8)] == [0, 0.5, 1, 2, 4, 8, MAX_BACKOFF_S, MAX_BACKOFF_S]


def test_a_kernel_stays_dead_after_as_many_deaths_as_the_limit() -> None:
    budget = RestartBudget(limit=2, window_s=60, backoff_s=0)
    assert [budget.on_death(100 + second) for second in range(4)] == [0, 0, None, None]


def test_with_a_limit_of_zero_the_first_death_is_the_last() -> None:
    assert RestartBudget(limit=0, window_s=60, backoff_s=0.5).on_death(100) is None


def test_deaths_before_the_window_do_not_count() -> None:
    budget = RestartBudget(limit=1, window_s=60, backoff_s=0.5)
    assert [budget.on_death(time) for time in (0, 61, 122, 182)] == [0, 0, 0, None]


def test_a_reset_forgets_all_deaths() -> None:
    budget = RestartBudget(limit=1, window_s=60, backoff_s=0.5)
    budget.on_death(100)
    budget.reset()
    assert budget.on_death(100) == 0
