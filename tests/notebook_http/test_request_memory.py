"""What a request to a notebook's API takes while it is read."""

from __future__ import annotations

import tracemalloc

import pytest

from fps_kernels.notebook_http.request.request_limits import RequestLimits
from fps_kernels.notebook_http.request.request_variable import request_pieces

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
FIELD = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n'


@pytest.mark.parametrize(
    ("content_type", "unit"),
    [
        ("application/json", b"[[],[],"),
        ("application/json", b'["a",'),
        ("application/json", b'{"\\u00e9":'),
        ("application/json", '["é中",'.encode()),
        ("application/json; charset=latin-1", '["é",'.encode("latin-1")),
        ("text/plain", '"\\\x01é😀'.encode()),
        ("text/plain; charset=shift-jis", "ソ".encode("shift-jis")),
        ("application/octet-stream", b"\xff\x00"),
        (FORM, b"%22+%C3%A9%ff%"),
        (FORM, "é%".encode()),
        (MULTIPART, b"--b"),
    ],
)
def test_a_large_body_takes_a_small_multiple_of_its_size(content_type: str, unit: bytes) -> None:
    """It was up to 47 times. JSON is taken as it is, valid or not."""
    size = 400_000
    body = unit * (size // len(unit))
    if unit.startswith((b"[", b"{")):
        body = {b"[[],[],": b"[" + b"[]," * (size // 3) + b"[]]"}.get(unit, b"[" + (unit[1:-1] + b",") * (size // 5))
    if content_type == MULTIPART:
        body = FIELD[:-2] + body + b"\r\n--b--"
    headers = [(b"content-type", content_type.encode())]
    tracemalloc.start()
    try:
        for _ in request_pieces(headers, b"", {}, body, RequestLimits()):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * size + 1_000_000  # a slice and what is read of it
