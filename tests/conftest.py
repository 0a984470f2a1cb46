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


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test with the name of its folder: `pytest -m unit` is `pytest tests/unit`."""
    item.add_marker(item.path.relative_to(FOLDER).parts[0])


def pytest_collection_finish() -> None:
    """Keep the collected tests out of the garbage collector's way: they live until the end, and are many."""
    gc.freeze()
