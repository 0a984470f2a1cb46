"""The steps of a handshake, on a clock of the test's own."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fps_kernels.errors import KernelTimeout
from fps_kernels.kernel_driver.handshake import (
    INTERVAL_S,
    IOPUB_FIRST_RETRY_S,
    IOPUB_GIVE_UP_S,
    IOPUB_REOPEN_AFTER_S,
    STDIN_CHECK_S,
    STDIN_GIVE_UP_S,
    STDIN_REOPEN_AFTER_S,
    Ask,
    Handshake,
    Ready,
    Reopen,
    ReopenLost,
    Step,
    Wait,
)

BEGIN = 1_000.0


class Kernel:
    """A handshake with a kernel that answers on shell and publishes at these times, in seconds after the begin.

    stdin_at: when its stdin is connected.
    """

    def __init__(
        self,
        replies_at: float = float("inf"),
        publishes_at: float = float("inf"),
        *,
        ask_control: bool = False,
        stdin_at: float = 0.0,
    ) -> None:
        self.handshake = Handshake(BEGIN, 60, ask_control=ask_control)
        self.now = BEGIN
        self._replies_at = BEGIN + replies_at
        self._publishes_at = BEGIN + publishes_at
        self._stdin_at = BEGIN + stdin_at

    def step(self) -> Step:
        """The next step; a wait is waited for, but not beyond the next thing that is heard."""
        step = self.handshake.next(
            self.now,
            replied=self.now >= self._replies_at,
            published=self.now >= self._publishes_at,
            stdin=self.now >= self._stdin_at,
        )
        if isinstance(step, Wait):
            assert step.seconds > 0
            events = [at for at in (self._replies_at, self._publishes_at) if at > self.now]
            self.now = min([self.now + step.seconds, *events])
        return step

    def run(self) -> list[Step]:
        """All steps but the waits, to the end."""
        steps = []
        while not isinstance(step := self.step(), Ready):
            if not isinstance(step, Wait):
                steps.append(step)
        return [*steps, step]

    @property
    def elapsed_s(self) -> float:
        return self.now - BEGIN


def test_a_kernel_that_answers_and_is_heard_is_ready_at_once() -> None:
    kernel = Kernel(replies_at=0.3, publishes_at=0.2)
    assert kernel.run() == [Ask("shell"), ReopenLost(), Ready(iopub=True)]
    assert kernel.elapsed_s == pytest.approx(0.3)


def test_a_kernel_that_does_not_answer_is_asked_again() -> None:
    kernel = Kernel(replies_at=2.5 * INTERVAL_S, publishes_at=0)
    assert kernel.run() == [*[Ask("shell"), ReopenLost()] * 3, Ready(iopub=True)]


def test_an_answer_is_not_slept_over() -> None:
    kernel = Kernel(replies_at=0.1, publishes_at=0.1)
    kernel.run()
    assert kernel.elapsed_s == pytest.approx(0.1)


def test_lost_sockets_are_looked_for_after_the_answer_too() -> None:
    """stdin or control may be lost while shell works."""
    kernel = Kernel(replies_at=0.1, publishes_at=0.1)
    assert kernel.run()[-2] == ReopenLost()


def test_a_kernel_that_may_be_busy_is_asked_on_control_too() -> None:
    kernel = Kernel(replies_at=INTERVAL_S + 0.1, publishes_at=0, ask_control=True)
    assert kernel.run() == [*[Ask("shell"), Ask("control"), ReopenLost()] * 2, Ready(iopub=True)]


def test_a_kernel_that_was_not_heard_on_iopub_is_asked_again_soon() -> None:
    kernel = Kernel(replies_at=0.1, publishes_at=0.1 + 2.5 * IOPUB_FIRST_RETRY_S)
    assert kernel.run() == [Ask("shell"), ReopenLost(), Ask("shell"), Ready(iopub=True)]
    assert kernel.elapsed_s == pytest.approx(0.1 + 2.5 * IOPUB_FIRST_RETRY_S)


def test_waits_for_iopub_double() -> None:
    kernel = Kernel(replies_at=0)
    asked_at = []
    while not isinstance(step := kernel.step(), Ready):
        if step == Ask("shell"):
            asked_at.append(kernel.elapsed_s)
    pauses = [later - earlier for earlier, later in pairwise([0, *asked_at])]
    assert pauses == pytest.approx([IOPUB_FIRST_RETRY_S * 2**n for n in range(len(pauses))])
    assert len(pauses) > 4


def test_iopub_is_reopened_once_after_a_long_silence() -> None:
    kernel = Kernel(replies_at=0)
    before = 0.0
    reopened_at = []
    while not isinstance(step := kernel.step(), Ready):
        if step == Reopen("iopub"):
            reopened_at.append(kernel.elapsed_s - before)
        if step == Ask("shell"):
            before = kernel.elapsed_s
    (waited_s,) = reopened_at
    assert IOPUB_REOPEN_AFTER_S < waited_s <= 2 * IOPUB_REOPEN_AFTER_S


def test_the_question_is_asked_again_on_the_new_iopub() -> None:
    steps = Kernel(replies_at=0).run()
    assert steps[steps.index(Reopen("iopub")) + 1] == Ask("shell")


def test_iopub_that_is_heard_soon_is_not_reopened() -> None:
    assert Reopen("iopub") not in Kernel(replies_at=0, publishes_at=IOPUB_REOPEN_AFTER_S).run()


def test_a_kernel_that_publishes_nothing_is_ready_in_the_end() -> None:
    kernel = Kernel(replies_at=0.2)
    assert kernel.run()[-1] == Ready(iopub=False)
    assert kernel.elapsed_s == pytest.approx(0.2 + IOPUB_GIVE_UP_S)


@pytest.mark.parametrize(("replies_at", "timeout_s"), [(float("inf"), 3.3), (3.0, 3.3), (float("inf"), 0.0)])
def test_it_ends_at_the_deadline(replies_at: float, timeout_s: float) -> None:
    kernel = Kernel(replies_at=replies_at)
    kernel.handshake = Handshake(BEGIN, timeout_s)
    with pytest.raises(KernelTimeout, match=rf"within {timeout_s:g} s"):
        kernel.run()
    assert kernel.elapsed_s == pytest.approx(timeout_s)


def test_an_answer_at_the_deadline_is_in_time() -> None:
    handshake = Handshake(BEGIN, 1)
    assert handshake.next(BEGIN, replied=False, published=False, stdin=True) == Ask("shell")
    assert handshake.next(BEGIN, replied=False, published=False, stdin=True) == Wait(INTERVAL_S)
    assert handshake.next(BEGIN + 2, replied=True, published=True, stdin=True) == ReopenLost()
    assert handshake.next(BEGIN + 2, replied=True, published=True, stdin=True) == Ready(iopub=True)


def test_a_call_that_comes_early_waits_for_the_rest() -> None:
    handshake = Handshake(BEGIN, 60)
    handshake.next(BEGIN, replied=False, published=False, stdin=True)
    handshake.next(BEGIN, replied=False, published=False, stdin=True)
    step = handshake.next(BEGIN + 0.1, replied=False, published=True, stdin=True)
    assert isinstance(step, Wait)
    assert step.seconds == pytest.approx(INTERVAL_S - 0.1)


def test_a_connected_stdin_costs_no_time() -> None:
    kernel = Kernel(0.1, 0.1)
    assert isinstance(kernel.run()[-1], Ready)
    assert kernel.elapsed_s == pytest.approx(0.1)


def test_a_stdin_that_connects_late_is_waited_for() -> None:
    kernel = Kernel(0.1, 0.1, stdin_at=0.2)
    assert Reopen("stdin") not in kernel.run()
    assert 0.2 <= kernel.elapsed_s <= 0.2 + STDIN_CHECK_S


def test_a_stdin_that_libzmq_has_given_up_is_reopened_once() -> None:
    kernel = Kernel(0.1, 0.1, stdin_at=0.1 + STDIN_REOPEN_AFTER_S + 0.1)
    assert kernel.run().count(Reopen("stdin")) == 1
    assert kernel.elapsed_s < 0.1 + STDIN_REOPEN_AFTER_S + 0.2


def test_a_stdin_that_never_connects_does_not_keep_the_kernel_from_being_ready() -> None:
    kernel = Kernel(0.1, 0.1, stdin_at=float("inf"))
    assert isinstance(kernel.run()[-1], Ready)
    assert kernel.elapsed_s == pytest.approx(0.1 + STDIN_GIVE_UP_S, abs=2 * STDIN_CHECK_S)
