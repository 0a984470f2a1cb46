"""What all tests have: a marker for each folder, and how hypothesis looks for examples."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

FOLDER = Path(__file__).parent

# How long an example takes is no matter of the tests: a busy machine has nothing to report.
settings.register_profile("thorough", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("thorough"), max_examples=3)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A job that a script runs in the background: kernels would inherit that, and could not be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)


SLOW = (
    "test_collaboration",
    "test_collaboration_on_stock",
    "test_kept_versions",
    "test_lab_keeps",
    "test_connection_bounds",
    "test_jupyterlab_on_stock",
    "test_kept_midway",
    "test_kept_on_stock",
    "test_kept_queue_on_stock",
    "test_exactness",
    "test_execution_handlers",
    "test_beside_others",
    "test_kept_over_kills",
    "test_execution_on_stock",
    "test_jupyterlab",
    "test_kernels_ready",
    "test_docs_commands",
    "test_leaks_on_stock",
)
"""The files that take longest. They come first, so that no worker has one left when all others have ended."""


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # by their numbers of tests, of which the slow ones have few


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    places = {name: number for number, name in enumerate(SLOW)}
    items.sort(key=lambda item: places.get(item.path.stem, len(SLOW)))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test with the name of its folder: `pytest -m unit` is `pytest tests/unit`."""
    item.add_marker(item.path.relative_to(FOLDER).parts[0])


def pytest_collection_finish() -> None:
    """Keep the collected tests out of the garbage collector's way: they live until the end, and are many."""
    gc.freeze()
