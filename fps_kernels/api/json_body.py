"""The body of a request: bytes up to a limit, and the model in them."""

from __future__ import annotations

from typing import Any, Self, TypeVar

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request

from ..errors import ClientError, InvalidBody, InvalidField, MissingField
from ..json_model import Unfit, convert, decode

Model = TypeVar("Model", bound=msgspec.Struct)

MAX_BODY_BYTES = 1024 * 1024
"""Far more than any request of this API needs."""
MAX_TEXT_BYTES = 65_536
"""Texts become environment variables and paths. Linux allows variables of up to 128 KiB."""


class BodyTooLarge(InvalidBody):
    """The body of a request exceeds its limit."""

    status = 413


class CompressedBody(ClientError):
    """The body of a request is compressed, which no parser here expects."""

    status = 415


def check_encoding(headers: Headers) -> None:
    """Raises CompressedBody unless a body is sent as it is."""
    codings = ",".join(headers.getlist("content-encoding"))
    if any(coding.strip().lower() not in ("", "identity") for coding in codings.split(",")):
        raise CompressedBody(f"The body is compressed (Content-Encoding: {codings[:100]}): send it uncompressed")


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


class Environment(dict[str, str]):
    """Environment variables, by name."""

    @classmethod
    def from_json(cls, value: Any) -> Self:
        if not isinstance(value, dict):
            raise Unfit("an object")
        for name, text in value.items():
            if not Text.fits(text) or not Text.fits(name) or not name or "=" in name:
                raise Unfit(f"{Text.EXPECTED}, under a name that the environment allows", name[:100])
        return cls(value)


async def read_body(request: Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Raises BodyTooLarge, CompressedBody."""
    check_encoding(request.headers)
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > max_bytes:
            raise BodyTooLarge(f"The body is larger than {max_bytes} bytes")
    return bytes(data)


async def read_model(request: Request, model: type[Model], *, required: bool = False) -> Model:
    """The model in the JSON body of a request.

    required: whether there must be a body; else one that is empty or null is like an empty object.
    Raises InvalidBody, BodyTooLarge, CompressedBody, InvalidField, MissingField.
    """
    data = await read_body(request)
    value = decode(data) if data.strip() else None
    if value is None and required:
        raise InvalidBody("No JSON data provided")
    return convert({} if value is None else value, model)


def text(value: Any, path: str) -> Text | None:
    """A field that its model leaves unchecked, as it does not always count. Raises InvalidField."""
    try:
        return None if value is None else Text.from_json(value)
    except Unfit as exc:
        raise InvalidField(path, exc.expected) from exc


def required_text(value: Any, path: str) -> Text:
    """The same, of one that must be there. Raises MissingField, InvalidField."""
    checked = text(value, path)
    if checked is None:
        raise MissingField(path)
    return checked
