"""A line in the log for what is refused, and not one for each of thousands."""

from __future__ import annotations

import logging
from time import monotonic

from starlette.types import Scope

from .guesses import Guesses, is_logged

logger = logging.getLogger(__name__)

MAX_PATH_CHARS = 200
FIRST_LINES = 200
"""Lines for one address, for whatever paths, before only one refusal of a hundred gets one."""


class RefusalLog:
    """Logs the first refusals of each address and path, and then one of a hundred."""

    def __init__(self) -> None:
        self._addresses = Guesses()  # they count, in bounded memory
        self._paths = Guesses()

    def refused(self, scope: Scope, status: int, why: str) -> None:
        """Note a refused request. The query is not logged: it may hold a token."""
        address = str((scope.get("client") or ("an unknown client",))[0])
        path = scope["path"][:MAX_PATH_CHARS]
        now = monotonic()
        total = self._addresses.failed(address, now)
        number = self._paths.failed(f"{address} {path}", now)
        if is_logged(number) and (total <= FIRST_LINES or is_logged(total)):
            more = f" ({total} from there so far)" if number > 1 else ""
            logger.warning("%d for %r from %s: %s%s", status, path, address, why, more)
