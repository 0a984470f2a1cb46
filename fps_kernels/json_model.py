"""JSON bodies of requests, read as models: msgspec's Structs. Errors name the field, by its path.

A body is decoded by Python's json, which takes what clients have always sent: NaN, other encodings, halves of surrogate
pairs. Fields that a model does not have are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Protocol, Self, TypeVar

import msgspec

from .errors import BodyTooLarge, CompressedBody, InvalidBody, InvalidField, MissingField

Model = TypeVar("Model", bound=msgspec.Struct)

MAX_BODY_BYTES = 1024 * 1024
"""Far more than any request of this API needs."""
MAX_TEXT_BYTES = 65_536
"""Texts become environment variables and paths. Linux allows variables of up to 128 KiB."""

EXPECTED = {"object": "an object"}
"""What a field must be, in the words of our errors, by msgspec's names of types."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Unfit(ValueError):
    """A value is not what its field must be.

    expected: what it must be, as it comes after "must be" in the message.
    key: the key in the field's object that is meant, if it is one.
    """

    def __init__(self, expected: str, key: str | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.key = key


class FieldType(Protocol):
    """A type of a field with rules of its own."""

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Raises Unfit."""
        ...


class Text(str):
    """A string that can be a path or an environment variable: JSON also has NUL and halves of surrogate pairs."""

    EXPECTED = f"a string of up to {MAX_TEXT_BYTES} bytes, without NUL"

    @classmethod
    def fits(cls, value: object) -> bool:
        if not isinstance(value, str) or "\0" in value:
            return False
        try:
            return len(value.encode()) <= MAX_TEXT_BYTES
        except UnicodeEncodeError:
            return False

    @classmethod
    def from_json(cls, value: Any) -> Self:
        if not cls.fits(value):
            raise Unfit(cls.EXPECTED)
        return cls(value)


def finite(value: Any) -> Any:
    """The value with None for NaN and infinite numbers, which Python's json reads and writes, and browsers do not."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def check_codings(codings: str) -> None:
    """Raises CompressedBody unless a body is sent as it is. codings: the header Content-Encoding."""
    if any(coding.strip().lower() not in ("", "identity") for coding in codings.split(",")):
        raise CompressedBody(f"The body is compressed (Content-Encoding: {codings[:100]}): send it uncompressed")


def check_size(data: bytes | bytearray, max_bytes: int = MAX_BODY_BYTES) -> None:
    """Raises BodyTooLarge."""
    if len(data) > max_bytes:
        raise BodyTooLarge(f"The body is larger than {max_bytes} bytes")


def decode(data: bytes) -> Any:
    """Raises InvalidBody when a body is not JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidBody("The body is not valid JSON") from exc


def convert(value: Any, model: type[Model], expected: Mapping[str, str] = EXPECTED) -> Model:
    """What was decoded, as a model.

    expected: see EXPECTED.
    Raises InvalidBody when the value is not an object; InvalidField, MissingField.
    """
    if not isinstance(value, dict):
        raise InvalidBody("The body is not a JSON object")
    try:
        return msgspec.convert(_encodable(value), model, dec_hook=_read_field)
    except msgspec.ValidationError as exc:
        raise _named(exc, expected) from exc


def parse(data: bytes, model: type[Model], *, required: bool = False) -> Model:
    """The model in a body.

    required: whether there must be a body; else one that is empty or null is like an empty object.
    Raises InvalidBody, InvalidField, MissingField.
    """
    value = decode(data) if data.strip() else None
    if value is None and required:
        raise InvalidBody("No JSON data provided")
    return convert({} if value is None else value, model)


def _read_field(kind: type[FieldType], value: Any) -> FieldType:
    return kind.from_json(value)


class _HalfPair:
    """Stands for a string with half of a surrogate pair, which no field may be."""


def _encodable(value: Any, depth: int = 3) -> Any:
    """The same value for msgspec, which fails on strings that UTF-8 cannot encode, even where they are ignored.

    depth: how many levels of a model there are below this one.
    """
    if isinstance(value, str):
        return _HalfPair() if _SURROGATE.search(value) else value
    if isinstance(value, dict) and depth:
        return {_SURROGATE.sub("\0", key): _encodable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list) and depth:
        return [_encodable(item, depth - 1) for item in value]
    return value


def _named(error: msgspec.ValidationError, expected: Mapping[str, str]) -> InvalidField | MissingField:
    problem, _, path = str(error).partition(" - at `$.")
    path = path.removesuffix("`")
    if isinstance(error.__cause__, Unfit):
        cause = error.__cause__
        return InvalidField(path if cause.key is None else f"{path}.{cause.key}", cause.expected)
    if missing := re.match(r"Object missing required field `(\w+)`", problem):
        return MissingField(f"{path}.{missing[1]}" if path else missing[1])
    wanted = re.match(r"Expected `(\w+)", problem)
    assert wanted is not None, problem
    return InvalidField(path, expected[wanted[1]])
