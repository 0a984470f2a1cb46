"""What the Accept header of a request asks for. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..header_options import header_options
from .cell_outputs import CellOutputs

_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


class Rank(NamedTuple):
    """A client's preference for a type; the greater of two is preferred.

    quality: the q of the type, from 0 (not acceptable) to 1.
    place: 0 for the type that is named first, and less for those after it.
    """

    quality: float
    place: int


class Accept:
    """The ranges of media types that an Accept header names; of their parameters, only q counts.

    value: the header, or several joined by commas.
    Source: RFC 9110, 12.5.1.
    """

    def __init__(self, value: str | None) -> None:
        self._ranks: dict[str, Rank] = {}
        for number, item in enumerate((value or "").split(",")):  # a comma in quotes only breaks a parameter
            media_range, options = header_options(item.strip())
            quality = options.get("q", "1")
            rank = Rank(float(quality) if _QUALITY.fullmatch(quality) else 1.0, -number)
            self._ranks.setdefault(media_range, rank)

    def rank(self, media_range: str) -> Rank | None:
        """The rank of a range that the header names literally; None otherwise. media_range: in lower case."""
        return self._ranks.get(media_range)


def explicit_type(outputs: CellOutputs, accept: Accept) -> str | None:
    """The shown type that the client names and prefers; None to answer as if there were no Accept header."""
    anything = accept.rank("*/*")
    ranked = []
    for media_type in outputs.shown:
        name = media_type.lower()
        if name in ("text/plain", "application/json") and anything is not None:
            continue  # clients that take anything often name these, too: axios names both
        if name == "text/plain" and outputs.stdout:
            continue  # stdout is plain text as well, and takes precedence over other outputs
        rank = accept.rank(name)
        if rank is None and name.startswith("image/"):
            rank = accept.rank("image/*")
        if rank is not None and rank.quality > 0:
            ranked.append((rank, media_type))
    if not ranked:
        return None
    best, chosen = max(ranked, key=lambda item: item[0])
    if anything is not None:
        return chosen if best.quality >= anything.quality else None
    plain = accept.rank("text/plain") if outputs.stdout else None
    return chosen if plain is None or best > plain else None
