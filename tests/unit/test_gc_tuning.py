"""Our commands collect no garbage while they start, and do as soon as they serve."""

from __future__ import annotations

import gc

import pytest

from fps_kernels.serving.gc_tuning import collect_from_now, collect_later


class Cyclic:
    def __init__(self) -> None:
        self.me = self


def test_nothing_is_collected_until_it_is_said() -> None:
    with collect_later():
        assert not gc.isenabled()
        collect_from_now()
        assert gc.isenabled()
    assert gc.isenabled()


def test_collection_goes_on_when_the_start_fails() -> None:
    with pytest.raises(OSError, match="no port"), collect_later():
        raise OSError("no port")
    assert gc.isenabled()


def test_a_collection_passes_over_what_was_there_at_the_start() -> None:
    before = len(gc.get_objects())
    try:
        with collect_later():
            collect_from_now()
        assert len(gc.get_objects()) < before / 10  # the frozen ones are not among them
        Cyclic()
        gc.collect()
        assert not any(isinstance(one, Cyclic) for one in gc.get_objects())
    finally:
        gc.unfreeze()
