"""Responses in JSON, and the form that all errors have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from ..json_model import finite


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response that a browser can read: NaN and infinite numbers of kernelspecs and notebooks become null."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(value))
    return Response(text, status, dict(headers or {}), "application/json")


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error in the form that all errors have: what happened, and the status in words."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:  # a status of a personality's own
        reason = "Unknown"
    return json_response({"message": message, "reason": reason}, status, headers)
