"""The body of a request: bytes up to a bound, and the JSON object in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from ..errors import InvalidBody, InvalidField, MissingField

MAX_BODY_BYTES = 1024 * 1024
"""No request of this API comes near it."""
MAX_TEXT_BYTES = 65_536
"""Texts end in environment variables and paths; Linux takes variables of up to 128 KiB."""


class BodyTooLarge(InvalidBody):
    status = 413


class JSONBody:
    """The JSON object that a client sent, asked field by field; each error names its field."""

    def __init__(self, data: Mapping[str, Any], prefix: str = "") -> None:
        self._data = data
        self._prefix = prefix

    def __contains__(self, name: str) -> bool:
        return name in self._data

    def text(self, name: str) -> str | None:
        """A string, or None for null or nothing. Raises InvalidField."""
        value = self._data.get(name)
        if value is None:
            return None
        if not _is_text(value):
            raise InvalidField(self._prefix + name, _TEXT)
        return str(value)

    def required_text(self, name: str) -> str:
        """Raises MissingField, InvalidField."""
        value = self.text(name)
        if value is None:
            raise MissingField(self._prefix + name)
        return value

    def child(self, name: str) -> JSONBody | None:
        """An object, or None for null or nothing. Raises InvalidField."""
        value = self._data.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise InvalidField(self._prefix + name, "an object")
        return JSONBody(value, f"{self._prefix}{name}.")

    def environment(self, name: str) -> dict[str, str]:
        """An object of strings, for environment variables. Raises InvalidField."""
        child = self.child(name)
        if child is None:
            return {}
        for key, value in child._data.items():
            if not _is_text(value) or not _is_text(key) or not key or "=" in key:
                field = f"{self._prefix}{name}.{key[:100]}"
                raise InvalidField(field, f"{_TEXT}, under a name that the environment allows")
        return dict(child._data)


_TEXT = f"a string of up to {MAX_TEXT_BYTES} bytes, without NUL"


def _is_text(value: object) -> bool:
    """Whether it can be a path or an environment variable: JSON also has NUL and halves of surrogate pairs."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        return len(value.encode()) <= MAX_TEXT_BYTES
    except UnicodeEncodeError:
        return False


async def read_body(request: Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Raises BodyTooLarge."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > max_bytes:
            raise BodyTooLarge(f"The body is larger than {max_bytes} bytes")
    return bytes(data)


async def read_json(request: Request) -> JSONBody | None:
    """The body of a request; None when it is empty or null.

    Raises InvalidBody, BodyTooLarge.
    """
    data = await read_body(request)
    if not data.strip():
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidBody("The body is not valid JSON") from exc
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidBody("The body is not a JSON object")
    return JSONBody(value)
