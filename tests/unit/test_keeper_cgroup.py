"""Which control group systemd knows a process by."""

from __future__ import annotations

import os

import pytest

from fps_kernels.kept.keeper_cgroup import control_group, parse_group


@pytest.mark.parametrize(
    ("lines", "group"),
    [
        (["0::/system.slice/a.service"], "/system.slice/a.service"),
        (["2:cpu:/a", "1:name=systemd:/system.slice/b.service", "0::/"], "/system.slice/b.service"),
        (["3:cpu:/a", "0::/c:d"], "/c:d"),
        (["2:cpu:/a"], ""),
        ([], ""),
    ],
)
def test_the_group_of_either_version(lines: list[str], group: str) -> None:
    assert parse_group(lines) == group


def test_that_of_a_process_which_is_gone_is_not_known() -> None:
    assert control_group(os.getpid()) == control_group("self")
    assert control_group(2**22 + 1) == ""
