"""Every way from one state of a kernel to another, written down a second time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from fps_kernels.errors import InvalidTransition
from fps_kernels.kernel_driver.state import ExecutionState, KernelState

from ..support.cases import for_each

ALLOWED = {
    ("starting", "idle"),
    ("starting", "busy"),
    ("starting", "restarting"),
    ("starting", "terminating"),
    ("starting", "dead"),
    ("idle", "busy"),
    ("idle", "restarting"),
    ("idle", "terminating"),
    ("idle", "dead"),
    ("busy", "idle"),
    ("busy", "restarting"),
    ("busy", "terminating"),
    ("busy", "dead"),
    ("restarting", "idle"),
    ("restarting", "busy"),
    ("restarting", "terminating"),
    ("restarting", "dead"),
    ("terminating", "dead"),
    ("dead", "restarting"),
    ("dead", "terminating"),
}
STATES = [state.value for state in ExecutionState]
DIFFERENT = [pair for pair in product(STATES, STATES) if pair[0] != pair[1]]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def in_state(name: str) -> KernelState:
    """A kernel that came to this state by allowed ways, long ago."""
    state = KernelState()
    if name != "starting":
        state.change(ExecutionState(name), f"why {name}")
    state.last_activity = LONG_AGO
    return state


@for_each(("old", "new"), [pair for pair in DIFFERENT if pair in ALLOWED])
def test_allowed_transition(old: str, new: str) -> None:
    state = in_state(old)
    assert state.change(ExecutionState(new), "because") is True
    assert state.execution_state == new
    assert state.reason == "because"
    assert state.last_activity == LONG_AGO


@for_each(("old", "new"), [pair for pair in DIFFERENT if pair not in ALLOWED])
def test_forbidden_transition_raises_and_changes_nothing(old: str, new: str) -> None:
    state = in_state(old)
    reason = state.reason
    with pytest.raises(InvalidTransition, match=f"from {old} to {new}"):
        state.change(ExecutionState(new), "because")
    assert (state.execution_state, state.reason) == (old, reason)
    assert state.last_activity == LONG_AGO


@for_each("name", STATES)
def test_the_same_state_is_no_change(name: str) -> None:
    state = in_state(name)
    assert state.change(ExecutionState(name)) is False
    assert state.execution_state == name


def test_the_same_state_may_get_a_reason() -> None:
    state = in_state("dead")
    state.change(ExecutionState.DEAD, "another")
    assert state.reason == "another"


def test_the_same_state_without_reason_keeps_the_reason() -> None:
    state = in_state("dead")
    state.change(ExecutionState.DEAD)
    assert state.reason == "why dead"


def test_a_new_state_forgets_the_reason_of_the_old_one() -> None:
    state = in_state("restarting")
    state.change(ExecutionState.IDLE)
    assert state.reason is None


def test_a_new_kernel_is_starting() -> None:
    state = KernelState()
    assert state.execution_state is ExecutionState.STARTING
    assert state.reason is None
    assert datetime.now(UTC) - state.last_activity < timedelta(minutes=1)


@for_each("name", STATES)
def test_ready_is_idle_or_busy(name: str) -> None:
    assert in_state(name).ready == (name in ("idle", "busy"))


@pytest.mark.parametrize(("old", "new"), [("idle", "busy"), ("busy", "idle")])
def test_what_a_ready_on_kernel_status_is_a_change_and_work(old: str, new: str) -> None:
    state = in_state(old)
    assert state.on_kernel_status(ExecutionState(new)) is True
    assert state.execution_state == new
    assert state.last_activity > LONG_AGO


@pytest.mark.parametrize("name", ["idle", "busy"])
def test_a_kernel_that_repeats_itself_is_active_but_unchanged(name: str) -> None:
    state = in_state(name)
    assert state.on_kernel_status(ExecutionState(name)) is False
    assert state.last_activity > LONG_AGO


@for_each("old", ["starting", "restarting", "terminating", "dead"])
def test_what_a_kernel_says_that_is_not_ready_is_no_news(old: str) -> None:
    for said in STATES:
        state = in_state(old)
        assert state.on_kernel_status(ExecutionState(said)) is False
        assert state.execution_state == old
        assert state.last_activity == LONG_AGO


@for_each(("old", "said"), list(product(["idle", "busy"], ["starting", "restarting", "terminating", "dead"])))
def test_a_kernel_does_not_decide_about_its_life(old: str, said: str) -> None:
    state = in_state(old)
    assert state.on_kernel_status(ExecutionState(said)) is False
    assert state.execution_state == old
    assert state.last_activity == LONG_AGO
