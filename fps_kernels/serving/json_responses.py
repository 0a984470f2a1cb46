"""Responses in JSON, and the form that all errors have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, dict(headers or {}), "application/json")


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error in the form that all errors have: what happened, and the status in words."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:  # a status of a personality's own
        reason = "Unknown"
    return json_response({"message": message, "reason": reason}, status, headers)
