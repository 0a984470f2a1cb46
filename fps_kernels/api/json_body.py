"""The body of a request: bytes up to a limit, and the model in them."""

from __future__ import annotations

from typing import Any, Self, TypeVar

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request

from ..errors import BodyTooLarge, InvalidField, MissingField
from ..json_model import MAX_BODY_BYTES, Text, Unfit, check_codings, check_size, parse

Model = TypeVar("Model", bound=msgspec.Struct)


def check_encoding(headers: Headers) -> None:
    """Raises CompressedBody unless a body is sent as it is."""
    check_codings(",".join(headers.getlist("content-encoding")))


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
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise BodyTooLarge(f"The body is larger than {max_bytes} bytes")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        check_size(data, max_bytes)
    return bytes(data)


async def read_model(request: Request, model: type[Model], *, required: bool = False) -> Model:
    """The model in the JSON body of a request.

    required: whether there must be a body; else one that is empty or null is like an empty object.
    Raises InvalidBody, BodyTooLarge, CompressedBody, InvalidField, MissingField.
    """
    return parse(await read_body(request), model, required=required)


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
