"""What is noted about a queue of cells, and what the next server reads of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fps_kernels.execution.queue_record import found_requests
from fps_kernels.kept.kept_notes import MAX_SENT, KeptNotes

WHOLE = {"path": "a.ipynb", "single": True, "after": None, "cells": [["a", 0, "1"], ["b", 1, "2"]]}


def test_requests_come_in_the_order_of_their_places_and_those_without_one_last() -> None:
    notes = {"request:x": WHOLE, "request:y": WHOLE, "request:z": WHOLE, "place:y": 0, "place:z": 1}
    assert [one.id for one in found_requests(notes)] == ["y", "z", "x"]


def test_a_cell_is_as_it_was_noted() -> None:
    noted = {"msg_id": "m", "begin": 7, "state": "error", "count": 3, "reason": None, "settled": False}
    [found] = found_requests(json.loads(json.dumps({"request:x": WHOLE, "cell:x:1": noted})))
    first, second = found.cells
    assert (first.cell_id, first.position, first.code, first.msg_id, first.state) == ("a", 0, "1", "", None)
    assert (second.msg_id, second.begin, second.state, second.count) == ("m", 7, "error", 3)


@pytest.mark.parametrize(
    "garbage",
    [
        {"request:x": 1},
        {"request:x": {}},
        {"request:x": WHOLE | {"cells": [["a"]]}},
        {"request:x": WHOLE | {"cells": None}},
        {"request:x": WHOLE, "cell:x:0": {"state": "unknown"}},
        {"request:x": WHOLE, "cell:x:0": {"of a later version": 1}},
        {"request:x": WHOLE, "cell:x:0": 7},
    ],
)
def test_a_request_that_is_not_known_is_left_out_and_the_others_stay(
    garbage: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert [one.id for one in found_requests(garbage | {"request:y": WHOLE})] == ["y"]
    assert "a way that is not known" in caplog.text


def test_the_requests_that_have_arrived_are_bounded() -> None:
    notes = KeptNotes(lambda: 0, lambda: False)
    for number in range(MAX_SENT + 1):
        notes.on_sent(str(number))
    assert not notes.was_sent("0")
    assert notes.was_sent("1")
    assert notes.was_sent(str(MAX_SENT))
