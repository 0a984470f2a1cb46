"""Models of JSON bodies: what they take, and how they name what is wrong."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.api.kernel_endpoints import NewKernel
from fps_kernels.api.session_endpoints import NewSession, SessionChange
from fps_kernels.errors import InvalidBody, InvalidField
from fps_kernels.json_model import MAX_TEXT_BYTES, convert, decode

from ..support.cases import for_each

MODELS = (NewKernel, NewSession, SessionChange)
TEXT = f"a string of up to {MAX_TEXT_BYTES} bytes, without NUL"


@for_each(
    ("model", "value", "message"),
    [
        (NewKernel, {"name": 5}, f"name must be {TEXT}"),
        (NewKernel, {"name": "\ud800"}, f"name must be {TEXT}"),
        (NewKernel, {"path": "a\0b"}, f"path must be {TEXT}"),
        (NewKernel, {"env": []}, "env must be an object"),
        (NewKernel, {"env": {"A": 1}}, f"env.A must be {TEXT}, under a name that the environment allows"),
        (NewKernel, {"env": {"A=B": ""}}, f"env.A=B must be {TEXT}, under a name that the environment allows"),
        (
            NewKernel,
            {"env": {"a` - at `$.b": 1}},
            f"env.a` - at `$.b must be {TEXT}, under a name that the environment allows",
        ),
        (NewSession, {"kernel": "\ud800"}, "kernel must be an object"),
        (NewSession, {"kernel": ["python3"]}, "kernel must be an object"),
        (NewSession, {"kernel": {"name": 5}}, f"kernel.name must be {TEXT}"),
        (NewSession, {"notebook": 1}, "notebook must be an object"),
        (SessionChange, {"kernel": {"id": {}}}, f"kernel.id must be {TEXT}"),
    ],
)
def test_a_wrong_field_is_named_with_what_it_must_be(model: Any, value: Any, message: str) -> None:
    with pytest.raises(InvalidField) as caught:
        convert(value, model)
    assert caught.value.message == f"Invalid field in JSON data: {message}"


@for_each(
    "data",
    [
        b"{}",
        b'{"unknown": {"a": [1, NaN, Infinity]}, "name": "k"}',
        b'{"\\ud800": "\\udfff", "name": "k"}',
        b'{"kernel": {"\\ud800": 1}, "name": "k"}',
        b'{"name": 1, "name": "k"}',
        b'\xef\xbb\xbf{"name": "k"}',
        '{"name": "k"}'.encode("utf-16"),
        b'{"unknown": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"unknown": 123456789012345678901234567890}',
    ],
)
@for_each("model", MODELS)
def test_what_is_odd_elsewhere_is_ignored(model: Any, data: bytes) -> None:
    assert convert(decode(data), model).name in (None, "k")


def test_what_is_odd_in_a_name_of_a_variable_is_refused_beside_other_odd_names() -> None:
    with pytest.raises(InvalidField):
        convert({"\ud800": 1, "env": {"KERNEL_\ud800": "x"}}, NewKernel)


NAMES = ["name", "path", "type", "kernel", "notebook", "env", "id", "kernel_id", "\ud800"]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\udfff")
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)


@given(values, st.sampled_from(MODELS))
def test_whatever_a_body_holds_nothing_else_is_raised(value: Any, model: Any) -> None:
    with contextlib.suppress(InvalidBody, InvalidField):
        convert(decode(json.dumps(value).encode()), model)
