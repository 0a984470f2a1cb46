"""What the Accept header of a request asks for. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..header_options import header_options
from .cell_outputs import CellOutputs

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


def explicit_type(outputs: CellOutputs, accept: Accept) -> str | None:
    """The type of those shown that the client names and likes best; None to answer as if there were no Accept."""
    anything = accept.rank("*/*")
    ranked = []
    for media_type in outputs.shown:
        name = media_type.lower()
        if name in ("text/plain", "application/json") and anything is not None:
            continue  # what clients name that take anything; axios names both
        if name == "text/plain" and outputs.stdout:
            continue  # stdout is plain text as well, and comes before the other outputs
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
