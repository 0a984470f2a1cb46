"""What is counted of kernels, and how histograms are told to Prometheus."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.histogram import Histogram
from fps_kernels.kernel_driver.exit_status import ExitStatus
from fps_kernels.kernel_server.tally import FROM_KERNEL, Tally
from fps_kernels.metrics.families import histogram

from ..support.cases import for_each

BOUNDS = (0.1, 1.0, 10.0)


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_each_value_up_to_its_bounds(values: list[float]) -> None:
    one = Histogram(BOUNDS)
    for value in values:
        one.observe(value)
    assert list(accumulate(one.counts)) == [sum(value <= bound for value in values) for bound in (*BOUNDS, 1e9)]
    samples = histogram("x", "What x is.", {("a",): one}, ["label"]).samples
    assert [sample.value for sample in samples if sample.name == "fps_kernels_x_bucket"] == list(accumulate(one.counts))
    assert [sample.value for sample in samples if sample.name == "fps_kernels_x_count"] == [len(values)]
    assert [sample.labels["le"] for sample in samples if "le" in sample.labels] == ["0.1", "1.0", "10.0", "+Inf"]


def test_tallies_add_up_and_copies_stay_as_they_were() -> None:
    total, one = Tally(), Tally(merged=1, truncated=2, replayed=3, missing=4, opened=5, slow=6)
    one.flows[FROM_KERNEL, "iopub"].messages = 7
    one.flows[FROM_KERNEL, "iopub"].bytes = 8
    total.add(one)
    assert total == one
    copy = total.copy()
    total.add(one)
    assert copy == one != total
    assert (total.merged, total.slow, total.flows[FROM_KERNEL, "iopub"].messages) == (2, 12, 14)


@for_each(
    ("code", "out_of_memory", "kind"),
    [
        (None, None, "unknown"),
        (0, None, "exit"),
        (7, None, "exit"),
        (-9, True, "out of memory"),
        (-9, None, "SIGKILL"),
        (-9, False, "SIGKILL"),
        (-11, False, "SIGSEGV"),
        (-63, None, "signal"),
    ],
)
def test_the_end_of_a_process_is_one_of_few_words(code: int | None, out_of_memory: bool | None, kind: str) -> None:
    assert ExitStatus(code, out_of_memory=out_of_memory).kind == kind
