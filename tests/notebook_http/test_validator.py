"""The documents about the API of a notebook, as a validator sees them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fps_kernels.notebook_http.openapi import openapi, swagger

PATHS = [
    ("/name", ["GET", "POST"]),
    ("/a/:first/b/:last", ["HEAD", "PATCH", "DELETE"]),
    ("/:é/a b/{c}/:é", ["PUT"]),
]


@pytest.mark.parametrize(
    "document",
    [swagger("n.ipynb", PATHS, "/base/"), openapi("n.ipynb", PATHS, "/base/", {("/name", "GET")})],
    ids=["swagger", "openapi"],
)
def test_a_validator_takes_the_documents(document: dict[str, Any]) -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(json.loads(json.dumps(document)))
