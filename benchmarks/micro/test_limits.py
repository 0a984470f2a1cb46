"""The rate limiter of iopub, and what it does with the messages that are too many."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from fps_kernels.kernel_server.iopub_log import IopubLog, ReplayLimits, merge_entries
from fps_kernels.kernel_server.rate_limit import RateLimiter, RateLimits, cut_middle

from .messages import BATCH, batch


def test_limiter(benchmark: BenchmarkFixture) -> None:
    """What a run of messages costs more where there is a limit."""
    limiter = RateLimiter(RateLimits(msg_rate=1_000, data_rate=1_000_000))

    def run() -> None:
        limiter.too_many(1.0)
        limiter.count(1.0, 24)
        limiter.allow_text(1.0, 100)

    benchmark(run)


def test_merge(benchmark: BenchmarkFixture) -> None:
    """BATCH lines to one message."""
    log = IopubLog(ReplayLimits())
    log.append(batch(), 0.0)
    entries = log.read(0, BATCH, 1 << 30)
    assert len(benchmark(merge_entries, entries)) == 1


def test_cut_middle(benchmark: BenchmarkFixture) -> None:
    assert benchmark(cut_middle, "x" * 1_000_000, 10_000)
