"""Which kernels are culled, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fps_kernels.kernel_driver.state import ExecutionState
from fps_kernels.kernels.cull_policy import CullPolicy

from ..support.cases import for_each

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def verdict(policy: CullPolicy, idle_s: float = 100.0, state: str = "idle", connections: int = 0) -> tuple[bool, str]:
    return policy.verdict(NOW, NOW - timedelta(seconds=idle_s), ExecutionState(state), connections)


def test_by_default_nothing_is_culled() -> None:
    assert verdict(CullPolicy(), idle_s=1e9) == (False, "it has no cull_idle_timeout")


@pytest.mark.parametrize(("idle_s", "cull"), [(9, False), (10, False), (10.1, True)])
def test_a_kernel_is_culled_after_the_timeout(idle_s: float, cull: bool) -> None:
    assert verdict(CullPolicy(10), idle_s)[0] is cull


def test_the_reason_says_for_how_long_the_kernel_was_inactive() -> None:
    assert verdict(CullPolicy(10), 42)[1] == "inactive for 42 s, more than 10"
    assert verdict(CullPolicy(50), 42)[1] == "inactive for only 42 s"


@pytest.mark.parametrize("connected", [False, True])
def test_a_kernel_with_clients_is_culled_only_with_cull_connected(connected: bool) -> None:
    assert verdict(CullPolicy(10, connected=connected), connections=2)[0] is connected
    assert verdict(CullPolicy(10), connections=2)[1] == "it has 2 connections"


@pytest.mark.parametrize("busy", [False, True])
def test_a_busy_kernel_is_culled_only_with_cull_busy(busy: bool) -> None:
    assert verdict(CullPolicy(10, busy=busy), state="busy")[0] is busy
    assert verdict(CullPolicy(10), state="busy")[1] == "it is busy"


def test_cull_busy_is_not_cull_connected() -> None:
    assert not verdict(CullPolicy(10, busy=True), state="busy", connections=1)[0]


@pytest.mark.parametrize("state", ["starting", "restarting", "terminating"])
def test_a_kernel_on_its_way_is_left_alone(state: str) -> None:
    assert verdict(CullPolicy(10, True, True), state=state) == (False, f"it is {state}")


def test_a_dead_kernel_is_culled() -> None:
    assert verdict(CullPolicy(10), state="dead")[0]


def test_the_metadata_of_a_kernelspec_goes_before_the_configuration() -> None:
    metadata = {"cull_idle_timeout": 7, "cull_connected": True, "cull_busy": False}
    assert CullPolicy(10, False, True).for_kernelspec(metadata) == CullPolicy(7, True, False)


def test_metadata_can_switch_culling_off() -> None:
    assert CullPolicy(10).for_kernelspec({"cull_idle_timeout": 0}) == CullPolicy(0)


@for_each(
    "metadata",
    [
        {},
        {"cull_idle_timeout": "7"},
        {"cull_idle_timeout": True},
        {"cull_idle_timeout": -1},
        {"cull_idle_timeout": float("nan")},
        {"cull_idle_timeout": None},
        {"cull_connected": 1, "cull_busy": "yes"},
    ],
)
def test_metadata_that_makes_no_sense_is_ignored(metadata: dict[str, Any]) -> None:
    assert CullPolicy(10).for_kernelspec(metadata) == CullPolicy(10)
