"""What a keeper leaves to the next program: plain values, and nothing else."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from fps_kernels.keeper import handover


def test_what_was_written_is_read() -> None:
    left = {"a": [1, None, b"\0", "ä"], "b": {"c": 1.5, "d": True}}
    descriptor = handover.write(left)
    assert not os.get_inheritable(descriptor)
    handover.inherit([descriptor])
    assert os.get_inheritable(descriptor)
    assert handover.read(descriptor) == left
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_nothing_else_is_made_of_it() -> None:
    with pytest.raises(pickle.UnpicklingError, match="is no plain value"):
        handover.read(handover.write({"path": Path("/")}))
