"""The bodies of execution requests, in every shape that front ends send, and in every shape that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.errors import InvalidExecution
from fps_kernels.execution.request_body import MAX_CELLS, MAX_ID_CHARS, CellChoice, RequestBody, parse_body

from ..support.cases import for_each

DOCUMENT = "json:notebook:0"


def parse(**body: Any) -> RequestBody:
    return parse_body(json.dumps(body).encode())


# --- the shapes ----------------------------------------------------------------------------------


def test_one_cell_by_its_id() -> None:
    assert parse(document_id=DOCUMENT, cell_id="c") == RequestBody(DOCUMENT, (CellChoice("c"),), as_list=False)


def test_one_cell_by_its_id_with_a_hash_and_a_request_id() -> None:
    body = parse(document_id=DOCUMENT, cell_id="c", source_hash="12", request_id="r")
    assert body == RequestBody(DOCUMENT, (CellChoice("c", source_hash="12"),), as_list=False, request_id="r")


def test_one_cell_by_its_number() -> None:
    assert parse(document_id=DOCUMENT, cell_idx=0) == RequestBody(DOCUMENT, (CellChoice(number=0),), as_list=False)


def test_a_list_of_cells() -> None:
    body = parse(
        document_id=DOCUMENT,
        cells=[{"cell_id": "b", "source_hash": "4294967295"}, {"cell_id": "a"}],
        request_id="r",
        previous_request_id="p",
    )
    cells = (CellChoice("b", source_hash="4294967295"), CellChoice("a"))
    assert body == RequestBody(DOCUMENT, cells, as_list=True, request_id="r", previous_request_id="p")


def test_a_list_of_one_cell_is_a_list() -> None:
    body = parse(document_id=DOCUMENT, cells=[{"cell_id": "a"}])
    assert body == RequestBody(DOCUMENT, (CellChoice("a"),), as_list=True)


def test_the_document_may_be_missing() -> None:
    assert parse(cell_id="c").document_id is None
    assert parse(document_id=None, cells=[{"cell_id": "a"}]).document_id is None


def test_what_is_null_is_missing() -> None:
    body = parse(document_id=DOCUMENT, cells=None, cell_id="c", cell_idx=None, source_hash=None, request_id=None)
    assert body == RequestBody(DOCUMENT, (CellChoice("c"),))
    cells: list[Any] = [{"cell_id": "c", "source_hash": None}]
    assert parse(cells=cells, request_id=None, previous_request_id=None) == RequestBody(
        None, (CellChoice("c"),), as_list=True
    )


def test_the_id_of_a_cell_counts_more_than_its_number() -> None:
    assert parse(document_id=DOCUMENT, cell_id="c", cell_idx=3).cells == (CellChoice("c"),)


def test_a_list_counts_more_than_one_cell() -> None:
    assert parse(document_id=DOCUMENT, cells=[{"cell_id": "a"}], cell_id="c").cells == (CellChoice("a"),)


def test_fields_that_are_not_known_are_left_alone() -> None:
    assert parse(cell_id="c", colour="red") == RequestBody(None, (CellChoice("c"),))
    odd: dict[str, Any] = {"cell_id": "c", "\ud800": "\ud800"}
    assert parse(**odd) == RequestBody(None, (CellChoice("c"),))
    assert parse(cells=[odd], **{"\ud800": 1}) == RequestBody(None, (CellChoice("c"),), as_list=True)


@pytest.mark.parametrize("value", [0, 12, 4294967295])
def test_a_hash_may_be_a_number(value: int) -> None:
    assert parse(cell_id="c", source_hash=value).cells[0].source_hash == str(value)


# --- what is wrong -------------------------------------------------------------------------------


@for_each("data", [b"", b"{", b"nothing", b"\xff\xfe", b'{"cell_id": "\xff"}', b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidExecution, match="not valid JSON"):
        parse_body(data)


@for_each("data", [b"null", b"1", b'"text"', b"[]", b'[{"cell_id": "c"}]'])
def test_a_body_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidExecution, match="not a JSON object"):
        parse_body(data)


TOO_LONG = "x" * (MAX_ID_CHARS + 1)
NO_ID: list[Any] = ["", TOO_LONG, 1, True, [], {}, 1.5, "\ud800"]
NO_HASH: list[Any] = ["", "x", "-1", "1.5", "12345678901", 1.5, True, [], {}]
NO_NUMBER: list[Any] = [-1, 1.0, "1", True, [], {}]
NO_CELLS: list[Any] = [[], {}, "c", 1, True]
NO_CELL: list[Any] = [None, "c", 1, []]


@for_each(
    ("body", "field"),
    [
        ({}, "cell_id"),
        ({"document_id": DOCUMENT}, "cells"),
        ({"document_id": DOCUMENT, "cell_id": None}, "cell_idx"),
        *(({"cell_id": "c", "document_id": wrong}, "document_id") for wrong in NO_ID),
        *(({"cell_id": wrong}, "cell_id") for wrong in NO_ID),
        *(({"cell_id": "c", "request_id": wrong}, "request_id") for wrong in NO_ID),
        *(({"cells": [{"cell_id": "c"}], "request_id": wrong}, "request_id") for wrong in NO_ID),
        *(({"cells": [{"cell_id": "c"}], "previous_request_id": wrong}, "previous_request_id") for wrong in NO_ID),
        *(({"cells": [{"cell_id": "c"}, {"cell_id": wrong}]}, "cells[1].cell_id") for wrong in NO_ID),
        *(({"cell_id": "c", "source_hash": wrong}, "source_hash") for wrong in NO_HASH),
        *(({"cells": [{"cell_id": "c", "source_hash": wrong}]}, "cells[0].source_hash") for wrong in NO_HASH),
        *(({"cell_idx": wrong}, "cell_idx") for wrong in NO_NUMBER),
        *(({"cells": wrong}, "cells") for wrong in NO_CELLS),
        *(({"cells": [{"cell_id": "c"}, wrong]}, "cells[1]") for wrong in NO_CELL),
        ({"cells": [{}]}, "cells[0].cell_id"),
        ({"cells": [{"cell_id": None}]}, "cells[0].cell_id"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidExecution) as caught:
        parse(**body)
    assert field in caught.value.message
    assert caught.value.status == 422


def test_ids_may_be_as_long_as_the_bound() -> None:
    assert parse(cell_id="x" * MAX_ID_CHARS).cells[0].cell_id == "x" * MAX_ID_CHARS


def test_a_list_may_be_as_long_as_the_bound() -> None:
    cells = [{"cell_id": "c"}] * MAX_CELLS
    assert len(parse(cells=cells).cells) == MAX_CELLS
    with pytest.raises(InvalidExecution, match=f"cells .*{MAX_CELLS}"):
        parse(cells=[*cells, cells[0]])


NAMES = ["document_id", "cell_id", "cell_idx", "cells", "source_hash", "request_id", "previous_request_id", "\ud800"]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\udfff")
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(NAMES), values, max_size=5))
def test_whatever_the_fields_hold_nothing_else_is_raised(body: dict[str, Any]) -> None:
    try:
        parsed = parse(**body)
    except InvalidExecution as exc:
        exc.message.encode()
        return
    assert parsed.cells
    for choice in parsed.cells:
        assert (choice.cell_id is None) != (choice.number is None)
        assert choice.source_hash is None or int(choice.source_hash) is not None
        (choice.cell_id or "").encode()
    ids = [parsed.document_id, parsed.request_id, parsed.previous_request_id]
    assert all(one is None or (0 < len(one) <= MAX_ID_CHARS and one.encode()) for one in ids)


@given(st.binary(max_size=30) | st.text(st.sampled_from('{}[]":,cell_idx019.eE- \\u'), max_size=20).map(str.encode))
def test_whatever_the_bytes_are_nothing_else_is_raised(data: bytes) -> None:
    try:
        assert isinstance(parse_body(data), RequestBody)
    except InvalidExecution:
        return
