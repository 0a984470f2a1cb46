"""The log of iopub messages: what each costs on its way through, and when the log is full. Rounds of BATCH messages."""

from __future__ import annotations

from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from fps_kernels.kernel_driver.message import Message
from fps_kernels.kernel_server.iopub_log import IopubLog, ReplayLimits

from .messages import BATCH, batch

A_DRAIN = 16
FOREVER = 1 << 40
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def append(log: IopubLog, messages: list[Message]) -> None:
    for first in range(0, BATCH, A_DRAIN):
        log.append(messages[first : first + A_DRAIN], 0.0)


def test_append(benchmark: BenchmarkFixture) -> None:
    messages = batch()

    def setup() -> Arguments:
        return (IopubLog(ReplayLimits()), messages), {}

    benchmark.pedantic(append, setup=setup, rounds=100, warmup_rounds=5)


def test_append_read_forget(benchmark: BenchmarkFixture) -> None:
    """With a client that keeps pace: nothing stays in the log."""
    messages = batch()
    log = IopubLog(ReplayLimits())

    def follow() -> None:
        for first in range(0, BATCH, A_DRAIN):
            cursor = log.next_seq
            log.append(messages[first : first + A_DRAIN], 0.0)
            log.read(cursor, A_DRAIN, FOREVER)
            log.forget_before(log.next_seq)

    benchmark(follow)
    assert not len(log)


def full_log() -> Arguments:
    """As many messages again as a log of BATCH may keep, that nobody who is connected still has to hear."""
    log = IopubLog(ReplayLimits(max_messages=BATCH))
    log.append(batch(), 0.0)
    log.append(batch(), 0.0)
    return (log,), {}


def test_bounds_by_merging(benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(lambda log: log.keep_bounds((), 0.0, FOREVER), setup=full_log, rounds=50, warmup_rounds=2)


def test_bounds_by_dropping(benchmark: BenchmarkFixture) -> None:
    """Cursors everywhere: nothing can be merged."""
    cursors = frozenset(range(2 * BATCH))
    benchmark.pedantic(lambda log: log.keep_bounds(cursors, 0.0, FOREVER), setup=full_log, rounds=50, warmup_rounds=2)
