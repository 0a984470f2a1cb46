"""What tells a process from all others."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fps_kernels.process_mark import ProcessMark


def test_a_process_runs_until_it_ends() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    mark = ProcessMark.of(process.pid)
    assert mark is not None
    assert mark.pgid == process.pid
    assert mark.runs
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not mark.runs  # a zombie, whose number is not free yet
    process.communicate()
    assert not mark.runs
    assert ProcessMark.of(process.pid) is None


@pytest.mark.parametrize("other", [{"start_time": "1"}, {"start_time": ""}, {"boot_id": "x"}, {"host": "elsewhere"}])
def test_another_process_with_the_same_number_is_not_it(other: dict[str, str]) -> None:
    mark = ProcessMark.of(os.getpid())
    assert mark is not None
    assert mark.runs
    assert not ProcessMark(**{**mark.to_json(), **other}).runs


def test_a_mark_survives_json() -> None:
    mark = ProcessMark.of(os.getpid())
    assert mark is not None
    assert ProcessMark.from_json(mark.to_json()) == mark


@pytest.mark.parametrize(
    "data",
    [None, 1, "x", [], {}, {"pid": 1}, {"pid": "1", "pgid": 1, "start_time": "", "boot_id": "", "host": ""}]
    + [{"pid": pid, "pgid": 1, "start_time": "1", "boot_id": "", "host": ""} for pid in (0, -1, True, 1.5, None)],
)
def test_what_is_no_mark(data: object) -> None:
    assert ProcessMark.from_json(data) is None
