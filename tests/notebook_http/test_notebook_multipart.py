"""The body of a form with files, as httpx sends it."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.notebook_http.request.request_variable import request_json


def body_of(sent: httpx.Request) -> Any:
    """The body as a cell is told of it."""
    headers = [(b"content-type", sent.headers["content-type"].encode("latin-1"))]
    return json.loads(request_json(headers, b"", {}, sent.read()))["body"]


def test_multipart_fields_and_files() -> None:
    files: list[tuple[str, Any]] = [
        ("a", (None, b"1")),
        ("a", (None, "é".encode())),
        ("e", (None, b"")),
        ("f", ('Bü"r.png', b"\x89PNG\r\n--b", "image/png")),
        ("f", ("x", b"", "text/plain; charset=latin-1")),
    ]
    sent = httpx.Request("POST", "http://h/", files=files)
    told = body_of(sent)
    name = told["f"][0].pop("filename")
    assert name in ('Bü"r.png', "Bü%22r.png")
    assert told == {
        "a": ["1", "é"],
        "e": [""],
        "f": [
            {"content_type": "image/png", "data": base64.b64encode(b"\x89PNG\r\n--b").decode()},
            {"filename": "x", "content_type": "text/plain; charset=latin-1", "data": ""},
        ],
    }


@given(st.lists(st.tuples(st.text("abcé \"';", min_size=1), st.binary()), min_size=1))
def test_every_file_comes_back(files: list[tuple[str, bytes]]) -> None:
    sent = httpx.Request("POST", "http://h/", files=[("f", (name, data, "a/b")) for name, data in files])
    told = body_of(sent)
    assert [base64.b64decode(file["data"]) for file in told["f"]] == [data for _, data in files]
    assert [file["filename"].replace("%22", '"') for file in told["f"]] == [name for name, _ in files]
