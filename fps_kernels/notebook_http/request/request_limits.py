"""The bounds of a request that options of the server set. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import InvalidBody

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The largest request that a notebook's API takes; each bound has the name of its option."""

    max_body_bytes: int = 10 * MIB
    """The size of a body, as it is sent."""
    max_fields: int = 10_000
    """The fields of a query and of a form, and the parts of a multipart body."""
    max_depth: int = 100
    """How deeply arrays and objects may be nested in a body of JSON."""


class TooManyFields(InvalidBody):
    """A query or a form has more fields than the server takes."""

    def __init__(self, what: str, max_fields: int) -> None:
        super().__init__(f"{what} has more than {max_fields} fields, the server's max_fields")


class TooDeep(InvalidBody):
    """A body of JSON is nested more deeply than the server takes."""

    def __init__(self, max_depth: int) -> None:
        super().__init__(f"The JSON is nested more than {max_depth} levels deep, the server's max_depth")
