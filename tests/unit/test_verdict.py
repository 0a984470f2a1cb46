"""What becomes of kernels that a server finds at its start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.kernels.keeping.verdict import Verdict, reason_of, verdict_of, was_ready
from fps_kernels.process_mark import ProcessMark
from fps_kernels.store.model import KernelRow, Phase, Purpose

MARK = ProcessMark(1, 1, "1", "boot", "host")


@pytest.mark.parametrize(
    ("purpose", "phase", "verdict"),
    [
        (Purpose.USER, Phase.LAUNCHING, Verdict.ADOPT),
        (Purpose.USER, Phase.RUNNING, Verdict.ADOPT),
        (Purpose.USER, Phase.RESTARTING, Verdict.ADOPT),
        (Purpose.USER, Phase.ENDING, Verdict.END),
        (Purpose.USER, Phase.DEAD, Verdict.SHOW_DEAD),
    ],
)
def test_the_kernel_of_a_user(purpose: Purpose, phase: Phase, verdict: Verdict) -> None:
    assert verdict_of(KernelRow("k", "python3", purpose=purpose, phase=phase)) is verdict


@given(st.sampled_from([Purpose.POOL, Purpose.WARM]), st.sampled_from(Phase))
def test_what_the_server_started_for_itself_is_ended(purpose: Purpose, phase: Phase) -> None:
    assert verdict_of(KernelRow("k", "python3", purpose=purpose, phase=phase)) is Verdict.END


@pytest.mark.parametrize(
    ("generation", "phase", "ready"),
    [
        (0, Phase.LAUNCHING, False),
        (1, Phase.LAUNCHING, False),
        (1, Phase.RUNNING, True),
        (1, Phase.RESTARTING, True),
        (2, Phase.LAUNCHING, True),
    ],
)
def test_whether_somebody_may_have_used_a_kernel(generation: int, phase: Phase, ready: bool) -> None:
    assert was_ready(KernelRow("k", "python3", generation=generation, phase=phase)) is ready


@pytest.mark.parametrize(
    ("process", "same_boot", "runs", "words"),
    [
        (MARK, False, False, "machine was restarted"),
        (MARK, True, False, "died while no server was running"),
        (MARK, True, True, "could not be taken over"),
        (None, True, False, "died while no server was running"),
    ],
)
def test_why_a_kernel_is_dead(process: ProcessMark | None, same_boot: bool, runs: bool, words: str) -> None:
    assert words in reason_of(KernelRow("k", "python3", process=process), same_boot=same_boot, runs=runs)
