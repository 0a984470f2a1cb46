"""What the Accept header of a request asks for. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..header_options import header_options

_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


class Rank(NamedTuple):
    """How much a client likes a type; of two, the greater one is preferred.

    quality: from 0, not at all, to 1. place: 0 for what it named first, and less for what came later.
    """

    quality: float
    place: int


class Accept:
    """The ranges of media types that a client named; of their parameters, only q counts.

    value: the header; several headers are joined by commas.
    Source: RFC 9110, 12.5.1.
    """

    def __init__(self, value: str | None) -> None:
        self._ranks: dict[str, Rank] = {}
        for number, item in enumerate((value or "").split(",")):  # a comma within quotes only spoils a parameter
            media_range, options = header_options(item.strip())
            quality = options.get("q", "1")
            rank = Rank(float(quality) if _QUALITY.fullmatch(quality) else 1.0, -number)
            self._ranks.setdefault(media_range, rank)

    def rank(self, media_range: str) -> Rank | None:
        """That of a range, in lower case, which the client named just so; else None."""
        return self._ranks.get(media_range)
